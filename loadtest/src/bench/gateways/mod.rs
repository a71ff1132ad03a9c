//! The gateways that contenders stand for, each set up in a namespace of a [`Topology`].

pub mod documents;
pub mod halfspace;
pub mod kernel;
pub mod proxies;
pub mod target;

use std::net::Ipv4Addr;

use halfspace_testbed::Process;

use self::halfspace::Halfspace;
use super::topology::{FIRST_IN_WORLD, GATEWAY_INSIDE, INSIDE, OUTSIDE, Topology};
use crate::error::Error;
use crate::frames::relay::Relay;
use crate::frames::sink::Sources;

/// A gateway that is ready for traffic; dropping it stops whatever of ours keeps it going.
#[derive(Debug)]
pub struct Gateway {
    /// From which addresses its frames must come.
    pub sources: Sources,
    /// What was tuned, and what could not be.
    pub notes: Vec<String>,
    _relay: Option<Relay>,
    halfspace_process: Option<Halfspace>,
    proxy_process: Option<Process>,
}

impl Gateway {
    /// The kernel itself, which needs nothing of ours to go on.
    pub fn kernel(sources: Sources, notes: Vec<String>) -> Self {
        Self { sources, notes, _relay: None, halfspace_process: None, proxy_process: None }
    }

    /// A process of Halfspace's.
    pub fn halfspace(sources: Sources, process: Halfspace) -> Self {
        Self { halfspace_process: Some(process), ..Self::kernel(sources, Vec::new()) }
    }

    /// Somebody else's process.
    pub fn proxy(sources: Sources, notes: Vec<String>, process: Process) -> Self {
        Self { proxy_process: Some(process), ..Self::kernel(sources, notes) }
    }

    /// Looks whether its process, if it has one, is still there: what it left in the kernel may go
    /// on without it for a while.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] with its last words.
    pub fn check(&self) -> Result<(), Error> {
        let ours = self.halfspace_process.as_ref().map(Halfspace::process);
        let ended = |process: &&Process| !process.is_running();
        match ours.into_iter().chain(&self.proxy_process).find(ended) {
            Some(process) => Err(Error::Ended(process.stderr().trim().to_owned())),
            None => Ok(()),
        }
    }

    /// No gateway: whatever comes in leaves by the other side.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::Testbed`].
    pub fn relay(topology: &Topology) -> Result<Self, Error> {
        let relay = Relay::attach(topology.gateway(), INSIDE, OUTSIDE)?;
        Ok(Self { _relay: Some(relay), ..Self::kernel(hosts(), Vec::new()) })
    }
}

/// Behind a gateway without NAT the hosts' addresses are seen.
pub fn hosts() -> Sources {
    Sources { address: GATEWAY_INSIDE.into(), length: 16 }
}

/// Behind a load balancer that keeps its clients' addresses those are seen.
pub fn world() -> Sources {
    Sources { address: FIRST_IN_WORLD.into(), length: 24 }
}

/// Behind a NAT its own address is seen.
pub fn exactly(address: Ipv4Addr) -> Sources {
    prefix(address, 32)
}

/// Behind a NAT with several addresses one of these is seen.
pub fn prefix(address: Ipv4Addr, length: u8) -> Sources {
    Sources { address: address.into(), length }
}
