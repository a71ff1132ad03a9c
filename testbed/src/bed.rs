//! The testbed itself: a unique name for all that belongs together, and a directory for its files.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MsFlags, mount};

use crate::error::Error;
use crate::leftovers;
use crate::namespace::Namespace;

/// What every name on the system that belongs to some testbed starts with.
pub(crate) const PREFIX: &str = "halfspace-";

/// A place to lay out namespaces, links and programs. Its directory goes when the testbed and all
/// its namespaces and processes are dropped.
#[derive(Debug)]
pub struct Testbed {
    shared: Arc<Shared>,
}

/// What namespaces and processes keep alive of their testbed.
#[derive(Debug)]
pub(crate) struct Shared {
    /// `halfspace-<pid>-<counter>-<label>`: the pid tells the next run whether the owner lives.
    pub(crate) prefix: String,
    /// For configurations, logs and sockets.
    pub(crate) dir: PathBuf,
    next_file: AtomicU32,
}

impl Testbed {
    /// Opens a testbed. `label` is for the people who read `ip netns`.
    ///
    /// The first call of a process also removes what owners that are dead left behind.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] or [`Error::File`] if the temporary directory cannot be made.
    pub fn new(label: &str) -> Result<Self, Error> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);

        check_name(label)?;
        leftovers::remove_once();
        let prefix = format!(
            "{PREFIX}{}-{}-{label}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(&prefix);
        // Configurations may hold secrets and the place is world-writable: nobody else looks in.
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|source| Error::File {
            action: "make the directory",
            path: dir.clone(),
            source,
        })?;
        Ok(Self { shared: Arc::new(Shared { prefix, dir, next_file: AtomicU32::new(0) }) })
    }

    /// What the names of this testbed's namespaces start with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// The testbed's own temporary directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Makes a namespace, loopback up.
    ///
    /// # Errors
    ///
    /// Any of [`Error`]'s, most often for want of root.
    pub fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        let mut made = self.namespaces([name])?;
        // One name in, one namespace out.
        Ok(made.remove(0))
    }

    /// Makes many namespaces at once, loopbacks up, in the order of `names`.
    ///
    /// # Errors
    ///
    /// As [`Testbed::namespace`]; none is left then.
    pub fn namespaces<I, S>(&self, names: I) -> Result<Vec<Namespace>, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        Namespace::create(&self.shared, names)
    }

    /// A namespace that was there before and is to stay, by its file: `/run/netns/NAME`, or
    /// `/proc/thread-self/ns/net` for the one that the caller is in.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if there is no such file.
    pub fn existing_namespace(&self, path: impl Into<PathBuf>) -> Result<Namespace, Error> {
        Namespace::existing(&self.shared, path.into())
    }

    /// A BPF file system of the testbed's own, for pinned maps and links. They all go with the
    /// testbed, whoever pinned them. Calling it again gives the same one.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if it cannot be mounted.
    pub fn bpffs(&self) -> Result<PathBuf, Error> {
        let path = self.shared.dir.join("bpf");
        let failed = |action, source| Error::File { action, path: path.clone(), source };
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(path),
            Err(error) => return Err(failed("make the directory", error)),
        }
        mount(Some("bpffs"), &path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(|errno| failed("mount a BPF file system on", errno.into()))?;
        Ok(path)
    }
}

impl Shared {
    /// A fresh path in the testbed's directory.
    pub(crate) fn new_path(&self, stem: &str) -> PathBuf {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        let stem: String =
            stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.dir.join(format!("{number:03}-{stem}"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        leftovers::remove_directory(&self.dir);
    }
}

/// Names end up in paths and on command lines of `ip`.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fits = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}
