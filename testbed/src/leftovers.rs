//! Removing what the testbeds of dead processes left behind: processes, namespaces, directories.
//!
//! A testbed cleans up as it is dropped, but nothing is dropped when its process is killed. All
//! names carry the owner's pid, so that whoever comes next can tell. A pid that has been given to
//! another process in the meantime only delays the removal until that one ends too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::bed::PREFIX;

/// Where `ip netns` keeps its namespaces.
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// The file in a testbed's directory that lists its process groups, one `pid start-time` a line.
pub(crate) const PROCESS_LIST: &str = "processes";

/// [`remove_leftovers`], but only the first time in this process.
pub(crate) fn remove_once() {
    static DONE: Once = Once::new();
    DONE.call_once(remove_leftovers);
}

/// Ends the processes, deletes the namespaces and removes the directories of testbeds whose owner
/// no longer lives. What cannot be removed is left for the next time: another process may be at
/// it as well.
pub fn remove_leftovers() {
    // Processes are listed in the directories, and keep namespaces alive: directories first.
    for path in orphans(&std::env::temp_dir()) {
        end_listed_processes(&path);
        remove_directory(&path);
    }
    for path in orphans(Path::new(NETNS_DIR)) {
        // Gone already, or another process is faster: either way there is nothing left to do.
        let _ = delete_namespace(&path);
    }
}

/// Entries of `dir` that a testbed of a dead process named.
fn orphans(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().and_then(owner).is_some_and(is_dead))
        .map(|entry| entry.path())
        .collect()
}

/// The pid in a testbed's name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_dead(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

fn end_listed_processes(dir: &Path) {
    let Ok(list) = fs::read_to_string(dir.join(PROCESS_LIST)) else { return };
    for line in list.lines() {
        let Some((pid, started)) = line.split_once(' ') else { continue };
        let (Ok(pid), Ok(started)) = (pid.parse::<i32>(), started.parse::<u64>()) else { continue };
        // The start time tells our process from another one that got its pid later.
        if start_time(pid) == Some(started) {
            // It may end by itself between the look and the kill.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`, proc(5).
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2 is the name in parentheses and may hold spaces and parentheses itself.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// Unmounts what is mounted in a testbed's directory and removes it.
pub(crate) fn remove_directory(dir: &Path) {
    // Most testbeds never mounted a BPF file system; and a busy one goes once nobody uses it.
    let _ = umount2(&dir.join("bpf"), MntFlags::MNT_DETACH);
    // Called from Drop and for other processes' leftovers: there is nobody to tell, and the next
    // run tries again.
    let _ = fs::remove_dir_all(dir);
}

/// What `ip netns delete` does.
pub(crate) fn delete_namespace(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // EINVAL: the bind mount is gone or never came to be; the file may still be there.
        Ok(()) | Err(nix::Error::EINVAL) => fs::remove_file(path),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_names_of_testbeds_only() {
        assert_eq!(owner("halfspace-123-0-demo-gw"), Some(123));
        assert_eq!(owner("halfspace-gw"), None);
        assert_eq!(owner("other-123-0"), None);
    }

    #[test]
    fn a_process_knows_its_own_start_time_and_a_reaped_one_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).unwrap() > 0);

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(is_dead(pid));
        assert_eq!(start_time(i32::try_from(pid).unwrap()), None);
    }
}
