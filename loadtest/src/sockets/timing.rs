//! How long a run lasts, and which of its operations count.

use std::time::{Duration, Instant};

use crate::output::{parse_duration, parse_duration_or_zero};

/// The options on time that client commands have.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Timing {
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// How long to run before that without counting
    #[arg(long, default_value = "1s", value_parser = parse_duration_or_zero)]
    pub warm_up: Duration,
    /// How long an operation may take, and the last ones after the end
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub timeout: Duration,
}

impl Timing {
    /// Warm-up and measurement.
    pub fn total(self) -> Duration {
        self.warm_up + self.duration
    }
}

/// A clock in nanoseconds from its making: half the size of an [`Instant`], and plain to compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What it shows.
    pub fn now(self) -> u64 {
        nanoseconds(self.0.elapsed())
    }
}

/// A duration in nanoseconds; half a millennium at most.
pub fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
