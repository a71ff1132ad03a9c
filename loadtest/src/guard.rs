//! Where load may go: to loopback, or anywhere from inside a network namespace of its own. All
//! else needs an explicit word, because it would hit somebody's real network.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use crate::error::Error;

/// The switch that lets load out.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Guard {
    /// I may send load there: allow targets other than loopback from the machine's own network
    #[arg(long)]
    pub allow_outside: bool,
}

impl Guard {
    /// Whether load may be sent to an address from where the calling thread is.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if not.
    pub fn check_target(self, target: IpAddr) -> Result<(), Error> {
        if self.allow_outside || target.to_canonical().is_loopback() || inside_a_namespace() {
            return Ok(());
        }
        Err(Error::Outside { what: target.to_string() })
    }

    /// Whether frames may be sent on an interface from where the calling thread is.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if not.
    pub fn check_interface(self, name: &str) -> Result<(), Error> {
        if self.allow_outside || name == "lo" || inside_a_namespace() {
            return Ok(());
        }
        Err(Error::Outside { what: format!("interface {name}") })
    }
}

/// Whether the calling thread's network namespace is another than that of the machine's (or the
/// container's) first process. If that cannot be told, it counts as the same.
fn inside_a_namespace() -> bool {
    // Each namespace has files of its own below /proc/<pid>/net, so one file's device and inode
    // tell namespaces apart. /proc/<pid>/ns/net would say it directly, but may only be read by
    // whoever may trace that process, which root in a container often may not. Threads enter
    // namespaces one by one, so `self` would be too coarse.
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match (identity("/proc/thread-self/net/dev"), identity("/proc/1/net/dev")) {
        (Ok(own), Ok(first)) => own != first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use halfspace_testbed::{Requirement, Testbed, ready};

    use super::*;

    const STRICT: Guard = Guard { allow_outside: false };

    #[test]
    fn loopback_is_always_fine_in_either_family() {
        for address in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            STRICT.check_target(address.parse().unwrap()).unwrap();
        }
        STRICT.check_interface("lo").unwrap();
    }

    #[test]
    fn from_the_machines_own_network_anything_else_needs_the_flag() {
        if inside_a_namespace() {
            eprintln!("SKIPPED: the tests themselves run inside a namespace");
            return;
        }
        for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0"] {
            let address = address.parse().unwrap();
            let refusal = STRICT.check_target(address).unwrap_err().to_string();
            assert!(refusal.contains("--allow-outside"), "{refusal}");
            assert!(refusal.contains(&address.to_string()), "{refusal}");
            Guard { allow_outside: true }.check_target(address).unwrap();
        }
        assert!(STRICT.check_interface("eth0").is_err());
        Guard { allow_outside: true }.check_interface("eth0").unwrap();
    }

    #[test]
    fn inside_a_namespace_every_target_is_fine() {
        if !ready(&[Requirement::Root, Requirement::Program("ip")]) {
            return;
        }
        let bed = Testbed::new("guard").unwrap();
        let namespace = bed.namespace("inside").unwrap();
        namespace
            .enter(|| {
                STRICT.check_target("192.0.2.1".parse().unwrap()).unwrap();
                STRICT.check_interface("eth0").unwrap();
            })
            .unwrap();
    }
}
