//! The stage of one contender: generator, gateway and sink, each in a namespace of its own.
//!
//! ```text
//!   gen: port ──── inside :gw: outside ──── port :sink
//!   10.1.0.0/16      10.1.0.1        203.0.113.1      203.0.113.2, before 198.51.100.0/24
//! ```

use std::net::Ipv4Addr;

use halfspace_testbed::{Namespace, Testbed};

use crate::error::Error;
use crate::frame::{MIN_FRAME, Plan};

/// The gateway's link towards the clients.
pub const INSIDE: &str = "inside";
/// The gateway's link towards the servers.
pub const OUTSIDE: &str = "outside";
/// The only link of the generator and of the sink.
pub const PORT: &str = "port";

/// Where all clients are, on the inside link.
pub const CLIENTS: &str = "10.1.0.0/16";
/// The gateway among them, at the address that a VPC's router has.
pub const GATEWAY_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The gateway on the outside link, a /24.
pub const GATEWAY_OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Who is next on the way to the servers.
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Where the servers are, behind the next hop (TEST-NET-2, RFC 5737).
pub const SERVERS: &str = "198.51.100.0/24";

const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 128);
const FIRST_SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// RFC 863: whoever should get such a frame by mistake discards it too.
pub const SERVER_PORT: u16 = 9;

/// Most clients that flows are spread over.
const MOST_CLIENTS: u32 = 100;
/// Most servers: behind a NAT with one address each can have 64,512 flows.
const MOST_SERVERS: u32 = 4;

/// The three namespaces and their links.
#[derive(Debug)]
pub struct Topology {
    /// Where the generator runs.
    pub generator: Namespace,
    /// Where the contender runs.
    pub gateway: Namespace,
    /// Where frames are counted.
    pub sink: Namespace,
}

impl Topology {
    /// Lays it out. The gateway's links have no addresses yet: not every contender wants the
    /// kernel to have any.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn lay(bed: &Testbed, contender: &str) -> Result<Self, Error> {
        let names = ["gen", "gw", "sink"].map(|role| format!("{contender}-{role}"));
        let [generator, gateway, sink]: [Namespace; 3] = bed
            .namespaces(names)?
            .try_into()
            .map_err(|_| Error::Missing("namespaces".to_owned()))?;
        bed.veths(&[
            ((&gateway, INSIDE), (&generator, PORT)),
            ((&gateway, OUTSIDE), (&sink, PORT)),
        ])?;
        // The ends answer ARP for whatever a gateway may ask for: all clients, but not the gateway
        // itself, whose packets would look as if they came from the generator's own address.
        generator.ip([
            format!("address add 10.1.0.5/16 dev {PORT}"),
            "route add local 10.1.0.128/25 dev lo".to_owned(),
        ])?;
        sink.ip([format!("address add {NEXT_HOP}/24 dev {PORT}")])?;
        Ok(Self { generator, gateway, sink })
    }

    /// What to send to have `flows` flows.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn plan(&self, flows: u32) -> Result<Plan, Error> {
        Ok(Plan {
            flows,
            clients: flows.min(MOST_CLIENTS),
            first_client: FIRST_CLIENT,
            servers: flows.min(MOST_SERVERS),
            first_server: FIRST_SERVER,
            server_port: SERVER_PORT,
            frame_size: MIN_FRAME,
            source_mac: self.generator.link_mac(PORT)?,
            destination_mac: self.gateway.link_mac(INSIDE)?,
        })
    }
}
