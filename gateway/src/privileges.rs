//! Giving up what the process does not need once it is set up.
//!
//! What stays is what attaching ports, changing maps and sending frames take: `CAP_NET_ADMIN`,
//! `CAP_NET_RAW`, `CAP_BPF` and `CAP_PERFMON` (for programs that read packet memory). Mounting a
//! file system, changing owners or opening other users' files is over then, for root too.
//!
//! Capabilities belong to threads, and only those that do not exist yet inherit the smaller set.
//! So this runs while the process still has one thread, and says so if it has not.

use std::fs;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::stat::{Mode, umask};

/// What the running gateway needs.
const KEPT: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others would keep theirs.
    #[error("cannot give up privileges: the process has {0} threads already")]
    Threads(usize),
    /// The kernel refused.
    #[error("cannot {action}: {error}")]
    Refused {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    fn refused<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        action: &'static str,
    ) -> impl Fn(E) -> Self {
        move |error| Self::Refused { action, error: error.into() }
    }
}

/// Keeps files and sockets that are made from now on from other users.
pub fn restrict_new_files() {
    umask(Mode::S_IWGRP | Mode::S_IRWXO);
}

/// Gives up every capability but the four above (those of them that the process has) and the right to
/// gain any by executing a program. Returns what it still has.
///
/// # Errors
///
/// [`Error`].
pub fn give_up() -> Result<CapsHashSet, Error> {
    let threads = threads().map_err(Error::refused("count threads"))?;
    if threads != 1 {
        return Err(Error::Threads(threads));
    }
    set_no_new_privs().map_err(Error::refused("give up gaining privileges"))?;
    let has = caps::read(None, CapSet::Permitted).map_err(Error::refused("read capabilities"))?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|it| has.contains(it)).collect();
    let set = |set, to: &CapsHashSet| {
        caps::set(None, set, to).map_err(Error::refused("give up capabilities"))
    };
    set(CapSet::Ambient, &CapsHashSet::new())?;
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    // Only while CAP_SETPCAP is still there; without it, no_new_privs alone keeps them away.
    if has.contains(&Capability::CAP_SETPCAP) {
        for other in caps::runtime::thread_all_supported().difference(&kept) {
            caps::drop(None, CapSet::Bounding, *other)
                .map_err(Error::refused("give up capabilities"))?;
        }
    }
    set(CapSet::Effective, &kept)?;
    set(CapSet::Permitted, &kept)?;
    Ok(kept)
}

fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_keeps_what_it_has() {
        let before = caps::read(None, CapSet::Effective).unwrap();
        std::thread::scope(|scope| {
            let (end, ended) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || ended.recv());
            assert!(matches!(give_up(), Err(Error::Threads(2..))));
            drop(end);
        });
        assert_eq!(caps::read(None, CapSet::Effective).unwrap(), before);
    }
}
