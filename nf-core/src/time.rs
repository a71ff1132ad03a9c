//! Time as data: nanoseconds of a monotonic clock that only the caller reads.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment: nanoseconds since an origin that the caller chose. On Linux the caller passes
/// `CLOCK_MONOTONIC`, which the kernel program reads too and which goes on over a restart of the
/// process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The moment `nanos` after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `seconds` after the origin.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// How long ago `earlier` was, zero if it is not past.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment on the kernel's coarse scale.
    #[must_use]
    pub const fn tick(self) -> Tick {
        Tick((self.0 >> Tick::SHIFT) as u32)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A moment in units of 2^20 ns (1.05 ms), as the kernel program stamps it on a flow entry: four
/// bytes instead of eight. It wraps after 52 days, so only ages below half of that are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// One tick is `1 << SHIFT` nanoseconds.
    pub const SHIFT: u32 = 20;

    /// The latest moment not after `now` that has this tick.
    #[must_use]
    pub fn resolve(self, now: Time) -> Time {
        // A tick can be ahead of `now` by the time between two readings of the clock: the other
        // half of the number line is the future.
        let age = now.tick().0.wrapping_sub(self.0);
        if age > u32::MAX / 2 {
            now
        } else {
            now - Duration::from_nanos(u64::from(age) << Self::SHIFT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_resolves_to_within_one_unit_of_its_moment() {
        let stamped = Time::from_nanos(123_456_789_000);
        let now = stamped + Duration::from_secs(350);
        let resolved = stamped.tick().resolve(now);
        assert!(now.since(resolved) >= Duration::from_secs(350) - Duration::from_millis(2));
        assert!(now.since(resolved) <= Duration::from_secs(350) + Duration::from_millis(2));
    }

    #[test]
    fn a_tick_survives_the_wrap_of_its_scale() {
        let before_wrap = Time::from_nanos((u64::from(u32::MAX) << Tick::SHIFT) - 5);
        let now = before_wrap + Duration::from_secs(10);
        assert!(now.tick().0 < before_wrap.tick().0);
        let age = now.since(before_wrap.tick().resolve(now));
        assert!(age.abs_diff(Duration::from_secs(10)) < Duration::from_millis(3), "{age:?}");
    }

    #[test]
    fn a_tick_ahead_of_the_clock_is_now() {
        let now = Time::from_secs(100);
        assert_eq!((now + Duration::from_millis(4)).tick().resolve(now), now);
    }
}
