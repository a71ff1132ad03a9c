//! An iperf3 server; clients are run with [`Namespace::run`].

use std::net::SocketAddr;

use super::START_LIMIT;
use crate::error::Error;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::wait_for_port;

/// A running `iperf3 --server`, for TCP and UDP. It serves one client at a time.
#[derive(Debug)]
pub struct Iperf3 {
    /// The server itself.
    pub process: Process,
}

impl Iperf3 {
    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if iperf3 is not installed, [`Error::NotReady`] if it does not listen.
    pub fn start(namespace: &Namespace, listen: SocketAddr) -> Result<Self, Error> {
        let (address, port) = (listen.ip().to_string(), listen.port().to_string());
        let process =
            namespace.spawn(["iperf3", "--server", "--bind", &address, "--port", &port])?;
        // A connection that says nothing is an aborted test to iperf3: it goes on listening.
        wait_for_port(namespace, listen, START_LIMIT)?;
        Ok(Self { process })
    }
}
