//! A VPC whose instances have two devices each, worked on through the run-time API, and a host
//! outside:
//!
//! ```text
//!                                          ┌─ web0, web1 ──── eth0, eth1 of web       10.0.1.10
//!  outside 203.0.113.1 ──wan0── [ gateway ]┼─ standby0, 1 ─── eth0, eth1 of standby   10.0.1.20
//!                                          └─ db0, db1 ────── eth0, eth1 of db        10.0.2.30
//! ```
//!
//! Every instance has its primary network interface on `eth0`; `eth1` waits for another.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use halfspace_testbed::{Namespace, Testbed};
use nf_core::packet::MacAddr;
use serde_json::Value;

use super::{Datapath, Gateway};

/// The host outside.
pub const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)),
];

/// The Elastic IP address of web's primary interface.
pub const WEB_PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// The table of routes of what has an address on `eth1`.
const TABLE: u16 = 100;

/// A place where network interfaces are attached.
#[derive(Debug)]
pub struct Instance {
    /// Its name, which its id and its links begin with.
    pub name: &'static str,
    /// The private address of its primary interface.
    pub primary: Ipv4Addr,
    /// Where it runs.
    pub namespace: Namespace,
}

impl Instance {
    /// `i-…`
    pub fn id(&self) -> String {
        format!("i-{}", self.name)
    }

    /// The MAC address of its primary interface.
    pub fn mac(&self) -> MacAddr {
        mac_of(self.primary)
    }

    /// The gateway's link to one of its devices.
    pub fn port(&self, device_index: u16) -> String {
        format!("{}{device_index}", self.name)
    }

    /// Gives `eth0` another address.
    pub fn add_address(&self, address: &str) {
        self.namespace.ip([format!("address add {address} dev eth0")]).unwrap();
    }

    /// Makes `eth1` that of a network interface. What comes from its address leaves by it.
    pub fn configure_second(&self, address: Ipv4Addr, mac: MacAddr) {
        let [a, b, c, _] = address.octets();
        let device = [
            format!("link set eth1 address {mac}"),
            format!("address add {address}/32 dev eth1"),
            format!("route add {a}.{b}.{c}.1 dev eth1 table {TABLE}"),
            format!("route add default via {a}.{b}.{c}.1 dev eth1 table {TABLE}"),
            format!("rule add from {address} table {TABLE}"),
        ];
        self.namespace.ip(device).unwrap();
    }
}

/// A MAC address that shows whose it is.
pub fn mac_of(address: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = address.octets();
    MacAddr([2, 0, 0, b, c, d])
}

/// The whole.
pub struct Region {
    // Dropped first: what it logged is in the testbed's directory.
    pub gateway: Gateway,
    pub outside: Namespace,
    pub web: Instance,
    pub standby: Instance,
    pub db: Instance,
    pub bed: Testbed,
}

impl Region {
    /// Lays everything out and starts the gateway on [`Self::resources`].
    pub fn open(name: &str, datapath: Datapath) -> Self {
        Self::open_with(name, datapath, "")
    }

    /// The same with more in the document.
    pub fn open_with(name: &str, datapath: Datapath, more: &str) -> Self {
        let bed = Testbed::new(name).unwrap();
        let mut gateway = Gateway::prepare(&bed, datapath);
        let outside = bed.namespace("outside").unwrap();
        bed.veth((&gateway.namespace, "wan0"), (&outside, "eth0")).unwrap();
        outside
            .ip([
                "address add 203.0.113.1/24 dev eth0",
                "address add 2001:db8:1::1/64 dev eth0 nodad",
            ])
            .unwrap();
        // The VPC's IPv6 addresses are the internet's own, and routed here.
        outside.ip(["route add 2001:db8:a::/56 via 2001:db8:1::2"]).unwrap();
        let instance = |name, primary: [u8; 4]| {
            let instance = lay_out(&bed, &gateway.namespace, name, primary.into());
            let [.., subnet, host] = primary;
            let v6 = format!("2001:db8:a:{subnet}::{host}");
            let router = format!("2001:db8:a:{subnet}::1");
            instance
                .namespace
                .ip([
                    format!("address add {v6}/64 dev eth0 nodad"),
                    format!("route add default via {router}"),
                ])
                .unwrap();
            instance
        };
        let web = instance("web", [10, 0, 1, 10]);
        let standby = instance("standby", [10, 0, 1, 20]);
        let db = instance("db", [10, 0, 2, 30]);
        gateway.start(&Self::resources(more));
        Self { gateway, outside, web, standby, db, bed }
    }

    /// The document: the VPC, its instances with their primary interfaces, and three groups:
    /// `sg-inside` lets everything of the VPC in, `sg-web` pings and what servers listen on, and
    /// `sg-closed` nothing.
    pub fn resources(more: &str) -> String {
        let mut instances = String::new();
        for (name, subnet, host) in [("web", 1, 10), ("standby", 1, 20), ("db", 2, 30)] {
            let primary = Ipv4Addr::new(10, 0, subnet, host);
            let mac = mac_of(primary);
            // Writing to a String does not fail.
            let _ = write!(
                instances,
                r#"
[[instance]]
instance_id = "i-{name}"
port = [{{ name = "{name}0" }}, {{ name = "{name}1", device_index = 1 }}]

[[network_interface]]
network_interface_id = "eni-{name}"
subnet_id = "subnet-{subnet}"
private_ip_address = "{primary}"
ipv6_addresses = ["2001:db8:a:{subnet}::{host}"]
mac_address = "{mac}"
groups = ["sg-inside", "sg-web"]
attachment = {{ instance_id = "i-{name}", device_index = 0, delete_on_termination = true }}
"#
            );
        }
        format!("{NETWORK}{instances}{more}")
    }

    /// Runs a command that changes something; it succeeds.
    #[track_caller]
    pub fn act<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Value {
        let arguments: Vec<_> = arguments.into_iter().collect();
        self.gateway.json(&arguments)
    }

    /// Runs a command that the gateway refuses: the error code. Nothing has changed then.
    #[track_caller]
    pub fn refused<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let document = || fs::read(self.gateway.resources()).unwrap();
        let before = (document(), self.gateway.generation());
        let output = self.gateway.run(arguments.iter().copied());
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {output:?}");
        assert_eq!(before, (document(), self.gateway.generation()), "{arguments:?}");
        let said = output.stderr.trim_end();
        let code = said.rsplit_once('(').and_then(|(_, code)| code.strip_suffix(')'));
        code.unwrap_or_else(|| panic!("no code: {said}")).to_owned()
    }

    /// One network interface as `halfspace eni show` has it.
    #[track_caller]
    pub fn interface(&self, id: &str) -> Value {
        let mut told: Value = self.gateway.json(&["eni", "show", id]);
        told["network_interfaces"][0].take()
    }

    /// Makes a network interface of a fixed address and MAC address in `subnet-1`, in `sg-inside`
    /// and `sg-web`, attached to nothing.
    pub fn make_interface(&self, id: &str, address: Ipv4Addr) {
        let (mac, ip) = (mac_of(address).to_string(), address.to_string());
        self.act([
            "eni",
            "create",
            "--subnet",
            "subnet-1",
            "--id",
            id,
            "--private-ip",
            &ip,
            "--mac",
            &mac,
            "--group",
            "sg-inside",
            "--group",
            "sg-web",
        ]);
    }

    /// Attaches an interface to the second device of an instance, and configures that.
    pub fn attach_second(&self, id: &str, address: Ipv4Addr, instance: &Instance) {
        self.act(["eni", "attach", id, "--instance", &instance.id(), "--device-index", "1"]);
        instance.configure_second(address, mac_of(address));
    }
}

/// An address with a port.
pub fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn lay_out(bed: &Testbed, gateway: &Namespace, name: &'static str, primary: Ipv4Addr) -> Instance {
    let namespace = bed.namespace(name).unwrap();
    let instance = Instance { name, primary, namespace };
    let ports = [instance.port(0), instance.port(1)];
    let links = [
        ((gateway, ports[0].as_str()), (&instance.namespace, "eth0")),
        ((gateway, ports[1].as_str()), (&instance.namespace, "eth1")),
    ];
    bed.veths(&links).unwrap();
    let [a, b, c, _] = primary.octets();
    // Each device answers for its own addresses only, as separate network cards of a machine should
    // (ip-sysctl: arp_ignore).
    instance.namespace.sysctl([("net.ipv4.conf.all.arp_ignore", "1")]).unwrap();
    instance
        .namespace
        .ip([
            format!("link set eth0 address {}", instance.mac()),
            format!("address add {primary}/24 dev eth0"),
            format!("route add default via {a}.{b}.{c}.1"),
        ])
        .unwrap();
    instance
}

const NETWORK: &str = r#"
[quotas]
elastic_ips = 20

[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "2001:db8:a::/56"

[[uplink]]
uplink_id = "uplink-wan"
port = "wan0"
addresses = ["203.0.113.2/24", "2001:db8:1::2/64"]
gateways = ["203.0.113.1", "2001:db8:1::1"]

[[internet_gateway]]
internet_gateway_id = "igw-a"
vpc_id = "vpc-a"
uplink_id = "uplink-wan"

[[route_table]]
route_table_id = "rtb-a"
vpc_id = "vpc-a"
main = true
route = [
    { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-a" },
    { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-a" },
]

[[subnet]]
subnet_id = "subnet-1"
vpc_id = "vpc-a"
cidr_block = "10.0.1.0/24"
ipv6_cidr_block = "2001:db8:a:1::/64"

[[subnet]]
subnet_id = "subnet-2"
vpc_id = "vpc-a"
cidr_block = "10.0.2.0/24"
ipv6_cidr_block = "2001:db8:a:2::/64"

[[public_ipv4_pool]]
public_ipv4_pool_id = "ipv4pool-ec2-a"
pool_cidr_blocks = ["203.0.113.64/28"]

[[address]]
allocation_id = "eipalloc-web"
public_ip = "203.0.113.10"
network_interface_id = "eni-web"

[[security_group]]
group_id = "sg-inside"
group_name = "inside"
vpc_id = "vpc-a"
ingress = [
    { ip_protocol = "-1", cidr_ipv4 = "10.0.0.0/16" },
    { ip_protocol = "-1", cidr_ipv6 = "2001:db8:a::/56" },
]

[[security_group]]
group_id = "sg-web"
group_name = "web"
vpc_id = "vpc-a"
ingress = [
    { ip_protocol = "icmp", from_port = 8, to_port = 0, cidr_ipv4 = "203.0.113.0/24" },
    { ip_protocol = "icmpv6", from_port = 128, to_port = 0, cidr_ipv6 = "::/0" },
    { ip_protocol = "tcp", from_port = 7, to_port = 7, cidr_ipv4 = "203.0.113.0/24" },
    { ip_protocol = "tcp", from_port = 7, to_port = 7, cidr_ipv6 = "2001:db8:1::/64" },
    { ip_protocol = "udp", from_port = 7, to_port = 7, cidr_ipv4 = "203.0.113.0/24" },
]

[[security_group]]
group_id = "sg-closed"
group_name = "closed"
vpc_id = "vpc-a"
egress = []
"#;
