//! What can go wrong while a testbed is laid out or a program runs in it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A testbed operation that failed, with what a person needs to find out why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be started at all.
    #[error("cannot start `{command}`: {source}{}", package_hint(source, package.as_deref()))]
    Start {
        /// The command line.
        command: String,
        /// The Debian package that brings the program, where known.
        package: Option<String>,
        /// Why.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error, or of its standard output if that was empty.
        stderr: String,
    },
    /// A program did not end in time and was killed.
    #[error("`{command}` did not end within {limit:?} and was killed: {stderr}")]
    TooSlow {
        /// The command line.
        command: String,
        /// The time it had.
        limit: Duration,
        /// The end of its standard error, or of its standard output if that was empty.
        stderr: String,
    },
    /// Something awaited did not happen in time.
    #[error("waited {limit:?} for {what}")]
    NotReady {
        /// What was awaited.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A namespace could not be made, entered or configured.
    #[error("network namespace {namespace}: cannot {action}: {source}")]
    Namespace {
        /// The namespace's name under `/run/netns`.
        namespace: String,
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A file or directory of the testbed could not be written, read or mounted.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A name that cannot become part of a namespace's name.
    #[error("`{0}` cannot name a testbed or a namespace: use lower-case letters, digits and `-`")]
    Name(String),
    /// An HTTP answer that is none.
    #[error("{url} answered with something that is not HTTP: {answer:?}")]
    NotHttp {
        /// What was asked for.
        url: String,
        /// The beginning of the answer.
        answer: String,
    },
}

/// What to install, if the program is not there.
fn package_hint(source: &io::Error, package: Option<&str>) -> String {
    match package {
        Some(package) if source.kind() == io::ErrorKind::NotFound => {
            format!("; the Debian package {package} brings it")
        }
        _ => String::new(),
    }
}
