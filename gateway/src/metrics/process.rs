//! The process itself, under the names that Prometheus' own client libraries use.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// What `/proc` says of this process. A value it does not tell is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// User and system time of all threads, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident set size, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Virtual size, in bytes.
    pub(super) virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// Most file descriptors there can be.
    pub(super) max_fds: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
}

impl Process {
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let unit =
            |variable| sysconf(variable).ok().flatten().and_then(|it| u64::try_from(it).ok());
        Self {
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            max_fds: max_fds(&limits),
            ..Self::of_stat(&stat, unit(SysconfVar::CLK_TCK), unit(SysconfVar::PAGE_SIZE))
        }
    }

    /// From `/proc/self/stat`, proc(5).
    fn of_stat(stat: &str, ticks_a_second: Option<u64>, page_size: Option<u64>) -> Self {
        // Field 2 is the program's name in parentheses, with anything inside.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let cpu_seconds = (|| {
            let ticks = field(14)? + field(15)?;
            Some(seconds(ticks, ticks_a_second?))
        })();
        Self {
            cpu_seconds,
            resident_bytes: field(24).zip(page_size).map(|(pages, size)| pages * size),
            virtual_bytes: field(23),
            threads: field(20),
            ..Self::default()
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for the first 285,000 years at 1000 Hz")]
fn seconds(ticks: u64, ticks_a_second: u64) -> f64 {
    ticks as f64 / ticks_a_second as f64
}

/// The soft limit of open files.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let stat = "7 (half ) space) S 1 7 7 0 -1 4194560 0 0 0 0 150 50 0 0 20 0 3 0 100 \
                    1048576 25 18446744073709551615";
        let process = Process::of_stat(stat, Some(100), Some(4096));
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.threads, Some(3));
        assert_eq!(process.virtual_bytes, Some(1_048_576));
        assert_eq!(process.resident_bytes, Some(102_400));
    }

    #[test]
    fn this_process_has_every_value() {
        let process = Process::now();
        assert!(process.resident_bytes.is_some_and(|it| it > 4096), "{process:?}");
        assert!(process.open_fds.is_some_and(|it| it > 2), "{process:?}");
        assert!(process.max_fds.is_some() && process.cpu_seconds.is_some(), "{process:?}");
    }
}
