//! Targets behind a load balancer, as far as its health checks see them.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use halfspace_testbed::Namespace;
use socket2::{Domain, Socket, Type};

use super::documents::{HEALTH_PORT, PROBING};
use crate::error::Error;

/// Connections that wait to be taken: those of a thousand targets between two rounds.
const BACKLOG: i32 = 4096;

/// Healthy targets: health checks connect and hang up, so the kernel alone answers them.
#[derive(Debug)]
pub struct Healthy(TcpListener);

impl Healthy {
    /// Answers in a namespace, on one of its addresses or on all. Whoever probes is behind `router`,
    /// though the link may look as if it were the whole VPC's.
    ///
    /// # Errors
    ///
    /// [`Error::System`], [`Error::Testbed`].
    pub fn listen(
        namespace: &Namespace,
        router: Ipv4Addr,
        address: Ipv4Addr,
    ) -> Result<Self, Error> {
        namespace.ip([format!("route add {PROBING} via {router}")])?;
        let listener = namespace
            .enter(|| listen((address, HEALTH_PORT).into()))?
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
