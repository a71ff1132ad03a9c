//! Keeping work on a core, and what processors spent their time on: how much of the generator's core
//! something else took, which on a shared machine explains a rate better than anything; and how long
//! all were busy.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::error::Error;

/// Keeps the calling thread, and what it starts from now on, on some of the cores.
///
/// # Errors
///
/// [`Error::System`] if it may not run there.
pub fn keep_on(cores: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    cores
        .iter()
        .try_for_each(|core| set.set(*core))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| Error::System {
            action: "keep a thread on its core",
            source: errno.into(),
        })
}

/// How many cores there are to use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

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
        let ticks = ticks_of(stat, &format!("cpu{core}"))?;
        let [user, nice, _system, _idle, _iowait, _irq, _softirq, steal] = ticks;
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

/// Time that all processors together have been busy since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusyTime {
    ticks: u64,
}

impl BusyTime {
    /// Reads the clock; zero where the kernel does not tell.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&stat).unwrap_or_default()
    }

    fn parse(stat: &str) -> Option<Self> {
        let [user, nice, system, _idle, _iowait, irq, softirq, _steal] = ticks_of(stat, "cpu")?;
        Some(Self { ticks: user + nice + system + irq + softirq })
    }

    /// How long they were busy since `earlier`, in steps of a clock tick: a hundredth of a second.
    pub fn since(self, earlier: Self) -> Duration {
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100).max(1);
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        Duration::from_millis(ticks * 1000 / per_second.cast_unsigned())
    }
}

/// The first eight figures of a line of `/proc/stat`: user, nice, system, idle, iowait, irq,
/// softirq, steal.
fn ticks_of(stat: &str, name: &str) -> Option<[u64; 8]> {
    let line = stat.lines().find(|line| line.split(' ').next() == Some(name))?;
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    ticks.try_into().ok()
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

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting_nor_stolen() {
        let before = BusyTime::parse("cpu  10 10 10 10 10 10 10 10 0 0\ncpu0 1 1 1").unwrap();
        let after = BusyTime::parse("cpu  20 30 40 999 999 50 60 999 0 0").unwrap();
        assert_eq!(after.ticks - before.ticks, 10 + 20 + 30 + 40 + 50);
        assert_eq!(before.since(after), Duration::ZERO);
    }
}
