//! A beat finer than a poll's time-out, which counts in milliseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

/// A periodic timer that wakes a poll.
#[derive(Debug)]
pub struct Ticker(TimerFd);

impl Ticker {
    /// A timer that stands still, whose ticks will come as events of `token`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        registry.register(&mut SourceFd(&timer.as_fd().as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Ticks after `first`, which must not be zero, and then every `period`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn start(&self, first: Duration, period: Duration) -> io::Result<()> {
        let beat = Expiration::IntervalDelayed(first.into(), period.into());
        Ok(self.0.set(beat, TimerSetTimeFlags::empty())?)
    }

    /// To be called on every event: the kernel winds a periodic timer up again only when it is
    /// read.
    pub fn wind_up(&self) {
        // Nothing to read: the event was an old one, and the timer is wound up.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn a_ticker_goes_on_ticking() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let ticker = Ticker::new(poll.registry(), Token(7)).unwrap();
        ticker.start(Duration::from_nanos(1), Duration::from_millis(1)).unwrap();
        for tick in 0..5 {
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert!(events.iter().any(|event| event.token() == Token(7)), "tick {tick}");
            ticker.wind_up();
        }
    }
}
