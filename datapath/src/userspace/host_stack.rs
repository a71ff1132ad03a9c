//! Keeping the host's own stack quiet on a port that belongs to the gateway.
//!
//! A packet socket gets a copy: the host's stack sees every frame too, and would answer ARP for
//! its own addresses, forward what is not for it, and speak IPv6 of its own accord. Three settings
//! of the interface stop that. What they leave is a host address of *another* interface, for which
//! a packet to this port's own MAC is still accepted: do not give the host addresses that the
//! gateway's networks also use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A setting below `/proc/sys/net`, and what it must be.
struct Setting {
    family: &'static str,
    name: &'static str,
    value: &'static str,
}

/// In the order they are made; they are taken back in the opposite one.
const SETTINGS: [Setting; 3] = [
    Setting { family: "ipv4", name: "forwarding", value: "0" },
    // The kernel's ip-sysctl.rst: "8 - do not reply for all local addresses".
    Setting { family: "ipv4", name: "arp_ignore", value: "8" },
    Setting { family: "ipv6", name: "disable_ipv6", value: "1" },
];

/// A setting that could not be made or taken back. The port works all the same.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot set {} to {value}: {source}; the host's own stack may answer or forward packets of \
     this port: make /proc/sys/net writable or set it by hand",
    path.display()
)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// What it should hold.
    pub value: String,
    /// Why it does not.
    pub source: io::Error,
}

/// What was changed on one interface.
#[derive(Debug, Default)]
pub(super) struct Quieted {
    changed: Vec<(&'static str, &'static str, String)>,
}

impl Quieted {
    /// Makes the settings on an interface of the calling thread's network namespace; remembers
    /// what they were.
    pub(super) fn impose(interface: &str) -> (Self, Vec<Warning>) {
        let mut quieted = Self::default();
        let mut warnings = Vec::new();
        for setting in SETTINGS {
            let path = path(setting.family, interface, setting.name);
            match exchange(&path, setting.value) {
                Ok(Some(old)) => quieted.changed.push((setting.family, setting.name, old)),
                Ok(None) => {}
                // A host without IPv6, or an interface too narrow for it, has nothing to be quiet.
                Err(error)
                    if setting.family == "ipv6" && error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    warnings.push(Warning { path, value: setting.value.to_owned(), source });
                }
            }
        }
        (quieted, warnings)
    }

    /// Takes the settings back on the same interface, which may have another name by now.
    pub(super) fn restore(self, interface: &str) -> Vec<Warning> {
        let restore = |(family, name, value): (&str, &str, String)| {
            let path = path(family, interface, name);
            let source = fs::write(&path, &value).err()?;
            Some(Warning { path, value, source })
        };
        self.changed.into_iter().rev().filter_map(restore).collect()
    }
}

/// The interface's directory is named like it, dots included.
fn path(family: &str, interface: &str, name: &str) -> PathBuf {
    ["/proc/sys/net", family, "conf", interface, name].iter().collect()
}

/// Writes `value` unless it is there already; the old value if it was another.
fn exchange(path: &Path, value: &str) -> io::Result<Option<String>> {
    let old = fs::read_to_string(path)?;
    if old.trim_end() == value {
        return Ok(None);
    }
    fs::write(path, value)?;
    Ok(Some(old.trim_end().to_owned()))
}
