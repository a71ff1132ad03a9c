//! How much of the generator's core something else took: on a shared machine that explains a rate
//! better than anything.

use std::fs;

/// Time that a core has spent since boot, in clock ticks: proc(5), `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreTime {
    /// In programs, or taken by the hypervisor. Generator, peers and an established flow of
    /// Halfspace run in the kernel only.
    disturbed: u64,
    total: u64,
}

impl CoreTime {
    /// Reads the clock of one core; zero where the kernel does not tell.
    pub fn read(core: usize) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&stat, core).unwrap_or_default()
    }

    fn parse(stat: &str, core: usize) -> Option<Self> {
        let name = format!("cpu{core}");
        let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let [user, nice, _system, _idle, _iowait, _irq, _softirq, steal] = ticks[..] else {
            return None;
        };
        Some(Self { disturbed: user + nice + steal, total: ticks.iter().sum() })
    }

    /// The share of the core that was disturbed since `earlier`, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "ticks of one measurement")]
    pub fn disturbed_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let disturbed = self.disturbed.saturating_sub(earlier.disturbed);
        if total == 0 { 0.0 } else { disturbed as f64 / total as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_time_and_stolen_time_disturb_and_kernel_time_does_not() {
        let before =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 50 100 0 0 40 0 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0";
        let after = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 25 5 100 100 0 0 60 10 7 7\n";
        let (before, after) = (CoreTime::parse(before, 0), CoreTime::parse(after, 0));
        let share = after.unwrap().disturbed_since(before.unwrap());
        assert!((share - 0.3).abs() < 1e-9, "{share}");
        assert_eq!(CoreTime::parse("cpu  1 2", 0), None);
    }
}
