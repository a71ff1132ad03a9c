//! What a result was measured on: without it a figure says nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The machine and the versions of what was measured on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    pub versions: BTreeMap<String, String>,
    /// What was tuned, and what could not be.
    pub tunings: Vec<String>,
}

impl Machine {
    /// Looks at this machine, and at the versions of Halfspace's binary and of the `programs` that
    /// are there.
    pub fn look(halfspace: &Path, programs: impl Iterator<Item = &'static str>) -> Self {
        let ours = [("halfspace", halfspace.as_os_str())].into_iter();
        let theirs = programs.map(|program| (program, OsStr::new(program)));
        let versions = ours.chain(theirs);
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib(&field(&read("/proc/meminfo"), "MemTotal")) / 1024,
            date: date().unwrap_or_default(),
            versions: versions
                .filter_map(|(name, program)| Some((name.to_owned(), version(program)?)))
                .collect(),
            tunings: Vec::new(),
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

/// Now, as ISO 8601 writes it.
fn date() -> Option<String> {
    let output = Command::new("date").args(["-u", "+%FT%TZ"]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a program says of its version, however it wants to be asked; nothing if it is not there.
fn version(program: &OsStr) -> Option<String> {
    ["--version", "-v", "-V"].into_iter().find_map(|flag| first_line(program, flag))
}

/// What a program says on its first line; nothing if it is not there, or has failed without telling
/// its version.
fn first_line(program: impl AsRef<OsStr>, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    // nginx says it on standard error.
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().next()?.trim().to_owned();
    // wrk fails though it says it.
    (output.status.success() || has_version(&line)).then_some(line)
}

/// Whether there are numbers with a dot between them.
fn has_version(text: &str) -> bool {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.windows(3).any(|it| digit(&it[0]) && it[1] == b'.' && digit(&it[2]))
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

    #[test]
    fn a_failed_program_has_told_its_version_only_if_there_is_one() {
        assert!(has_version("wrk debian/4.1.0-3+b2 [epoll]"));
        assert!(!has_version("Option \"-v\" is unknown, try 2. ip help."));
        assert!(!has_version(""));
    }

    #[test]
    fn versions_are_those_of_programs_that_are_there() {
        let programs = ["sed", "no-such-program"].into_iter();
        let machine = Machine::look(Path::new("/nonexistent/halfspace"), programs);
        assert_eq!(machine.versions.keys().collect::<Vec<_>>(), ["sed"]);
        assert!(machine.versions["sed"].contains("sed"), "{:?}", machine.versions);
    }
}
