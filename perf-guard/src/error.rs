//! Why the guard fails.

use std::io;
use std::path::PathBuf;

/// A figure that is worse, or a reason why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the guard is for.
    #[error(
        "{}\nIf that is meant to be: make perf-guard UPDATE=1, and say why in the commit", .0.join("\n")
    )]
    Worse(Vec<String>),
    /// The machine lacks something, and nothing may be skipped.
    #[error("{}", .0.join("\n"))]
    Requirements(Vec<String>),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program could not be run, or failed.
    #[error("{command}: {why}")]
    Program {
        /// The command.
        command: String,
        /// What it said.
        why: String,
    },
    /// Namespaces, links.
    #[error(transparent)]
    Testbed(#[from] halfspace_testbed::Error),
    /// The kernel programs could not be loaded, found or run.
    #[error("cannot {action}: {why}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        why: String,
    },
}

impl Error {
    /// For `map_err` around what the kernel is asked to do.
    pub fn kernel<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Kernel { action, why: error.to_string() }
    }
}
