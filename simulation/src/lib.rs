//! The whole engine on virtual time.
//!
//! Two tenants with the same addresses, clones behind bridges, load balancers and their targets,
//! and hosts outside hold conversations over a network that loses, delays, repeats and damages
//! packets, while the desired state changes, ports and environments come and go, and the process
//! crashes and starts anew on what it left in the fast path. After every step every promise of the
//! engine is checked; every packet carries the name of its sender, so one that reaches somebody
//! else's host is found whatever its addresses say.
//!
//! A run is decided by its seed alone, to the last byte: [`Report::trace`] is a hash over all that
//! happened.
//!
//! | file | idea |
//! | --- | --- |
//! | `run` | the loop: what happens next, and what follows from it |
//! | `arrival` | a packet at a host: whose is it, and what is answered |
//! | `conversation` | who talks to whom, and when |
//! | `talk` | one conversation, as the host that opens it sees it |
//! | `hosts`, `desired` | who is there, and what the gateway is told |
//! | `judge` | what must hold |
//! | `books` | what the flow logs must add up to |

#![forbid(unsafe_code)]

mod arrival;
mod books;
mod conversation;
mod desired;
mod hosts;
mod judge;
mod random;
mod report;
mod run;
mod tag;
mod talk;

use std::fmt;
use std::time::Duration;

pub use report::Report;
pub use talk::{End, Way};

/// What a run is to be like beside its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long hosts start conversations and the operator changes things.
    pub busy: Duration,
    /// Something that the gateway must never do, done to it once, to see that it is found out.
    pub sabotage: Option<Sabotage>,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy: Duration::from_mins(5), sabotage: None }
    }
}

/// A fault to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A frame leaves by the other tenant's port, where a host with the same addresses is.
    WrongTenant,
    /// A frame of an environment leaves by the port of its clone.
    WrongClone,
    /// An entry is gone from the fast path.
    LostEntry,
    /// An entry rewrites to another tuple than its flow has.
    WrongRewrite,
    /// A frame is taken from the fast path and never counted.
    LostPacket,
    /// Records of flow logs are lost without a word.
    LostRecords,
    /// The gateway never learns that security groups let in less than everything.
    OpenGroups,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of the run.
    pub seed: u64,
    /// After which step.
    pub step: u64,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, what } = self;
        write!(
            f,
            "{what}\n  in step {step} of seed {seed}; replay with\n  HALFSPACE_SIM_SEED={seed} \
             cargo test -p halfspace-simulation --test simulation -- --nocapture"
        )
    }
}

impl std::error::Error for Failure {}

/// Runs one simulation to its end.
///
/// # Errors
/// [`Failure`], with the first promise that was broken.
pub fn run(seed: u64, options: Options) -> Result<Report, Failure> {
    run::Run::new(seed, options).finish()
}
