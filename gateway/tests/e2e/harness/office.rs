//! A NAT gateway between an office's LAN and an internet of one host:
//!
//! ```text
//!  client 10.0.1.10 ──lan0── [ gateway ] ──wan0── 203.0.113.1  internet 198.51.100.1, .2
//! ```
//!
//! and the same in IPv6. The internet has its servers' addresses on its loopback and is on the
//! uplink's network itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use halfspace_testbed::{Namespace, Testbed};

use super::{Datapath, Gateway};

/// The gateway's interface to the LAN.
pub const LAN: &str = "lan0";

/// The addresses of one family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The one host of the LAN.
    pub client: IpAddr,
    /// Its router, the gateway.
    pub lan_router: IpAddr,
    /// What the internet sees: the Elastic IP address of the NAT gateway.
    pub public: IpAddr,
    /// The gateway's own address on the uplink.
    pub uplink: IpAddr,
    /// The next router, the internet's own address on the uplink.
    pub router: IpAddr,
    /// A server.
    pub server: IpAddr,
    /// Another server.
    pub other_server: IpAddr,
    /// Beyond the internet, see [`Office::far_side`].
    pub far_server: IpAddr,
}

impl Family {
    /// IPv4.
    pub const V4: Self = Self {
        client: v4(10, 0, 1, 10),
        lan_router: v4(10, 0, 1, 1),
        public: v4(203, 0, 113, 10),
        uplink: v4(203, 0, 113, 2),
        router: v4(203, 0, 113, 1),
        server: v4(198, 51, 100, 1),
        other_server: v4(198, 51, 100, 2),
        far_server: v4(192, 0, 2, 2),
    };

    /// IPv6.
    pub const V6: Self = Self {
        client: v6([0xfd00, 0x10, 0, 1], 0x10),
        lan_router: v6([0xfd00, 0x10, 0, 1], 1),
        public: v6([0x2001, 0xdb8, 1, 0], 0x10),
        uplink: v6([0x2001, 0xdb8, 1, 0], 2),
        router: v6([0x2001, 0xdb8, 1, 0], 1),
        server: v6([0x2001, 0xdb8, 2, 0], 1),
        other_server: v6([0x2001, 0xdb8, 2, 0], 2),
        far_server: v6([0x2001, 0xdb8, 3, 0], 2),
    };

    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// An address of the client's with a port.
    pub const fn client_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.client, port)
    }

    /// An address of the server's with a port.
    pub const fn server_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.server, port)
    }

    /// An address of the other server's with a port.
    pub const fn other_server_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.other_server, port)
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The address with these first segments and the last one.
const fn v6(network: [u16; 4], host: u16) -> IpAddr {
    let [a, b, c, d] = network;
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, host))
}

/// The office.
pub struct Office {
    // Dropped first: what it logged is in the testbed's directory.
    pub gateway: Gateway,
    pub client: Namespace,
    pub internet: Namespace,
    pub bed: Testbed,
}

impl Office {
    /// Lays the links; the gateway does not run yet.
    pub fn lay_out(name: &str, datapath: Datapath) -> Self {
        let bed = Testbed::new(name).unwrap();
        let gateway = Gateway::prepare(&bed, datapath);
        let [client, internet] = two(bed.namespaces(["client", "internet"]).unwrap());
        let gw = &gateway.namespace;
        bed.veths(&[((gw, LAN), (&client, "eth0")), ((gw, "wan0"), (&internet, "eth0"))]).unwrap();
        client
            .ip([
                "address add 10.0.1.10/24 dev eth0",
                "address add fd00:10:0:1::10/64 dev eth0 nodad",
                "route add default via 10.0.1.1",
                "route add default via fd00:10:0:1::1",
            ])
            .unwrap();
        internet
            .ip([
                "address add 203.0.113.1/24 dev eth0",
                "address add 2001:db8:1::1/64 dev eth0 nodad",
                "address add 198.51.100.1/32 dev lo",
                "address add 198.51.100.2/32 dev lo",
                "address add 2001:db8:2::1/128 dev lo nodad",
                "address add 2001:db8:2::2/128 dev lo nodad",
            ])
            .unwrap();
        Self { gateway, client, internet, bed }
    }

    /// An office with a running gateway.
    pub fn open(name: &str, datapath: Datapath) -> Self {
        let mut office = Self::lay_out(name, datapath);
        office.gateway.start(&Self::resources("", ""));
        office
    }

    /// The resource document, with further keys of the NAT gateway and of the uplink.
    pub fn resources(nat_keys: &str, uplink_keys: &str) -> String {
        format!(
            r#"
[[vpc]]
vpc_id = "vpc-office"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "fd00:10::/56"

[[subnet]]
subnet_id = "subnet-lan"
vpc_id = "vpc-office"
cidr_block = "10.0.1.0/24"
ipv6_cidr_block = "fd00:10:0:1::/64"
route_table_id = "rtb-lan"
port = "{LAN}"

[[route_table]]
route_table_id = "rtb-lan"
vpc_id = "vpc-office"
route = [
    {{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-office" }},
    {{ destination_ipv6_cidr_block = "::/0", nat_gateway_id = "nat-office" }},
]

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-office"
cidr_block = "10.0.0.0/24"
ipv6_cidr_block = "fd00:10:0:0::/64"
route_table_id = "rtb-public"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-office"
route = [
    {{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-office" }},
    {{ destination_ipv6_cidr_block = "::/0", gateway_id = "igw-office" }},
]

[[nat_gateway]]
nat_gateway_id = "nat-office"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-office", "eipalloc-office6"]
{nat_keys}

[[address]]
allocation_id = "eipalloc-office"
public_ip = "203.0.113.10"

[[address]]
allocation_id = "eipalloc-office6"
public_ip = "2001:db8:1::10"

[[internet_gateway]]
internet_gateway_id = "igw-office"
vpc_id = "vpc-office"
uplink_id = "uplink-wan"

[[uplink]]
uplink_id = "uplink-wan"
port = "wan0"
addresses = ["203.0.113.2/24", "2001:db8:1::2/64"]
gateways = ["203.0.113.1", "2001:db8:1::1"]
{uplink_keys}
"#
        )
    }

    /// The resource document in which the way to the other server leads nowhere.
    pub fn without_the_other_server() -> String {
        Self::resources("", "").replace(
            "{ destination_cidr_block = \"0.0.0.0/0\", nat_gateway_id = \"nat-office\" },",
            r#"{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-office" },
    { destination_cidr_block = "198.51.100.2/32", nat_gateway_id = "nat-gone" },
    { destination_ipv6_cidr_block = "2001:db8:2::2/128", nat_gateway_id = "nat-gone" },"#,
        )
    }

    /// A host beyond the internet, which takes packets of at most `mtu` bytes to it.
    pub fn far_side(&self, mtu: u32) -> Namespace {
        let far = self.bed.namespace("far").unwrap();
        self.bed.veth((&self.internet, "eth1"), (&far, "eth0")).unwrap();
        self.internet
            .sysctl([("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")])
            .unwrap();
        // A route's MTU, not the link's: only what goes there is limited, and by a router.
        self.internet
            .ip([
                "address add 192.0.2.1/24 dev eth1".to_owned(),
                "address add 2001:db8:3::1/64 dev eth1 nodad".to_owned(),
                format!("route add 192.0.2.2/32 dev eth1 mtu lock {mtu}"),
                format!("route add 2001:db8:3::2/128 dev eth1 mtu lock {mtu}"),
            ])
            .unwrap();
        far.ip([
            "address add 192.0.2.2/24 dev eth0",
            "address add 2001:db8:3::2/64 dev eth0 nodad",
            "route add default via 192.0.2.1",
            "route add default via 2001:db8:3::1",
        ])
        .unwrap();
        far
    }
}

fn two(namespaces: Vec<Namespace>) -> [Namespace; 2] {
    namespaces.try_into().expect("two were asked for")
}
