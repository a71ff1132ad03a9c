//! Latency histograms: recorded in nanoseconds with three significant digits, reported in seconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::output::human_seconds;

/// The longest latency that is told apart, in nanoseconds: a minute. Longer ones count as that;
/// every operation has a time-out far below it.
const LONGEST: u64 = 60_000_000_000;

/// Significant decimal digits: a value is at most 0.1 % off.
const DIGITS: u8 = 3;

/// Latencies of many operations. Recording neither allocates nor fails.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// What is reported of a histogram; all but the count in seconds, zero if nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Latencies recorded.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine in ten were no longer.
    pub p90: f64,
    /// Ninety-nine in a hundred were no longer.
    pub p99: f64,
    /// 999 in a thousand were no longer.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// An empty histogram.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        // Constant bounds, and every test goes through here.
        Self(histogram.expect("1 ns to a minute with three digits is within what the crate takes"))
    }

    /// Records one latency.
    pub fn record(&mut self, latency: Duration) {
        self.record_nanoseconds(latency.as_nanos().try_into().unwrap_or(u64::MAX));
    }

    /// Records one latency in nanoseconds.
    #[inline]
    pub fn record_nanoseconds(&mut self, latency: u64) {
        self.0.saturating_record(latency.max(1));
    }

    /// Adds all that another histogram recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Latencies recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures to report.
    pub fn summary(&self) -> Summary {
        if self.0.is_empty() {
            return Summary::default();
        }
        // The bucket's upper end may lie beyond the greatest value that fell into it.
        let max = self.0.max();
        let at = |quantile| seconds(self.0.value_at_quantile(quantile).min(max));
        Summary {
            count: self.0.len(),
            min: seconds(self.0.min()),
            mean: self.0.mean() / 1e9,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: seconds(max),
        }
    }
}

impl Summary {
    /// The heads of the columns that [`Self::cells`] fills.
    pub const HEADER: [&'static str; 7] = ["count", "min", "p50", "p90", "p99", "p99.9", "max"];

    /// A row for people, under [`Self::HEADER`].
    pub fn cells(&self) -> [String; 7] {
        let [min, p50, p90, p99, p99_9, max] =
            [self.min, self.p50, self.p90, self.p99, self.p99_9, self.max].map(human_seconds);
        [self.count.to_string(), min, p50, p90, p99, p99_9, max]
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a minute: 36 bits")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to_thousand() -> Latencies {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        latencies
    }

    fn about(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected * 0.001
    }

    #[test]
    fn percentiles_are_in_seconds_and_within_a_thousandth() {
        let summary = one_to_thousand().summary();
        assert_eq!(summary.count, 1000);
        for (value, expected) in [
            (summary.min, 1e-6),
            (summary.mean, 500.5e-6),
            (summary.p50, 500e-6),
            (summary.p90, 900e-6),
            (summary.p99, 990e-6),
            (summary.p99_9, 999e-6),
            (summary.max, 1000e-6),
        ] {
            assert!(about(value, expected), "{value} is not {expected}");
        }
    }

    #[test]
    fn merged_histograms_hold_what_both_recorded() {
        let mut all = one_to_thousand();
        let mut slow = Latencies::new();
        slow.record(Duration::from_secs(2));
        all.merge(&slow);
        assert_eq!(all.count(), 1001);
        assert!(about(all.summary().max, 2.0));
        assert_eq!(Latencies::new().summary(), Summary::default());
    }

    #[test]
    fn what_is_out_of_range_counts_as_the_end_of_the_range() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_hours(2));
        latencies.record(Duration::ZERO);
        let summary = latencies.summary();
        assert_eq!(summary.count, 2);
        assert!(about(summary.max, 60.0), "{}", summary.max);
        assert!(summary.min > 0.0 && summary.min <= 1e-9, "{}", summary.min);
    }

    #[test]
    fn the_json_has_the_agreed_keys() {
        let json = serde_json::to_value(one_to_thousand().summary()).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["count", "max", "mean", "min", "p50", "p90", "p99", "p99_9"]);
        assert_eq!(json["count"], 1000);
        assert!(about(json["p50"].as_f64().unwrap(), 500e-6));
    }
}
