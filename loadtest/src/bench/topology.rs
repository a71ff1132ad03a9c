//! Where frames are sent: hosts, one or two gateways, and the world, each in a namespace of its own.
//!
//! ```text
//!   hosts: port ──── inside :gateway: outside ──── port :world
//!   10.1.0.0/16        10.1.0.1       203.0.113.1        203.0.113.2, before 198.51.100.0/24
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use halfspace_testbed::{Namespace, Testbed};

use crate::error::Error;
use crate::frames::{Plan, Sizes};

/// A gateway's link towards the hosts.
pub const INSIDE: &str = "inside";
/// A gateway's link towards the world.
pub const OUTSIDE: &str = "outside";
/// The only link of the hosts and of the world.
pub const PORT: &str = "port";

/// Where all hosts are, on the inside link.
pub const HOSTS: &str = "10.1.0.0/16";
/// The gateway among them, at the address that a VPC's router has.
pub const GATEWAY_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The gateway on the outside link, a /24.
pub const GATEWAY_OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Who is next on the way into the world.
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Where the world's addresses are, behind the next hop (TEST-NET-2, RFC 5737).
pub const WORLD: &str = "198.51.100.0/24";

/// The first address that a host has. Half of the prefix is theirs, so that they never meet the
/// addresses of subnets that only exist inside a gateway.
pub const FIRST_HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 128);
/// The first address in the world.
pub const FIRST_IN_WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Where all hosts are in IPv6.
pub const HOSTS6: &str = "fd00:10:1::/64";
/// The first IPv6 address that a host has.
pub const FIRST_HOST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 1, 0, 0, 0, 0, 0x80);
/// The first address in the world, as IPv6 hosts name it (RFC 6052).
pub const FIRST_IN_WORLD6: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc633, 0x6401);

/// RFC 863: whoever should get such a frame by mistake discards it too.
pub const SERVER_PORT: u16 = 9;

/// Most addresses that flows come from.
pub const MOST_CLIENTS: u32 = 120;
/// Most addresses that flows go to: a NAT with one address has 64,512 ports toward each.
const MOST_SERVERS: u32 = 32;

/// The namespaces and their links.
#[derive(Debug)]
pub struct Topology {
    /// Behind the gateways.
    pub hosts: Namespace,
    /// From the hosts to the world.
    pub gateways: Vec<Namespace>,
    /// Before the gateways.
    pub world: Namespace,
    /// Hosts have IPv6 alone, and name those of the world by addresses that stand for theirs.
    pub has_ipv6_hosts: bool,
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From hosts to the world.
    Outward,
    /// From the world to one address of the gateway's.
    Inward(Ipv4Addr),
}

impl Topology {
    /// Lays it out with so many gateways in a row. Their links have no addresses yet: not every
    /// contender wants the kernel to have any.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn lay(bed: &Testbed, contender: &str, gateways: usize) -> Result<Self, Error> {
        let contender = contender.replace('_', "-");
        let hosts = bed.namespace(&format!("{contender}-hosts"))?;
        let world = bed.namespace(&format!("{contender}-world"))?;
        let gateways = bed.namespaces((1..=gateways).map(|n| format!("{contender}-gw{n}")))?;
        let mut links = Vec::new();
        let mut before = (&hosts, PORT);
        for gateway in &gateways {
            links.push(((gateway, INSIDE), before));
            before = (gateway, OUTSIDE);
        }
        links.push((before, (&world, PORT)));
        bed.veths(&links)?;
        // The ends answer ARP for whatever a gateway may ask for: all hosts, but not the gateway
        // itself, whose packets would look as if they came from the hosts' own address.
        hosts.ip([
            format!("address add 10.1.0.5/16 dev {PORT}"),
            format!("route add local {FIRST_HOST}/25 dev lo"),
        ])?;
        world.ip([format!("address add {NEXT_HOP}/24 dev {PORT}")])?;
        Ok(Self { hosts, gateways, world, has_ipv6_hosts: false })
    }

    /// The gateway that the hosts know.
    pub fn gateway(&self) -> &Namespace {
        &self.gateways[0]
    }

    /// Where frames come from.
    pub fn source(&self, direction: Direction) -> &Namespace {
        match direction {
            Direction::Outward => &self.hosts,
            Direction::Inward(_) => &self.world,
        }
    }

    /// Where they end.
    pub fn destination(&self, direction: Direction) -> &Namespace {
        match direction {
            Direction::Outward => &self.world,
            Direction::Inward(_) => &self.hosts,
        }
    }

    /// What to send to have `flows` flows.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn plan(&self, direction: Direction, flows: u32) -> Result<Plan, Error> {
        let source_mac = self.source(direction).link_mac(PORT)?;
        let (first_client, servers, first_server, destination_mac): (IpAddr, _, IpAddr, _) =
            match direction {
                Direction::Outward => {
                    let mac = self.gateway().link_mac(INSIDE)?;
                    let (host, server) = if self.has_ipv6_hosts {
                        (FIRST_HOST6.into(), FIRST_IN_WORLD6.into())
                    } else {
                        (FIRST_HOST.into(), FIRST_IN_WORLD.into())
                    };
                    (host, flows.min(MOST_SERVERS), server, mac)
                }
                Direction::Inward(address) => {
                    let last = &self.gateways[self.gateways.len() - 1];
                    (FIRST_IN_WORLD.into(), 1, address.into(), last.link_mac(OUTSIDE)?)
                }
            };
        let plan = Plan { first_client, ..Plan::default() };
        Ok(Plan {
            flows,
            clients: flows.min(MOST_CLIENTS),
            sizes: Sizes::one(plan.least_size()),
            servers,
            first_server,
            server_port: SERVER_PORT,
            source_mac,
            destination_mac,
            ..plan
        })
    }
}
