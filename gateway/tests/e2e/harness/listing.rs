//! What `halfspace flows --json` prints, as far as the scenarios look at it.

use std::net::SocketAddr;

use serde::Deserialize;

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Flow {
    pub id: u32,
    pub protocol: String,
    pub state: String,
    pub forward: Leg,
    pub reverse: Leg,
    pub functions: Vec<String>,
}

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Leg {
    pub port: String,
    pub received: Addresses,
    pub sent: Addresses,
    pub packets: u64,
    pub bytes: u64,
}

/// Source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

impl Flow {
    /// Whether its opening side is `client`.
    pub fn is_from(&self, client: SocketAddr) -> bool {
        self.forward.received.source == client
    }
}
