//! What a result was measured on: without it a figure says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::Serialize;

/// The machine and the versions of what was measured on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Processor model.
    pub cpu: String,
    /// Cores that can be used.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// When, UTC.
    pub date: String,
    /// Versions of the programs involved.
    pub versions: BTreeMap<&'static str, String>,
    /// What was tuned, and what could not be.
    pub notes: Vec<String>,
}

impl Machine {
    /// Looks at this machine; `halfspace` is the contender's binary.
    pub fn look(halfspace: &str) -> Self {
        let versions = [
            ("halfspace", first_line(halfspace, &["--version"])),
            ("ip", first_line("ip", &["-V"])),
            ("nft", first_line("nft", &["--version"])),
        ];
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib(&field(&read("/proc/meminfo"), "MemTotal")) / 1024,
            date: first_line("date", &["-u", "+%FT%TZ"]).unwrap_or_default(),
            versions: versions
                .into_iter()
                .filter_map(|(name, version)| Some((name, version?)))
                .collect(),
            notes: Vec::new(),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first `name : value` of a `/proc` file.
fn field(text: &str, name: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// `123 kB` as in `/proc/meminfo`.
fn kib(text: &str) -> u64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What a program says on its first line; nothing if it is not there.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files_are_found() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nMemTotal:       24 kB";
        assert_eq!(field(text, "model name"), "Some CPU @ 3 GHz");
        assert_eq!(kib(&field(text, "MemTotal")), 24);
        assert_eq!(field(text, "flags"), "unknown");
    }
}
