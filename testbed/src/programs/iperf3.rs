//! An iperf3 server; clients are run with [`Namespace::run`].

use std::net::SocketAddr;

use super::START_LIMIT;
use crate::error::Error;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::wait_until;

/// The last line of the server's output while it listens.
const RULE: &str = "-----------";

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
        // Not asked by a connection: one that says nothing is an aborted test to it.
        let server = ["iperf3", "--server", "--forceflush", "--bind", &address, "--port", &port];
        let started = Self { process: namespace.spawn(server)? };
        started.wait_idle()?;
        Ok(started)
    }

    /// Waits until the server takes another client: after each it stops listening for a moment.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`]
    pub fn wait_idle(&self) -> Result<(), Error> {
        wait_until(START_LIMIT, "iperf3 to listen", || {
            self.process.stdout().trim_end().ends_with(RULE)
        })
    }
}
