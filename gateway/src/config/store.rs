//! The file of the resource document, as a place that more than one writes to.
//!
//! People edit the file, machines copy a new one over it, and this process changes it through
//! [`edit`](super::edit). Nobody locks it, so whoever writes must have read what they replace: a
//! file that has changed since then is left alone, and the change begins again with what it says
//! now. The file is replaced at once, never half: a reader sees the old document or the new one,
//! and so does whoever comes after a power failure.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::source::{Source, read_bytes};
use super::{Diagnostic, ResourceFile};

/// Why the document cannot be read or written. The file is as it was, except if the disk fails at
/// the very last, when the new document is in place but might not outlast a power failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has written it since it was read.
    #[error("{} has changed meanwhile: read it again and repeat the change", .0.display())]
    Changed(PathBuf),
    /// There is no such file, or no longer.
    #[error("{}: no such file: check the path or put the file back", .0.display())]
    Vanished(PathBuf),
    /// What the file says is not a document; nothing can be changed in it.
    #[error("the resource document is invalid: correct it first: {}", list(.0))]
    Invalid(Vec<Diagnostic>),
    /// Its file system cannot be written to.
    #[error(
        "{} is on a read-only file system: change the document where it comes from, or keep it \
         on a file system that can be written to", .0.display()
    )]
    ReadOnly(PathBuf),
    /// This process may not.
    #[error("{} may not be {action} by this user: {hint}", .file.display())]
    Permission {
        /// Which file.
        file: PathBuf,
        /// What was attempted: "read", "replaced".
        action: &'static str,
        /// What to change.
        hint: &'static str,
    },
    /// The file is a mount of its own, so no other can take its place.
    #[error(
        "{} is a mount point and cannot be replaced: mount the directory it is in instead",
        .0.display()
    )]
    MountPoint(PathBuf),
    /// Anything else, a full disk for one.
    #[error("cannot {action} {}: {error}", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What was attempted: "read", "replace".
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

fn list(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The file of the resource document.
///
/// Reading and writing wait for the disk: not for threads that serve packets or connections.
#[derive(Clone, Debug)]
pub struct Store {
    file: PathBuf,
}

impl Store {
    /// The document in `file`, which is read and written when asked for.
    #[must_use]
    pub const fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// The file, as it was named.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the document.
    ///
    /// # Errors
    ///
    /// [`Error::Vanished`], [`Error::Permission`] or [`Error::Io`] if the file cannot be read, and
    /// [`Error::Invalid`] if it is not well formed. Whether it is right, that is, makes a
    /// [`Snapshot`](nf_core::vpc::Snapshot), is not asked here.
    pub fn read(&self) -> Result<ResourceFile, Error> {
        let bytes = read_bytes(&self.file).map_err(|error| self.unreadable(error))?;
        let source =
            Source::decode(&self.file, bytes).map_err(|error| Error::Invalid(vec![error]))?;
        ResourceFile::from_source(source).map_err(Error::Invalid)
    }

    /// Replaces the document that was `read` by `text`. A symbolic link stays, and what it leads to
    /// is replaced; the new file has the old one's owner, group and mode, but no extended attributes
    /// such as access control lists, and no other hard links.
    ///
    /// Between the last look at the file and its replacement, a matter of microseconds, another's
    /// change would go unseen. So writers in this process take turns.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if the file does not say any more what was read, so that the caller reads
    /// it again and repeats the change; every other but [`Error::Invalid`].
    pub fn write(&self, read: &ResourceFile, text: &str) -> Result<(), Error> {
        let file = fs::canonicalize(&self.file).map_err(|error| self.unreadable(error))?;
        let old = File::open(&file)
            .and_then(|file| file.metadata())
            .map_err(|error| self.unreadable(error))?;
        let directory = file.parent().unwrap_or(&file);
        let handle = File::open(directory).map_err(|error| self.unwritable(error))?;
        let new = self.prepare(&file, directory, &old, text)?;
        if read_bytes(&file).map_err(|error| self.unreadable(error))? != read.text().as_bytes() {
            return Err(Error::Changed(self.file.clone()));
        }
        new.persist(&file).map_err(|error| self.unwritable(error.error))?;
        // Or the old name could come back after a power failure.
        handle.sync_all().map_err(|error| self.unwritable(error))
    }

    /// The new file under a name of its own, on the disk.
    fn prepare(
        &self,
        file: &Path,
        directory: &Path,
        old: &Metadata,
        text: &str,
    ) -> Result<NamedTempFile, Error> {
        let failed = |error| self.unwritable(error);
        let mut prefix = OsString::from(".");
        prefix.push(file.file_name().unwrap_or_default());
        prefix.push(".");
        let mut new =
            tempfile::Builder::new().prefix(&prefix).tempfile_in(directory).map_err(failed)?;
        new.write_all(text.as_bytes()).map_err(failed)?;
        let fresh = new.as_file().metadata().map_err(failed)?;
        if (fresh.uid(), fresh.gid()) != (old.uid(), old.gid()) {
            let given = fchown(new.as_file(), Some(old.uid()), Some(old.gid()));
            given.map_err(|error| match failed(error) {
                Error::Permission { file, action, .. } => {
                    let hint = "give the file to the gateway's user";
                    Error::Permission { file, action, hint }
                }
                other => other,
            })?;
        }
        let mode = fs::Permissions::from_mode(old.mode() & 0o7777);
        new.as_file().set_permissions(mode).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        Ok(new)
    }

    fn unreadable(&self, error: io::Error) -> Error {
        let file = self.file.clone();
        match error.kind() {
            io::ErrorKind::NotFound => Error::Vanished(file),
            io::ErrorKind::PermissionDenied => {
                Error::Permission { file, action: "read", hint: "let the gateway's user read it" }
            }
            _ => Error::Io { file, action: "read", error },
        }
    }

    fn unwritable(&self, error: io::Error) -> Error {
        let file = self.file.clone();
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly(file),
            io::ErrorKind::PermissionDenied => Error::Permission {
                file,
                action: "replaced",
                hint: "let the gateway's user write to the directory it is in",
            },
            io::ErrorKind::ResourceBusy => Error::MountPoint(file),
            io::ErrorKind::NotFound => Error::Vanished(file),
            _ => Error::Io { file, action: "replace", error },
        }
    }
}

#[cfg(test)]
mod tests;
