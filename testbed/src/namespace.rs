//! A network namespace, the way `ip netns` keeps it, and running code and programs in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::bed::{Shared, check_name};
use crate::error::Error;
use crate::leftovers::{NETNS_DIR, delete_namespace};
use crate::process::{self, Output, Process};

/// How long a program under [`Namespace::run`] may take.
const RUN_LIMIT: Duration = Duration::from_secs(30);

/// Makes an address usable as soon as it is there, and keeps hosts that nobody asked from talking:
/// no duplicate address detection, no router solicitations.
const QUIET_IPV6: [(&str, &str); 4] = [
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
];

/// A network namespace under `/run/netns`, so that `ip netns exec` and
/// `podman --network=ns:…` find it. Deleted when dropped; the kernel then removes its links. One
/// that was there before, see [`Testbed::existing_namespace`](crate::Testbed::existing_namespace),
/// stays.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
    /// Made here, and so to be deleted.
    owned: bool,
    /// Open from the start: entering needs no path, so it works from any mount namespace.
    handle: Arc<File>,
    pub(crate) shared: Arc<Shared>,
}

impl Namespace {
    pub(crate) fn create<I, S>(shared: &Arc<Shared>, names: I) -> Result<Vec<Self>, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut full_names = Vec::new();
        for name in names {
            check_name(name.as_ref())?;
            full_names.push(format!("{}-{}", shared.prefix, name.as_ref()));
        }
        let lines = full_names.iter().map(|name| format!("netns add {name}"));
        let made = process::ip_batch(shared, Command::new("ip"), lines).and_then(|()| {
            full_names
                .iter()
                .map(|name| {
                    let path = Path::new(NETNS_DIR).join(name);
                    let handle = File::open(&path).map_err(|source| Error::File {
                        action: "open",
                        path: path.clone(),
                        source,
                    })?;
                    Ok(Self {
                        name: name.clone(),
                        path,
                        owned: true,
                        handle: Arc::new(handle),
                        shared: Arc::clone(shared),
                    })
                })
                .collect::<Result<Vec<_>, Error>>()
        });
        let namespaces = made.inspect_err(|_| {
            for name in &full_names {
                // Those after the failing one were never made.
                let _ = delete_namespace(&Path::new(NETNS_DIR).join(name));
            }
        })?;
        for namespace in &namespaces {
            namespace.ip(["link set lo up"])?;
            if Path::new("/proc/sys/net/ipv6").exists() {
                namespace.sysctl(QUIET_IPV6)?;
            }
        }
        Ok(namespaces)
    }

    /// A namespace that somebody else keeps.
    pub(crate) fn existing(shared: &Arc<Shared>, path: PathBuf) -> Result<Self, Error> {
        let handle = File::open(&path).map_err(|source| Error::File {
            action: "open the network namespace",
            path: path.clone(),
            source,
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (handle, shared) = (Arc::new(handle), Arc::clone(shared));
        Ok(Self { name, path, owned: false, handle, shared })
    }

    /// The name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that keeps the namespace.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside the namespace: sockets it opens belong there and stay there. It runs on
    /// a thread of its own, because a thread that has changed its namespace is of no other use.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] if the namespace cannot be entered.
    ///
    /// # Panics
    ///
    /// If `work` does, with its own message.
    pub fn enter<R, F>(&self, work: F) -> Result<R, Error>
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        let entered = std::thread::scope(|scope| {
            let inside = || -> io::Result<R> {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            };
            let thread = std::thread::Builder::new().name("netns".to_owned());
            match thread.spawn_scoped(scope, inside)?.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        entered.map_err(|source| self.failed("enter it", source))
    }

    /// A command that will run inside the namespace.
    ///
    /// Only the network changes: unlike under `ip netns exec`, `/sys` stays the caller's, and
    /// with it the BPF file system below it. Programs that look into `/sys/class/net` see the
    /// caller's links.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let handle = Arc::clone(&self.handle);
        let enter = move || {
            // SAFETY: setns(2) reads its two arguments only, and the descriptor is kept open by
            // `handle`.
            if unsafe { libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) } == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: the closure
        // makes one system call and reads errno; it neither allocates nor locks.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs a program to its end, at most 30 seconds, which must succeed. Whatever it left
    /// running in its process group is killed.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], [`Error::Failed`], [`Error::TooSlow`].
    pub fn run<I, S>(&self, arguments: I) -> Result<Output, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut process = self.spawn(arguments)?;
        process.success(RUN_LIMIT)
    }

    /// Runs a program to its end, whatever its exit status.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], [`Error::TooSlow`].
    pub fn output<I, S>(&self, limit: Duration, arguments: I) -> Result<Output, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut process = self.spawn(arguments)?;
        process.output(limit)
    }

    /// Starts a program in the background.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], [`Error::File`].
    pub fn spawn<I, S>(&self, arguments: I) -> Result<Process, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().map_or_else(Default::default, |p| p.as_ref().to_owned());
        let mut command = self.command(program);
        command.args(arguments);
        self.spawn_command(command)
    }

    /// Starts a command made by [`Namespace::command`] in the background, for those that need an
    /// environment or a working directory.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], [`Error::File`].
    pub fn spawn_command(&self, command: Command) -> Result<Process, Error> {
        Process::start(&self.shared, command)
    }

    pub(crate) fn failed(&self, action: &str, source: io::Error) -> Error {
        Error::Namespace { namespace: self.name.clone(), action: action.to_owned(), source }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.owned {
            // Nobody to tell in a Drop; the next testbed tries again.
            let _ = delete_namespace(&self.path);
        }
    }
}
