//! What can go wrong while a gateway is being loaded.

use std::io;
use std::path::PathBuf;

use crate::environments::api::ApiError;
use crate::frames::sink::Counters;

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
    /// A gateway that was being measured is no longer there.
    #[error("the gateway's process has ended by itself, saying: {0}")]
    Ended(String),
    /// Load would leave the machine and nobody said that it may.
    #[error(
        "{what} is outside: this runs in the machine's own network, and that is not loopback. Run \
         it inside a network namespace (ip netns exec), or say --allow-outside if load may go there"
    )]
    Outside {
        /// The address or interface.
        what: String,
    },
    /// The gateway's API could not be used.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// Options that do not go together.
    #[error("{0}")]
    Usage(String),
    /// There is no such interface.
    #[error("there is no interface {name} here")]
    NoInterface {
        /// Its name.
        name: String,
        /// Why it was not found.
        source: io::Error,
    },
    /// A command that the user gave failed.
    #[error("`{command}`: {why}")]
    Command {
        /// The command line.
        command: String,
        /// Why.
        why: String,
    },
    /// Frames cannot be sent the way that was asked for.
    #[error("{link}: {why}; --engine packet-socket works on any link")]
    Unsendable {
        /// The interface.
        link: String,
        /// What stands against it.
        why: String,
    },
    /// The gateway's MAC address is not to be found.
    #[error(
        "nobody answers for {gateway} on {link}: give that interface an address of the gateway's \
         network, or name the MAC address with --gateway-mac"
    )]
    Unresolved {
        /// The gateway.
        gateway: std::net::IpAddr,
        /// The interface.
        link: String,
    },
    /// The other half of a prober cannot be used.
    #[error("the peer: {0}")]
    Peer(String),
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
