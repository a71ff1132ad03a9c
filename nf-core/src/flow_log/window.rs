//! When windows open and close: at multiples of their interval, seconds since 1970, so that the
//! windows of different gateways and interfaces are the same. EC2's begin anywhere.

use std::time::Duration;

use crate::time::Time;
use crate::vpc::AggregationInterval;

/// What the time of day is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WallClock {
    /// What 1970 is before the origin of [`Time`].
    ahead: Duration,
}

impl WallClock {
    /// A clock that shows `since_1970` at `now`.
    pub const fn showing(now: Time, since_1970: Duration) -> Self {
        Self { ahead: since_1970.saturating_sub(Duration::from_nanos(now.as_nanos())) }
    }

    /// Seconds since 1970 at a moment.
    pub const fn seconds(&self, at: Time) -> u64 {
        self.since_1970(at).as_secs()
    }

    const fn since_1970(&self, at: Time) -> Duration {
        self.ahead.saturating_add(Duration::from_nanos(at.as_nanos()))
    }

    /// The next multiple of an interval after a moment.
    fn boundary_after(&self, at: Time, interval: AggregationInterval) -> Time {
        let interval = interval.duration();
        let past = self.since_1970(at).as_nanos() % interval.as_nanos();
        at + interval.saturating_sub(Duration::from_nanos(past as u64))
    }
}

/// The window of one interval that is open, and the one before, while that is being closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub interval: AggregationInterval,
    pub opened: Time,
    closes: Time,
    pub closing: Option<Closing>,
}

/// A window that is being closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub opened: Time,
    pub closed: Time,
    pub next: Next,
}

/// What is to be looked at next, to close a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The flow of this number.
    Flow(u32),
    /// Packets that were rejected.
    Rejected,
    /// The interface of this number.
    Interface(u32),
}

impl Window {
    /// Opens the first one.
    pub fn open(interval: AggregationInterval, now: Time, clock: &WallClock) -> Self {
        let closes = clock.boundary_after(now, interval);
        Self { interval, opened: now, closes, closing: None }
    }

    /// When it has to be closed.
    pub const fn closes(&self) -> Time {
        self.closes
    }

    /// Closes it now, whatever its time.
    pub fn close_early(&mut self, now: Time) {
        self.closes = self.closes.min(now);
    }

    /// Begins to close it, if it is time and the one before is closed; whether it did. One that
    /// could not be closed in time is as much longer.
    pub fn begin_to_close(&mut self, now: Time, clock: &WallClock) -> bool {
        if self.closing.is_some() || now < self.closes {
            return false;
        }
        let closed = self.closes;
        self.closing = Some(Closing { opened: self.opened, closed, next: Next::Flow(0) });
        self.opened = closed;
        self.closes = clock.boundary_after(now, self.interval);
        true
    }

    /// The window that what is told of this flow now belongs to: when it opened, and whether it is
    /// the one being closed.
    pub fn of_flow(&self, id: u32) -> (Time, bool) {
        match self.closing {
            Some(Closing { opened, next: Next::Flow(next), .. }) if id >= next => (opened, true),
            _ => (self.opened, false),
        }
    }
}
