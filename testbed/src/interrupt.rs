//! An interrupt (Ctrl-C) as a flag: whoever loops looks at it, cleans up and reports what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// How soon a wait notices the interrupt.
const BEAT: Duration = Duration::from_millis(20);

/// Set once SIGINT or SIGTERM has come.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for the signals from now on; a second one ends the process at once.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        let this = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag still down, and raises it.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&this.0))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&this.0)))?;
        }
        Ok(this)
    }

    /// Whether it is time to stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, but no longer than until the interrupt.
    pub fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.is_raised() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(BEAT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_interrupt_ends_a_sleep() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.is_raised());
        interrupt.0.store(true, Ordering::Relaxed);
        // An hour: the test would not end otherwise.
        interrupt.sleep(Duration::from_hours(1));
    }
}
