//! Two load balancers with public addresses, one a family, in front of three targets:
//!
//! ```text
//!  internet ──wan0── [ 203.0.113.80, 2001:db8:1::80 ] ──web1── 10.0.1.11
//!                                                     ──web2── 10.0.1.12
//!                                                     ──web3── 10.0.1.13
//! ```
//!
//! They listen on port 7, TCP and UDP, for the echo servers of [`Target`], and on port 80.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use halfspace_testbed::programs::{Echo, Nginx};
use halfspace_testbed::{Namespace, Testbed};
use serde_json::Value;

use super::{Datapath, Family, Gateway, eventually};

/// How many targets there are.
pub const TARGETS: usize = 3;

/// Where a family's load balancer is reached.
pub const fn balancer(family: &Family, port: u16) -> SocketAddr {
    let ip = match family.client {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 80)),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x80)),
    };
    SocketAddr::new(ip, port)
}

/// The shop.
pub struct Shop {
    // Dropped first: what it logged is in the testbed's directory.
    pub gateway: Gateway,
    pub internet: Namespace,
    pub targets: [Target; TARGETS],
    _bed: Testbed,
}

/// A host behind the load balancers, with its servers.
pub struct Target {
    /// Its place, from 0.
    number: usize,
    namespace: Namespace,
    echoes: Vec<Echo>,
    nginx: Option<Nginx>,
}

impl Shop {
    /// A running gateway on a resource document of these weights, and all targets healthy.
    pub fn open(name: &str, datapath: Datapath, weights: &[(usize, u32)]) -> Self {
        let bed = Testbed::new(name).unwrap();
        let mut gateway = Gateway::prepare(&bed, datapath);
        let internet = bed.namespace("internet").unwrap();
        let namespaces = bed.namespaces(["web1", "web2", "web3"]).unwrap();
        let gw = &gateway.namespace;
        bed.veths(&[
            ((gw, "wan0"), (&internet, "eth0")),
            ((gw, "web1"), (&namespaces[0], "eth0")),
            ((gw, "web2"), (&namespaces[1], "eth0")),
            ((gw, "web3"), (&namespaces[2], "eth0")),
        ])
        .unwrap();
        internet
            .ip(["address add 203.0.113.1/24 dev eth0", "address add 2001:db8:1::1/64 dev eth0"])
            .unwrap();
        let targets = namespaces.into_iter().enumerate().map(|(number, namespace)| {
            let mut target = Target { number, namespace, echoes: Vec::new(), nginx: None };
            target.configure();
            target.start();
            target
        });
        let targets = targets.collect::<Vec<_>>().try_into().ok().expect("three");
        gateway.start(&Self::resources(weights));
        let shop = Self { gateway, internet, targets, _bed: bed };
        shop.wait_for_health(|state| state == "healthy");
        shop
    }

    /// The resource document, with these targets by their place and weight.
    pub fn resources(weights: &[(usize, u32)]) -> String {
        let mut document = BASE.to_owned();
        for (suffix, network) in [("", "10.0.1."), ("6", "fd00:10:0:1::")] {
            let mut targets = String::new();
            for (number, weight) in weights {
                let host = 11 + number;
                let _ = writeln!(targets, "    {{ id = \"{network}{host}\", weight = {weight} }},");
            }
            for (name, protocol, port) in
                [("echo", "TCP", 7), ("udp", "UDP", 7), ("web", "TCP", 80)]
            {
                let _ = write!(
                    document,
                    r#"
[[target_group]]
target_group_name = "{name}{suffix}"
protocol = "{protocol}"
port = {port}
vpc_id = "vpc-shop"
target = [
{targets}]

[target_group.health_check]
port = {port}
interval_seconds = 1
timeout_seconds = 1
healthy_threshold_count = 2
unhealthy_threshold_count = 2
"#
                );
            }
        }
        document
    }

    /// The states of all targets, as `halfspace targets` prints them: group and target.
    pub fn health(&self) -> BTreeMap<(String, SocketAddr), String> {
        let listing: Value = self.gateway.json(&["targets"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        listing["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let address = text(&it["target"]).parse().unwrap();
                ((text(&it["target_group"]), address), text(&it["state"]))
            })
            .collect()
    }

    /// Waits until the state of every target is `wanted`.
    #[track_caller]
    pub fn wait_for_health(&self, wanted: impl Fn(&str) -> bool) {
        eventually("the health of the targets", || {
            self.health().values().all(|state| wanted(state))
        });
    }
}

impl Target {
    fn configure(&self) {
        let host = 11 + self.number;
        self.namespace
            .ip([
                format!("address add 10.0.1.{host}/24 dev eth0"),
                format!("address add fd00:10:0:1::{host}/64 dev eth0 nodad"),
                "route add default via 10.0.1.1".to_owned(),
                "route add default via fd00:10:0:1::1".to_owned(),
            ])
            .unwrap();
    }

    /// Starts its servers. nginx answers with the target's place.
    pub fn start(&mut self) {
        let at = |port| self.addresses().map(|ip| SocketAddr::new(ip, port));
        let (echo, web) = (at(7), at(80));
        let start_echo = |address: &SocketAddr| Echo::start(&self.namespace, *address).unwrap();
        self.echoes = echo.iter().map(start_echo).collect();
        self.nginx = Some(Nginx::start(&self.namespace, &web, &self.number.to_string()).unwrap());
    }

    /// Stops its servers: what connects is refused.
    pub fn stop(&mut self) {
        self.echoes.clear();
        self.nginx = None;
    }

    /// Its addresses, one a family.
    pub fn addresses(&self) -> [IpAddr; 2] {
        let host = 11 + self.number;
        [format!("10.0.1.{host}"), format!("fd00:10:0:1::{host}")].map(|it| it.parse().unwrap())
    }

    /// Whom its echo servers have seen so far.
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.echoes.iter().flat_map(Echo::peers).collect()
    }
}

const BASE: &str = r#"
[[vpc]]
vpc_id = "vpc-shop"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "fd00:10::/56"

[[subnet]]
subnet_id = "subnet-web"
vpc_id = "vpc-shop"
cidr_block = "10.0.1.0/24"
ipv6_cidr_block = "fd00:10:0:1::/64"

[[security_group]]
group_id = "sg-open"
group_name = "open"
vpc_id = "vpc-shop"
ingress = [
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
    { ip_protocol = "-1", cidr_ipv6 = "::/0" },
]

[[network_interface]]
network_interface_id = "eni-web1"
subnet_id = "subnet-web"
private_ip_address = "10.0.1.11"
ipv6_addresses = ["fd00:10:0:1::11"]
groups = ["sg-open"]
port = "web1"

[[network_interface]]
network_interface_id = "eni-web2"
subnet_id = "subnet-web"
private_ip_address = "10.0.1.12"
ipv6_addresses = ["fd00:10:0:1::12"]
groups = ["sg-open"]
port = "web2"

[[network_interface]]
network_interface_id = "eni-web3"
subnet_id = "subnet-web"
private_ip_address = "10.0.1.13"
ipv6_addresses = ["fd00:10:0:1::13"]
groups = ["sg-open"]
port = "web3"

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-shop"
cidr_block = "10.0.0.0/24"
ipv6_cidr_block = "fd00:10:0:0::/64"
route_table_id = "rtb-public"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-shop"
route = [
    { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-shop" },
    { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-shop" },
]

[[load_balancer]]
load_balancer_name = "shop"
scheme = "internet-facing"
subnet_mapping = [{ subnet_id = "subnet-public", allocation_id = "eipalloc-shop" }]
listener = [
    { protocol = "TCP", port = 7, target_group_name = "echo" },
    { protocol = "UDP", port = 7, target_group_name = "udp" },
    { protocol = "TCP", port = 80, target_group_name = "web" },
]

[[load_balancer]]
load_balancer_name = "shop6"
scheme = "internet-facing"
listener = [
    { protocol = "TCP", port = 7, target_group_name = "echo6" },
    { protocol = "UDP", port = 7, target_group_name = "udp6" },
    { protocol = "TCP", port = 80, target_group_name = "web6" },
]

[[load_balancer.subnet_mapping]]
subnet_id = "subnet-public"
allocation_id = "eipalloc-shop6"
ipv6_address = "fd00:10:0:0::80"

[[address]]
allocation_id = "eipalloc-shop"
public_ip = "203.0.113.80"

[[address]]
allocation_id = "eipalloc-shop6"
public_ip = "2001:db8:1::80"

[[internet_gateway]]
internet_gateway_id = "igw-shop"
vpc_id = "vpc-shop"
uplink_id = "uplink-wan"

[[uplink]]
uplink_id = "uplink-wan"
port = "wan0"
addresses = ["203.0.113.2/24", "2001:db8:1::2/64"]
gateways = ["203.0.113.1", "2001:db8:1::1"]
"#;
