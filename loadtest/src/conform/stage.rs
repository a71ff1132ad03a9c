//! NATs that are known, each between two namespaces of its own: what `docs/conformance.md` compares,
//! and what the tests hold the prober to.
//!
//! ```text
//!   inside: port ──── inside :gateway: outside ──── port :outside
//!   10.0.4.10, .11    10.0.4.1         203.0.113.2        203.0.113.20, .21
//!   or ::10, ::11     or ::1           seen as 203.0.113.10, and .11 if there are two
//! ```
//!
//! The link outside takes smaller packets than that inside, so that it shows what becomes of those
//! that are too big.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use halfspace_testbed::{Namespace, Process, Testbed, wait_until};

use super::nat64::Prefix64;
use super::{Behind, Ends, InFront};
use crate::error::Error;
use crate::frames::place::{self, Place};
use crate::soak::daemon::{Daemon, Datapath};

/// The MTU of the link outside, in bytes.
const MTU: u16 = 1400;

/// A NAT that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Known {
    /// Halfspace's NAT gateway, which is AWS's in kind.
    Halfspace,
    /// The same with one mapping for all destinations, and two addresses.
    HalfspaceEndpointIndependent,
    /// nftables, `masquerade`.
    Masquerade,
    /// nftables, an address outside for each host, both ways: the full cone.
    OneToOne,
    /// TAYGA, a NAT64 without state: an address outside for each host.
    Tayga,
}

impl Known {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Halfspace,
        Self::HalfspaceEndpointIndependent,
        Self::Masquerade,
        Self::OneToOne,
        Self::Tayga,
    ];

    /// For the head of a column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Halfspace => "Halfspace, symmetric",
            Self::HalfspaceEndpointIndependent => "Halfspace, endpoint-independent",
            Self::Masquerade => "nftables, masquerade",
            Self::OneToOne => "nftables, one to one",
            Self::Tayga => "TAYGA",
        }
    }

    /// The rules of nftables that make it one.
    const fn rules(self) -> Option<&'static str> {
        match self {
            Self::Halfspace | Self::HalfspaceEndpointIndependent | Self::Tayga => None,
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

    /// What the resource document says of Halfspace's NAT gateway, and more behind it.
    const fn gateway(self) -> &'static str {
        match self {
            Self::HalfspaceEndpointIndependent => {
                r#"allocation_ids = ["eipalloc-a", "eipalloc-b"]
mapping = "endpoint-independent"
filtering = "endpoint-independent"

[[address]]
allocation_id = "eipalloc-b"
public_ip = "203.0.113.11"
"#
            }
            _ => "allocation_ids = [\"eipalloc-a\"]\n",
        }
    }

    /// The addresses that hosts are seen with.
    fn external(self) -> Vec<Ipv4Addr> {
        let last: &[u8] = match self {
            Self::Halfspace => &[10],
            Self::Masquerade => &[2],
            Self::HalfspaceEndpointIndependent | Self::OneToOne | Self::Tayga => &[10, 11],
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
    Tayga { _it: Process, _its: Namespace },
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
        gateway.ip([format!("link set outside mtu {MTU}")])?;
        outside.ip([format!("link set port mtu {MTU}")])?;
        let port = |namespace: &Namespace| Place {
            interface: "port".to_owned(),
            namespace: place::Namespace::named(namespace.name()),
        };
        // Halfspace's gateway is a NAT64 as well.
        let is_nat64 = nat.rules().is_none();
        let has_ipv4 = nat != Known::Tayga;
        let host = |number| Ipv4Addr::new(10, 0, 4, number);
        let server = |number| Ipv4Addr::new(203, 0, 113, number);
        let ends = Ends {
            inside: Behind {
                inside: port(&inside),
                gateway: has_ipv4.then(|| host(1)),
                client: if has_ipv4 { vec![host(10), host(11)] } else { Vec::new() },
                gateway6: is_nat64.then(|| host6(1)),
                client6: if is_nat64 { vec![host6(0x10), host6(0x11)] } else { Vec::new() },
                nat64_prefix: PREFIX,
                ports_per_host: None,
            },
            outside: InFront {
                outside: Some(port(&outside)),
                server: vec![server(20), server(21)],
                external: nat.external(),
                outside_mtu: Some(MTU),
            },
            peer: None,
        };
        let external = &ends.outside.external;
        let nat = match (nat, nat.rules()) {
            (Known::Tayga, _) => translate_by_tayga(&bed, gateway, external)?,
            (_, Some(rules)) => {
                translate_by_kernel(&bed, &gateway, external, rules)?;
                Nat::Kernel { _its: gateway }
            }
            (known, None) => {
                let document = format!("{DOCUMENT}{}", known.gateway());
                let binary = binary.to_owned();
                Nat::Daemon {
                    _it: Daemon::start(&bed, gateway, binary, Datapath::Ebpf, &document)?,
                }
            }
        };
        Ok(Self { ends, _nat: nat, _sides: [inside, outside], _bed: bed })
    }
}

/// A host behind a NAT64.
const fn host6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, number)
}

/// By the well-known prefix TAYGA reaches no addresses that are for documentation (RFC 6052, section
/// 3.1, as it reads that).
const PREFIX: Prefix64 = Prefix64::new(Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0), 96);

/// Starts TAYGA, each host with the address outside that has its place.
fn translate_by_tayga(
    bed: &Testbed,
    gateway: Namespace,
    external: &[Ipv4Addr],
) -> Result<Nat, Error> {
    let written = |name: &str, text: String| {
        let path = bed.dir().join(name);
        let failed = |source| Error::File { action: "write", path: path.clone(), source };
        fs::write(&path, text).map_err(failed).map(|()| path)
    };
    let hosts = [host6(0x10), host6(0x11)];
    let maps: Vec<_> =
        external.iter().zip(hosts).map(|(outside, host)| format!("map {outside} {host}")).collect();
    let maps = maps.join("\n");
    let configuration = written(
        "tayga.conf",
        format!("tun-device nat64\nipv4-addr 192.168.255.1\nprefix {PREFIX}\n{maps}\n"),
    )?;
    gateway.sysctl([("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")])?;
    let process = gateway.spawn(["tayga", "-d", "-c", &configuration.to_string_lossy()])?;
    wait_until(START_LIMIT, "TAYGA's interface", || gateway.link_index("nat64").is_ok())?;
    let mut lines = vec![
        "link set nat64 up".to_owned(),
        "address add 203.0.113.2/24 dev outside".to_owned(),
        format!("address add {}/64 dev inside nodad", host6(1)),
        format!("route add {PREFIX} dev nat64"),
    ];
    for address in external {
        lines.push(format!("route add {address} dev nat64"));
        lines.push(format!("neighbour add proxy {address} dev outside"));
    }
    gateway.ip(lines)?;
    Ok(Nat::Tayga { _it: process, _its: gateway })
}

/// How long TAYGA may take, on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(20);

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

/// It ends amid the NAT gateway: [`Known::gateway`] has the rest.
const DOCUMENT: &str = r#"
[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "2001:db8:4::/56"

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
route = [
    { destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-a" },
    { destination_ipv6_cidr_block = "2001:db8:64::/96", nat_gateway_id = "nat-a" },
]

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-a"
cidr_block = "10.0.1.0/24"
route_table_id = "rtb-public"

[[subnet]]
subnet_id = "subnet-private"
vpc_id = "vpc-a"
cidr_block = "10.0.4.0/24"
ipv6_cidr_block = "2001:db8:4::/64"
route_table_id = "rtb-private"
port = "inside"

[[address]]
allocation_id = "eipalloc-a"
public_ip = "203.0.113.10"

[[nat_gateway]]
nat_gateway_id = "nat-a"
subnet_id = "subnet-public"
nat64_prefixes = ["2001:db8:64::/96"]
"#;
