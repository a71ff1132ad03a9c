//! What this machine lacks for a test, a demo or a benchmark, and which package brings it.

use std::fmt;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};

/// Something a caller cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The right to make network namespaces.
    Root,
    /// The right to create BPF maps and programs.
    Bpf,
    /// A program on the search path.
    Program(&'static str),
}

/// A [`Requirement`] that is not met, and why.
#[derive(Debug)]
pub enum Missing {
    /// Network namespaces cannot be made.
    Root(io::Error),
    /// BPF maps cannot be created.
    Bpf(io::Error),
    /// A program is not installed.
    Program {
        /// Its name.
        name: &'static str,
        /// The Debian package that brings it, where known.
        package: Option<&'static str>,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(why) => write!(f, "cannot make a network namespace ({why}): run it as root"),
            Self::Bpf(why) => write!(
                f,
                "cannot create a BPF map ({why}): run it as root, on a kernel with CONFIG_BPF_SYSCALL"
            ),
            Self::Program { name, package: Some(package) } => {
                write!(f, "{name} is not installed: apt-get install {package}")
            }
            Self::Program { name, package: None } => write!(f, "{name} is not installed"),
        }
    }
}

/// Those of `requirements` that this machine does not meet.
#[must_use]
pub fn missing(requirements: &[Requirement]) -> Vec<Missing> {
    requirements
        .iter()
        .filter_map(|requirement| match *requirement {
            Requirement::Root => can_make_namespaces().err().map(Missing::Root),
            Requirement::Bpf => can_create_maps().err().map(Missing::Bpf),
            Requirement::Program(name) => {
                let absent = !on_path(name);
                absent.then(|| Missing::Program { name, package: package_of(name) })
            }
        })
        .collect()
}

/// For tests: whether `requirements` are met. If not, the reason is printed, and a test that
/// returns then counts as skipped; with `HALFSPACE_REQUIRE_ALL=1` in the environment, as in CI,
/// nothing may be skipped.
///
/// # Panics
///
/// If something is missing and `HALFSPACE_REQUIRE_ALL` is set.
#[must_use]
pub fn ready(requirements: &[Requirement]) -> bool {
    let missing = missing(requirements);
    let reasons: Vec<_> = missing.iter().map(ToString::to_string).collect();
    if reasons.is_empty() {
        return true;
    }
    let reasons = reasons.join("; ");
    assert!(std::env::var_os("HALFSPACE_REQUIRE_ALL").is_none(), "may not be skipped: {reasons}");
    eprintln!("SKIPPED: {reasons}");
    false
}

/// Tries it, on a thread that ends right after: capabilities tell less than an attempt.
fn can_make_namespaces() -> io::Result<()> {
    let attempt = || unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    let thread = std::thread::spawn(attempt);
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the attempt failed")))
}

/// Creates an array map of one entry and lets go of it.
fn can_create_maps() -> io::Result<()> {
    const BPF_MAP_CREATE: libc::c_long = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;

    // The head of `union bpf_attr`, bpf(2): map_type, key_size, value_size, max_entries.
    let attributes: [u32; 4] = [BPF_MAP_TYPE_ARRAY, 4, 4, 1];
    // SAFETY: the pointer and the size describe `attributes`, which outlives the call; fields
    // beyond the given size are zero to the kernel.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_CREATE,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else knows of.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where root's programs are is often not on the path of a plain shell.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(program)).any(|file| is_executable(&file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The Debian package that brings a program.
pub(crate) fn package_of(program: &str) -> Option<&'static str> {
    Some(match program {
        "bpftool" => "bpftool",
        "buildah" => "buildah",
        "clang" => "clang",
        "curl" => "curl",
        "dig" => "bind9-dnsutils",
        "ethtool" => "ethtool",
        "haproxy" => "haproxy",
        "ip" | "ss" => "iproute2",
        "iperf3" => "iperf3",
        "nft" => "nftables",
        "nginx" => "nginx-light",
        "ping" => "iputils-ping",
        "podman" => "podman",
        "prometheus" | "promtool" => "prometheus",
        "python3" => "python3",
        "runc" => "runc",
        "setpriv" => "util-linux",
        "stun" => "stun-client",
        "tcpdump" => "tcpdump",
        "traceroute" => "traceroute",
        "tayga" => "tayga",
        "wrk" => "wrk",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_missing_and_one_that_is_there_is_not() {
        let found = missing(&[Requirement::Program("sh"), Requirement::Program("no-such-program")]);
        let reasons: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(reasons, ["no-such-program is not installed"]);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let missing = Missing::Program { name: "nft", package: package_of("nft") };
        assert_eq!(missing.to_string(), "nft is not installed: apt-get install nftables");
    }
}
