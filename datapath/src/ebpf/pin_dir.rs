//! The directory where maps and links are pinned: on a BPF file system, held by one process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::OpenError;

/// Where distributions mount the BPF file system.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// The directory, locked as long as this lives.
#[derive(Debug)]
pub(super) struct PinDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl PinDir {
    /// Creates the directory if needed, and locks it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoBpffs`], [`OpenError::PinDir`], or [`OpenError::Busy`] if another process has
    /// it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |action: &'static str| {
            move |error| OpenError::PinDir { path: path.to_owned(), action, error }
        };
        if !on_bpffs(path).map_err(failed("look at"))? {
            mount_usual(path)?;
        }
        fs::create_dir_all(path).map_err(failed("create"))?;
        let directory = File::open(path).map_err(failed("open"))?;
        // The directory itself is locked: a BPF file system has no plain files. The kernel lets go
        // of the lock with the process, however it ends.
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((directory, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(OpenError::Busy { path: path.to_owned(), holder: holder(&directory) })
            }
            Err((_, errno)) => Err(failed("lock")(errno.into())),
        }
    }

    /// The path of a pin in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of what is pinned in it.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        let name = |entry: io::Result<fs::DirEntry>| Some(entry.ok()?.file_name().into_string());
        Ok(entries.filter_map(name).flatten().collect())
    }

    /// Removes a pin; one that is not there is as good as removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the empty directory.
    pub(super) fn remove_itself(&self) -> io::Result<()> {
        fs::remove_dir(&self.path)
    }
}

/// Whether the path, or the nearest of its parents that exists, is on a BPF file system.
fn on_bpffs(path: &Path) -> io::Result<bool> {
    for ancestor in path.ancestors() {
        match statfs(ancestor) {
            Ok(stat) => return Ok(stat.filesystem_type() == BPF_FS_MAGIC),
            Err(nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}

/// Mounts a BPF file system at its usual place, if that is where `path` belongs.
fn mount_usual(path: &Path) -> Result<(), OpenError> {
    let no_bpffs = |why: String| OpenError::NoBpffs { path: path.to_owned(), why };
    if !path.starts_with(USUAL_MOUNT) {
        return Err(no_bpffs("nothing is mounted there".to_owned()));
    }
    mount(Some("bpf"), USUAL_MOUNT, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(|errno| no_bpffs(format!("mounting one at {USUAL_MOUNT} failed: {errno}")))?;
    if in_own_mount_namespace() {
        tracing::warn!(
            path = USUAL_MOUNT,
            "mounted a BPF file system in a mount namespace of its own (ip netns exec makes one): \
             flows will not outlive the last process in it"
        );
    } else {
        tracing::info!(path = USUAL_MOUNT, "mounted a BPF file system");
    }
    Ok(())
}

/// Whether what is mounted here is hidden from the machine's first process. Unknown counts as no.
fn in_own_mount_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let (own, first) = (namespace("thread-self"), namespace("1"));
    own.is_some() && first.is_some() && own != first
}

/// Who has the lock, as far as the kernel tells: `/proc/locks` knows nothing of processes in other
/// PID namespaces.
fn holder(directory: &File) -> String {
    let unknown = || "another process, not visible from here".to_owned();
    let Ok(inode) = directory.metadata().map(|meta| meta.ino()) else { return unknown() };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let Some(pid) = locks.lines().find_map(|line| lock_holder(line, inode)) else {
        return unknown();
    };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim() {
        "" => format!("process {pid}"),
        name => format!("process {pid} ({name})"),
    }
}

/// The process of a line of `/proc/locks`, such as
/// `1: FLOCK  ADVISORY  WRITE 1234 00:2a:567 0 EOF`, if it is about this inode.
fn lock_holder(line: &str, inode: u64) -> Option<u32> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else { return None };
    let of_file = file.rsplit(':').next()?.parse() == Ok(inode);
    of_file.then(|| pid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_read_from_the_kernels_list() {
        let line = "1: FLOCK  ADVISORY  WRITE 1234 00:2a:567 0 EOF";
        assert_eq!(lock_holder(line, 567), Some(1234));
        assert_eq!(lock_holder(line, 67), None);
        assert_eq!(lock_holder("2: POSIX  ADVISORY  WRITE 1234 00:2a:567 0 EOF", 567), None);
    }

    #[test]
    fn a_directory_elsewhere_is_refused_with_what_to_do() {
        let error = PinDir::open(Path::new("/proc/halfspace")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/halfspace is not on a BPF file system: nothing is mounted there. Mount one \
             (mount -t bpf bpf /sys/fs/bpf), or choose a directory below one"
        );
    }
}
