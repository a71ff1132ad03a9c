//! NATs that are known, each between two namespaces of its own: what `docs/conformance.md` compares,
//! and what the tests hold the prober to.
//!
//! ```text
//!   inside: port ──── inside :gateway: outside ──── port :outside
//!   10.0.4.10, .11    10.0.4.1         203.0.113.2        203.0.113.20, .21
//!                     seen as 203.0.113.10, and .11 if there is an address for each host
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use halfspace_testbed::{Namespace, Testbed};

use super::Ends;
use crate::error::Error;
use crate::frames::place::{self, Place};
use crate::soak::daemon::{Daemon, Datapath};

/// A NAT that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Halfspace's NAT gateway, which is AWS's in kind.
    Halfspace,
    /// nftables, `masquerade`.
    Masquerade,
    /// nftables, an address outside for each host, both ways: the full cone.
    OneToOne,
}

impl Known {
    /// All.
    pub const ALL: [Self; 3] = [Self::Halfspace, Self::Masquerade, Self::OneToOne];

    /// For the head of a column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Halfspace => "Halfspace",
            Self::Masquerade => "nftables, masquerade",
            Self::OneToOne => "nftables, one to one",
        }
    }

    /// The rules of nftables that make it one.
    const fn rules(self) -> Option<&'static str> {
        match self {
            Self::Halfspace => None,
            Self::Masquerade => Some(
                "table ip nat {
                    chain post {
                        type nat hook postrouting priority 100
                        oifname outside masquerade
                    }
                }
                ",
            ),
            Self::OneToOne => Some(
                "table ip nat {
                    chain pre {
                        type nat hook prerouting priority -100
                        ip daddr 203.0.113.10 dnat to 10.0.4.10
                        ip daddr 203.0.113.11 dnat to 10.0.4.11
                    }
                    chain post {
                        type nat hook postrouting priority 100
                        ip saddr 10.0.4.10 snat to 203.0.113.10
                        ip saddr 10.0.4.11 snat to 203.0.113.11
                    }
                }
                ",
            ),
        }
    }

    /// The addresses that hosts are seen with.
    fn external(self) -> Vec<Ipv4Addr> {
        let last: &[u8] = match self {
            Self::Halfspace => &[10],
            Self::Masquerade => &[2],
            Self::OneToOne => &[10, 11],
        };
        last.iter().map(|last| Ipv4Addr::new(203, 0, 113, *last)).collect()
    }
}

/// A NAT, and where its two sides are.
pub struct Stage {
    /// What `conform` is to be told.
    pub ends: Ends,
    _nat: Nat,
    _sides: [Namespace; 2],
    _bed: Testbed,
}

/// What translates, for as long as it is held.
enum Nat {
    Daemon { _it: Daemon },
    Kernel { _its: Namespace },
}

impl Stage {
    /// Sets a NAT up; Halfspace from `binary`.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], [`Error::File`]; [`Error::Missing`] if there is no such binary.
    pub fn set_up(nat: Known, binary: &Path) -> Result<Self, Error> {
        let bed = Testbed::new("conform")?;
        let [gateway, inside, outside] =
            ["gateway", "inside", "outside"].map(|name| bed.namespace(name));
        let (gateway, inside, outside) = (gateway?, inside?, outside?);
        bed.veths(&[
            ((&gateway, "inside"), (&inside, "port")),
            ((&gateway, "outside"), (&outside, "port")),
        ])?;
        let port = |namespace: &Namespace| Place {
            interface: "port".to_owned(),
            namespace: place::Namespace::named(namespace.name()),
        };
        let host = |number| Ipv4Addr::new(10, 0, 4, number);
        let server = |number| Ipv4Addr::new(203, 0, 113, number);
        let ends = Ends {
            inside: port(&inside),
            gateway: host(1),
            client: vec![host(10), host(11)],
            outside: port(&outside),
            server: vec![server(20), server(21)],
            external: nat.external(),
            outside_mtu: None,
        };
        let nat = match nat.rules() {
            None => Nat::Daemon {
                _it: Daemon::start(&bed, gateway, binary.to_owned(), Datapath::Ebpf, DOCUMENT)?,
            },
            Some(rules) => {
                translate_by_kernel(&bed, &gateway, &ends.external, rules)?;
                Nat::Kernel { _its: gateway }
            }
        };
        Ok(Self { ends, _nat: nat, _sides: [inside, outside], _bed: bed })
    }
}

/// Makes a kernel forward and translate.
fn translate_by_kernel(
    bed: &Testbed,
    gateway: &Namespace,
    external: &[Ipv4Addr],
    rules: &str,
) -> Result<(), Error> {
    gateway.sysctl([("net.ipv4.ip_forward", "1")])?;
    let own = ["10.0.4.1/24 dev inside", "203.0.113.2/24 dev outside"].map(str::to_owned);
    let more = external.iter().filter(|it| it.octets()[3] != 2);
    let more = more.map(|address| format!("{address}/24 dev outside"));
    gateway.ip(own.into_iter().chain(more).map(|address| format!("address add {address}")))?;
    let path = bed.dir().join("rules.nft");
    fs::write(&path, rules).map_err(|source| Error::File {
        action: "write",
        path: path.clone(),
        source,
    })?;
    gateway.run(["nft".as_ref(), "-f".as_ref(), path.as_os_str()])?;
    Ok(())
}

const DOCUMENT: &str = r#"
[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"

[[uplink]]
uplink_id = "uplink-a"
port = "outside"
addresses = ["203.0.113.2/24"]
gateways = ["203.0.113.1"]

[[internet_gateway]]
internet_gateway_id = "igw-a"
vpc_id = "vpc-a"
uplink_id = "uplink-a"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-a"
route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" }]

[[route_table]]
route_table_id = "rtb-private"
vpc_id = "vpc-a"
route = [{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-a" }]

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-a"
cidr_block = "10.0.1.0/24"
route_table_id = "rtb-public"

[[subnet]]
subnet_id = "subnet-private"
vpc_id = "vpc-a"
cidr_block = "10.0.4.0/24"
route_table_id = "rtb-private"
port = "inside"

[[address]]
allocation_id = "eipalloc-a"
public_ip = "203.0.113.10"

[[nat_gateway]]
nat_gateway_id = "nat-a"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-a"]
"#;
