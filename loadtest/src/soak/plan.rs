//! Who is where in the soak's lab, and the resource documents that say so.
//!
//! ```text
//!  clients 10.0.4.10 ─────lan0──┐
//!  environments ──── lt…e0 … ───┤── gateway ──wan0── internet 203.0.113.1, 198.51.100.10
//!  targets 10.0.2.11 … ─web1 …──┘
//! ```
//!
//! Clients reach the internet through a NAT gateway, environments through a bridge and the same
//! NAT gateway, and the internet reaches the targets through a load balancer.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The client behind the NAT gateway, and its subnet's router.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 10);
pub const CLIENT_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 1);
/// What the internet sees of clients and environments.
pub const NAT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The load balancer as the internet sees it.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// The internet's router.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// A server behind it.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// RFC 862.
pub const ECHO: u16 = 7;

/// The gateway's ports.
pub const CLIENT_PORT: &str = "lan0";
pub const UPLINK_PORT: &str = "wan0";

/// How many targets there can be.
pub const TARGETS: usize = 4;

/// The bridge that environments are attached to.
pub const BRIDGE: &str = "bridge-soak";

/// Hosts that the gateway may know as next hops when nobody talks any more: the router, the client,
/// the targets. Each is forgotten half a minute after its last use.
pub const HOSTS: u64 = 2 + TARGETS as u64;

/// Seconds after which functions that may choose forget a silent flow.
const IDLE: u32 = 3;

/// A target's address.
pub fn target(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, 11 + number as u8)
}

/// The gateway's port to a target.
pub fn target_port(number: usize) -> String {
    format!("web{}", number + 1)
}

/// The echo port of an address.
pub const fn echo(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(address, ECHO))
}

/// A document with these targets.
pub fn document(targets: &[usize]) -> String {
    let mut document = places();
    let _ = write!(
        document,
        r#"
[[nat_gateway]]
nat_gateway_id = "nat-soak"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-nat"]
tcp_idle_timeout_seconds = {IDLE}
udp_idle_timeout_seconds = {IDLE}
udp_stream_timeout_seconds = {IDLE}
icmp_idle_timeout_seconds = {IDLE}
port_quarantine_seconds = 1

[[lambda_bridge]]
lambda_bridge_id = "{BRIDGE}"
subnet_id = "subnet-lambda"
tcp_idle_timeout_seconds = {IDLE}
udp_idle_timeout_seconds = {IDLE}
icmp_idle_timeout_seconds = {IDLE}
port_quarantine_seconds = 1

[[load_balancer]]
load_balancer_name = "soak"
scheme = "internet-facing"
subnet_mapping = [{{ subnet_id = "subnet-public", allocation_id = "eipalloc-web" }}]
listener = [
    {{ protocol = "TCP", port = {ECHO}, target_group_name = "tcp", tcp_idle_timeout_seconds = 60 }},
    {{ protocol = "UDP", port = {ECHO}, target_group_name = "udp" }},
]
"#
    );
    let ids: Vec<_> = targets.iter().map(|it| format!("{{ id = \"{}\" }}", target(*it))).collect();
    let ids = ids.join(", ");
    for (name, protocol) in [("tcp", "TCP"), ("udp", "UDP")] {
        let _ = write!(
            document,
            r#"
[[target_group]]
target_group_name = "{name}"
protocol = "{protocol}"
port = {ECHO}
vpc_id = "vpc-soak"
target = [{ids}]

[target_group.health_check]
port = {ECHO}
interval_seconds = 1
timeout_seconds = 1
healthy_threshold_count = 2
unhealthy_threshold_count = 2
"#
        );
    }
    document
}

/// A document without any function: no flow has a place in it.
pub fn bare_document() -> String {
    const NAT_ROUTE: &str =
        r#"{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-soak" }"#;

    let mut document = places().replace(NAT_ROUTE, "");
    // Environments that are still attached would wait for their bridge, so that one stays.
    let _ = write!(
        document,
        r#"
[[lambda_bridge]]
lambda_bridge_id = "{BRIDGE}"
subnet_id = "subnet-lambda"
"#
    );
    document
}

/// All but the functions.
fn places() -> String {
    let mut document = format!(
        r#"
[[uplink]]
uplink_id = "uplink-soak"
port = "{UPLINK_PORT}"
addresses = ["203.0.113.2/24"]
gateways = ["{ROUTER}"]

[[vpc]]
vpc_id = "vpc-soak"
cidr_block = "10.0.0.0/16"

[[internet_gateway]]
internet_gateway_id = "igw-soak"
vpc_id = "vpc-soak"
uplink_id = "uplink-soak"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-soak"
route = [{{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-soak" }}]

[[route_table]]
route_table_id = "rtb-private"
vpc_id = "vpc-soak"
main = true
route = [{{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-soak" }}]

[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-soak"
cidr_block = "10.0.0.0/24"
route_table_id = "rtb-public"

[[security_group]]
group_id = "sg-web"
group_name = "web"
vpc_id = "vpc-soak"
ingress = [{{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }}]

[[subnet]]
subnet_id = "subnet-web"
vpc_id = "vpc-soak"
cidr_block = "10.0.2.0/24"

[[subnet]]
subnet_id = "subnet-lambda"
vpc_id = "vpc-soak"
cidr_block = "10.0.3.0/24"

[[subnet]]
subnet_id = "subnet-clients"
vpc_id = "vpc-soak"
cidr_block = "10.0.4.0/24"
port = "{CLIENT_PORT}"

[[address]]
allocation_id = "eipalloc-nat"
public_ip = "{NAT}"

[[address]]
allocation_id = "eipalloc-web"
public_ip = "{BALANCER}"
"#
    );
    for number in 0..TARGETS {
        let (address, port) = (target(number), target_port(number));
        let _ = write!(
            document,
            r#"
[[network_interface]]
network_interface_id = "eni-{port}"
subnet_id = "subnet-web"
private_ip_address = "{address}"
groups = ["sg-web"]
port = "{port}"
"#
        );
    }
    document
}
