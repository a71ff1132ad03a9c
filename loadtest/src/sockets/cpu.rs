//! Processor time: of this process, of others, and of the whole machine. A gateway in the kernel
//! has no process of its own; its time shows in the machine's only.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

use crate::output::human_seconds;

/// Whose processor time to report, beside our own and the machine's.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Watch {
    /// Report the processor time of these processes too
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub cpu_of: Vec<u32>,
}

/// Processor seconds spent between two looks; resolution 10 ms except for our own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CpuSeconds {
    /// By this process, user and kernel.
    pub own: f64,
    /// By each process asked for; null for one that cannot be read.
    pub others: BTreeMap<u32, Option<f64>>,
    /// By the whole machine: everything but idling and waiting for disks. Null if unreadable.
    pub machine_busy: Option<f64>,
}

/// A look at the counters.
#[derive(Clone, Debug)]
pub struct Look {
    own: f64,
    others: BTreeMap<u32, Option<f64>>,
    machine_busy: Option<f64>,
}

impl Watch {
    /// Reads the counters now.
    pub fn look(&self) -> Look {
        let ticks_to_seconds = |ticks: u64| {
            let rate = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
            #[expect(clippy::cast_precision_loss, reason = "centuries of ticks fit")]
            return ticks as f64 / rate as f64;
        };
        let others = self.cpu_of.iter().map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            (*pid, stat.ok().and_then(|text| process_ticks(&text)).map(ticks_to_seconds))
        });
        let machine = fs::read_to_string("/proc/stat").ok();
        Look {
            own: own_seconds(),
            others: others.collect(),
            machine_busy: machine.and_then(|text| busy_ticks(&text)).map(ticks_to_seconds),
        }
    }
}

impl Look {
    /// What was spent from this look to a later one.
    pub fn until(&self, later: &Self) -> CpuSeconds {
        let difference = |from: Option<f64>, to: Option<f64>| Some((to? - from?).max(0.0));
        let others = self
            .others
            .iter()
            .map(|(pid, from)| (*pid, difference(*from, later.others.get(pid).copied().flatten())));
        CpuSeconds {
            own: later.own - self.own,
            others: others.collect(),
            machine_busy: difference(self.machine_busy, later.machine_busy),
        }
    }
}

impl CpuSeconds {
    /// Rows for people: what, and how long.
    pub fn rows(&self) -> Vec<(String, String)> {
        let shown = |seconds: Option<f64>| seconds.map_or("unknown".to_owned(), human_seconds);
        let mut rows = vec![("processor time, own".to_owned(), shown(Some(self.own)))];
        for (pid, seconds) in &self.others {
            rows.push((format!("processor time, process {pid}"), shown(*seconds)));
        }
        rows.push(("processor time, whole machine".to_owned(), shown(self.machine_busy)));
        rows
    }
}

fn own_seconds() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "centuries of microseconds fit")]
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// utime and stime, fields 14 and 15 of /proc/pid/stat, proc(5). The second field, a name in
/// brackets, may itself contain blanks and brackets.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// The first line of /proc/stat, proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
/// Guests are in user already. Time stolen by the host was not spent by this machine.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().ok());
    let mut next = || fields.next().flatten();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _waiting) = (next()?, next()?);
    let (irq, softirq) = (next()?, next()?);
    Some(user + nice + system + irq + softirq)
}

/// Bytes per processor second, if any was measured.
#[expect(clippy::cast_precision_loss, reason = "petabytes fit")]
pub fn per_second(amount: u64, seconds: Option<f64>) -> Option<f64> {
    seconds.filter(|seconds| *seconds > 0.0).map(|seconds| amount as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_hostile_process_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 9 0 0 0 700 80 5 6 20 0 1 0 100";
        assert_eq!(process_ticks(stat), Some(780));
        assert_eq!(process_ticks("42 (cut"), None);
    }

    #[test]
    fn idle_waiting_and_stolen_time_is_not_busy() {
        let stat = "cpu  1 20 300 4000 50000 600000 7000000 80000000 1 0\ncpu0 9 9 9 9 9 9 9 9\n";
        assert_eq!(busy_ticks(stat), Some(7_600_321));
        assert_eq!(busy_ticks("cpu  1 2"), None);
    }

    #[test]
    fn our_own_work_shows_and_a_process_that_is_not_there_is_null() {
        // Above the largest pid that Linux gives out, 2^22.
        let watch = Watch { cpu_of: vec![std::process::id(), 5_000_000] };
        let before = watch.look();
        let mut sum = 0u64;
        for value in 0..30_000_000u64 {
            sum = std::hint::black_box(sum ^ value);
        }
        let spent = before.until(&watch.look());
        assert!(spent.own > 0.0, "{spent:?}");
        assert_eq!(spent.others[&5_000_000], None);
        assert!(spent.others[&std::process::id()].is_some());
        assert!(spent.machine_busy.is_some());
    }
}
