//! Targets behind a load balancer, as far as its health checks see them.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use super::documents::HEALTH_PORT;
use crate::bench::topology::Topology;
use crate::error::Error;

/// Healthy targets: health checks connect and hang up, so the kernel alone answers them.
#[derive(Debug)]
pub struct Healthy(TcpListener);

impl Healthy {
    /// Answers on one of the hosts' addresses, or on all.
    ///
    /// # Errors
    ///
    /// [`Error::System`], [`Error::Testbed`].
    pub fn listen(topology: &Topology, address: Ipv4Addr) -> Result<Self, Error> {
        let listener = topology
            .hosts
            .enter(|| TcpListener::bind((address, HEALTH_PORT)))?
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| Error::System { action: "listen as the target", source })?;
        Ok(Self(listener))
    }

    /// Takes the connections of health checks out of the backlog, which would fill up: to be called
    /// once a round.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn hang_up(&self) -> Result<(), Error> {
        loop {
            match self.0.accept() {
                Ok(connection) => drop(connection),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(source) => {
                    return Err(Error::System { action: "answer health checks", source });
                }
            }
        }
    }
}
