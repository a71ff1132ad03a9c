//! The resource documents of Halfspace's instances: one VPC whose hosts are on the inside link and
//! whose uplink is the outside link, a NAT gateway between the two, and what scenarios add to that.

use std::net::Ipv4Addr;

use crate::bench::topology::{
    FIRST_HOST, GATEWAY_OUTSIDE, HOSTS, INSIDE, NEXT_HOP, OUTSIDE, SERVER_PORT,
};

/// The Elastic IP address of the NAT gateway.
pub const NAT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The Elastic IP address of the load balancer.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// The target of the load balancer, one of the hosts.
pub const TARGET: Ipv4Addr = FIRST_HOST;
/// The port that answers the load balancer's health checks.
pub const HEALTH_PORT: u16 = 8080;
/// The bridge of the execution environment.
pub const BRIDGE: &str = "bridge-bench";

/// Seconds that flows are kept between two rounds of theirs.
const UDP_IDLE: u32 = 3600;

/// Hosts behind a NAT gateway.
pub fn nat() -> String {
    network(Some(INSIDE))
}

/// An execution environment behind a bridge, and that behind a NAT gateway. The environment is
/// attached later.
pub fn chain() -> String {
    let bridge = format!(
        r#"
[[lambda_bridge]]
lambda_bridge_id = "{BRIDGE}"
subnet_id = "subnet-hosts"
private_ip_address = "10.1.1.100"
udp_idle_timeout_seconds = {UDP_IDLE}
"#
    );
    network(None) + &bridge
}

/// A load balancer with one target among the hosts.
pub fn balancer() -> String {
    let balancer = format!(
        r#"
[[load_balancer]]
load_balancer_name = "bench"
scheme = "internet-facing"
subnet_mapping = [{{ subnet_id = "subnet-public", allocation_id = "eipalloc-balancer" }}]

[[load_balancer.listener]]
protocol = "UDP"
port = {SERVER_PORT}
target_group_name = "targets"

[[target_group]]
target_group_name = "targets"
protocol = "UDP"
port = {SERVER_PORT}
vpc_id = "vpc-bench"
target = [{{ id = "{TARGET}" }}]
health_check = {{ protocol = "TCP", port = {HEALTH_PORT}, interval_seconds = 5 }}

[[address]]
allocation_id = "eipalloc-balancer"
public_ip = "{BALANCER}"
"#
    );
    network(Some(INSIDE)) + &balancer
}

/// The VPC: a subnet of hosts, on `port` if it has one, and a public subnet with the NAT gateway.
fn network(port: Option<&str>) -> String {
    let port = port.map(|port| format!("port = \"{port}\"\n")).unwrap_or_default();
    format!(
        r#"[[vpc]]
vpc_id = "vpc-bench"
cidr_block = "{HOSTS}"

[[subnet]]
subnet_id = "subnet-hosts"
vpc_id = "vpc-bench"
cidr_block = "10.1.0.0/17"
route_table_id = "rtb-hosts"
{port}
[[subnet]]
subnet_id = "subnet-public"
vpc_id = "vpc-bench"
cidr_block = "10.1.128.0/24"
route_table_id = "rtb-public"

[[route_table]]
route_table_id = "rtb-public"
vpc_id = "vpc-bench"
route = [{{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-bench" }}]

[[internet_gateway]]
internet_gateway_id = "igw-bench"
vpc_id = "vpc-bench"
uplink_id = "uplink-bench"

[[uplink]]
uplink_id = "uplink-bench"
port = "{OUTSIDE}"
addresses = ["{GATEWAY_OUTSIDE}/24"]
gateways = ["{NEXT_HOP}"]

[[route_table]]
route_table_id = "rtb-hosts"
vpc_id = "vpc-bench"
route = [{{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-bench" }}]

[[nat_gateway]]
nat_gateway_id = "nat-bench"
subnet_id = "subnet-public"
allocation_ids = ["eipalloc-nat"]
udp_idle_timeout_seconds = {UDP_IDLE}

[[address]]
allocation_id = "eipalloc-nat"
public_ip = "{NAT}"
"#
    )
}
