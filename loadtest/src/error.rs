//! What can go wrong while a gateway is being loaded.

use std::io;
use std::path::PathBuf;

use crate::sink::Counters;

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something that every measurement needs.
    #[error("{}", .0.join("\n"))]
    Requirements(Vec<String>),
    /// Namespaces, links or programs.
    #[error(transparent)]
    Testbed(#[from] halfspace_testbed::Error),
    /// A BPF program could not be loaded, attached or run.
    #[error("{action}")]
    Bpf {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Frames that were sent slowly did not all arrive.
    #[error(
        "of {flows} flows, one frame each, {arrived} arrived at the end of {passes} slow passes"
    )]
    WarmUp {
        /// Frames sent in a pass.
        flows: u32,
        /// Valid frames of the last pass.
        arrived: u64,
        /// Passes tried.
        passes: u32,
    },
    /// The gateway delivered frames that are not what was sent.
    #[error(
        "the gateway delivered broken frames: {} with a wrong checksum, {} with a wrong payload, \
         {} from a wrong source address",
        .0.bad_checksum, .0.bad_marker, .0.bad_source
    )]
    Broken(Counters),
    /// A contender is not there.
    #[error("{0}")]
    Missing(String),
    /// A file could not be written or read.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The operating system refused something else.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// No contender could be measured.
    #[error("nothing could be measured\n{}", .0.join("\n"))]
    Nothing(Vec<String>),
    /// Targets were missed and `--enforce` was given.
    #[error("missed its target: {}", .0.join(", "))]
    Targets(Vec<String>),
}

impl Error {
    /// For `map_err` around BPF calls.
    pub fn bpf<E>(action: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Bpf { action, source: source.into() }
    }
}
