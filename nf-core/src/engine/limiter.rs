//! How often the gateway reports on one port: RFC 4443 2.4 (f): "an IPv6 node MUST limit the rate
//! of ICMPv6 error messages it originates". One sender's mistakes neither keep the worker busy nor
//! silence what others are told.

use std::time::Duration;

use crate::time::Time;

/// A token bucket, kept as the moment when it will be full again: the generic cell rate algorithm
/// of ITU-T I.371, which needs no clock of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limiter {
    full_again: Time,
}

impl Limiter {
    /// Between two reports that go on for long: a thousand a second, as Linux limits its own.
    const INTERVAL: Duration = Duration::from_millis(1);

    /// Reports that may come at once.
    pub(super) const BURST: u32 = 100;

    /// Whether there may be one more report at `now`; it counts as made then.
    pub(super) fn allows(&mut self, now: Time) -> bool {
        let full_again = self.full_again.max(now) + Self::INTERVAL;
        let allowed = full_again.since(now) <= Self::INTERVAL * Self::BURST;
        if allowed {
            self.full_again = full_again;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_for_each_interval() {
        let mut limiter = Limiter::default();
        let mut now = Time::from_secs(1000);
        let passed = (0..1000).filter(|_| limiter.allows(now)).count();
        assert_eq!(passed, Limiter::BURST as usize);
        now = now + Limiter::INTERVAL * 3;
        let passed = (0..1000).filter(|_| limiter.allows(now)).count();
        assert_eq!(passed, 3);
        now = now + Duration::from_hours(1);
        let passed = (0..1000).filter(|_| limiter.allows(now)).count();
        assert_eq!(passed, Limiter::BURST as usize, "silence saves up no more than a burst");
    }
}
