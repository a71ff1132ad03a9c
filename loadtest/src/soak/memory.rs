//! Whether the gateway's resident memory stays flat.
//!
//! A gateway fills its tables in the first minutes and then has what it needs. So the first quarter
//! of the time is left out, and what comes right after it is compared with the end.

use serde::Serialize;

/// Samples that a verdict takes: with one a second, most of a minute.
const ENOUGH: usize = 45;

/// Growth that is not held against a gateway, in bytes: allocators give memory back when they like.
const SLACK: f64 = 1024.0 * 1024.0;

/// A sample: seconds since the start, bytes.
pub type Sample = (f64, f64);

/// What the samples come to. Bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Samples of the process that ran last.
    pub samples: usize,
    /// The first sample.
    pub start_bytes: f64,
    /// Median of all samples.
    pub median_bytes: f64,
    /// Median of the second quarter of the time.
    pub after_first_quarter_bytes: f64,
    /// Median of the last quarter.
    pub end_bytes: f64,
    /// Slope of the least-squares line through all samples but the first quarter.
    pub slope_bytes_per_second: f64,
    /// Growth from the second quarter to the last, a share of the former.
    pub growth: f64,
    /// Whether there were enough samples for a verdict.
    pub judged: bool,
}

impl Memory {
    /// Sums up the samples of one process.
    pub fn of(samples: &[Sample]) -> Self {
        let Some(first) = samples.first() else { return Self::default() };
        let quarter = samples.len() / 4;
        let bytes = |range: &[Sample]| median(range.iter().map(|(_, bytes)| *bytes));
        let settled = &samples[quarter..];
        let early = bytes(&samples[quarter..(2 * quarter).max(quarter + 1)]);
        let end = bytes(&samples[samples.len() - quarter.max(1)..]);
        Self {
            samples: samples.len(),
            start_bytes: first.1,
            median_bytes: bytes(samples),
            after_first_quarter_bytes: early,
            end_bytes: end,
            slope_bytes_per_second: slope(settled),
            growth: if early > 0.0 { (end - early) / early } else { 0.0 },
            judged: samples.len() >= ENOUGH,
        }
    }

    /// Why it is not flat, if it is not; `tolerance` is a share.
    pub fn complaint(&self, tolerance: f64) -> Option<String> {
        let grown = self.end_bytes - self.after_first_quarter_bytes;
        (self.judged && self.growth > tolerance && grown > SLACK).then(|| {
            format!(
                "resident memory grew by {:.1} % from {:.1} MiB to {:.1} MiB",
                100.0 * self.growth,
                self.after_first_quarter_bytes / SLACK,
                self.end_bytes / SLACK
            )
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn slope(samples: &[Sample]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "thousands at the most")]
    let count = samples.len() as f64;
    let mean = |pick: fn(&Sample) -> f64| samples.iter().map(pick).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|it| it.0), mean(|it| it.1));
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in samples {
        above += (x - x_mean) * (y - y_mean);
        below += (x - x_mean) * (x - x_mean);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    fn samples(count: u32, bytes: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..count).map(|second| (f64::from(second), bytes(f64::from(second)))).collect()
    }

    #[test]
    fn memory_that_is_filled_at_first_and_then_stays_is_flat() {
        let memory = Memory::of(&samples(100, |second| 50.0 * MIB + MIB * second.min(20.0)));
        assert!(memory.slope_bytes_per_second.abs() < 1e-6, "{memory:?}");
        assert_eq!(memory.complaint(0.05), None);
    }

    #[test]
    fn memory_that_grows_all_the_time_is_complained_of_with_its_slope() {
        let memory = Memory::of(&samples(100, |second| 50.0 * MIB + 0.2 * MIB * second));
        assert!((memory.slope_bytes_per_second - 0.2 * MIB).abs() < 1.0, "{memory:?}");
        let complaint = memory.complaint(0.05).unwrap();
        assert!(complaint.contains("57.4 MiB to 67.4 MiB"), "{complaint}");
        assert_eq!(memory.complaint(0.5), None);
    }

    #[test]
    fn a_short_run_and_one_without_samples_are_not_judged() {
        let memory = Memory::of(&samples(20, |second| MIB + MIB * second));
        assert!(!memory.judged && memory.growth > 1.0, "{memory:?}");
        assert_eq!(memory.complaint(0.05), None);
        assert_eq!(Memory::of(&[]), Memory::default());
        assert_eq!(Memory::of(&[(0.0, MIB)]).samples, 1);
    }
}
