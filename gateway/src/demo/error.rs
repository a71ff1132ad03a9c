//! Why the demo could not go on. What went on and was wrong is a failed check instead.

use std::io;

use halfspace_testbed::Interrupt;

/// What ended the demo early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The machine lacks something.
    #[error("{}", .0.join("\n"))]
    Requirements(Vec<String>),
    /// Namespaces, links or programs.
    #[error(transparent)]
    Testbed(#[from] halfspace_testbed::Error),
    /// A program answered with something that is not what it should be.
    #[error("`{command}` printed what cannot be read: {source}")]
    Answer {
        /// The command.
        command: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The metrics page was not served.
    #[error("GET /metrics answered with status {0}")]
    Metrics(u16),
    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Ends the demo here if Ctrl-C was pressed.
    pub(super) fn if_raised(interrupt: &Interrupt) -> Result<(), Self> {
        if interrupt.is_raised() { Err(Self::Interrupted) } else { Ok(()) }
    }
}
