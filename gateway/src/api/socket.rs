//! The Unix socket that the API is served on.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody answers on it.
    #[error(
        "another gateway answers on {0}: stop that one first, or give this one a socket of its own"
    )]
    InUse(PathBuf),
    /// Something else stands there.
    #[error("{0} exists and is not a socket: remove it, or choose another path")]
    NotASocket(PathBuf),
    /// A system call failed.
    #[error("cannot {action} {path}: {error}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
}

/// A socket that is listened on. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    // Dropped in this order: while the file is there somebody answers on it, so that nobody puts
    // another in its place that would be removed then.
    file: OwnFile,
    listener: UnixListener,
}

#[derive(Debug)]
struct OwnFile(PathBuf);

impl Socket {
    /// Makes the socket and starts to listen: who connects from now on waits until it is served.
    /// A file that an earlier process left, on which nobody answers, is replaced.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |action| move |error| Error::System { action, path: path.to_owned(), error };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed("listen on"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))
            .map_err(failed("set the mode of"))?;
        listener.set_nonblocking(true).map_err(failed("listen on"))?;
        Ok(Self { file: OwnFile(path.to_owned()), listener })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.0
    }

    /// For the runtime that serves it; this one still owns the file.
    ///
    /// # Errors
    ///
    /// If it cannot be duplicated, or outside a tokio runtime.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Nobody is left to be told; the next process replaces it.
        let _ = fs::remove_file(&self.0);
    }
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    let failed = |action| move |error| Error::System { action, path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(Error::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        // A full backlog is somebody's as well.
        Ok(_) => Err(Error::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::InUse(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale socket"))
        }
        Err(error) => Err(failed("find out whether somebody answers on")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_somebody_answers_on_is_left_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep").join("api.sock");
        let first = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);

        let error = Socket::bind(&path).unwrap_err();
        assert!(matches!(error, Error::InUse(_)), "{error}");
        assert!(path.exists());
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_a_dead_process_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());

        let socket = Socket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "keep me").unwrap();
        assert!(matches!(Socket::bind(&path), Err(Error::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
    }
}
