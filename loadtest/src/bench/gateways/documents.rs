//! The resource documents of Halfspace's instances: one VPC whose hosts are on the inside link and
//! whose uplink is the outside link, a NAT gateway between the two, and what scenarios add to that.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::bench::topology::{
    FIRST_HOST, GATEWAY_OUTSIDE, HOSTS, HOSTS6, INSIDE, NEXT_HOP, OUTSIDE, SERVER_PORT, WORLD,
};

/// The Elastic IP address of the NAT gateway.
pub const NAT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The Elastic IP address of the load balancer.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// The target of the load balancer, one of the hosts.
pub const TARGET: Ipv4Addr = FIRST_HOST;
/// The port that answers the load balancer's health checks.
pub const HEALTH_PORT: u16 = 8080;
/// Where the load balancer's interface is, which probes: a subnet that is on nobody's link.
pub const PROBING: &str = "10.1.128.0/24";
/// The bridge of the execution environment.
pub const BRIDGE: &str = "bridge-bench";

/// The prefix that the addresses of a NAT gateway with many are: eight, the most that AWS gives one.
pub const MANY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 16);
/// Its length.
pub const MANY_LENGTH: u8 = 29;

/// Instances, each with a network interface, of the snapshot that is large; and as many targets.
pub const INSTANCES: u32 = 1000;
/// The gateway's link towards the instances, and its address there.
pub const INSTANCES_PORT: &str = "instances";
/// The gateway on that link, a /20.
pub const GATEWAY_INSTANCES: Ipv4Addr = Ipv4Addr::new(10, 1, 144, 1);
/// The first instance of every second such snapshot, and of those between; each a /22.
pub const FIRST_INSTANCES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(10, 1, 148, 0), Ipv4Addr::new(10, 1, 152, 0)];

/// The address of the appliance that stands before the world where there is no uplink.
pub const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 1, 130, 10);
/// Security groups of an interface, and rules of each, one way: EC2's quotas.
const GROUPS: u32 = 5;
const RULES: u32 = 60;
/// Interfaces and groups of the inventory that is large: EC2's quota of interfaces.
pub const INTERFACES: u32 = 5000;
pub const INVENTORY_GROUPS: u32 = 1000;

/// Seconds that flows are kept between two rounds of theirs.
const UDP_IDLE: u32 = 3600;

/// Hosts behind a NAT gateway.
pub fn nat() -> String {
    network(Some(INSIDE), &[NAT])
}

/// The same with eight Elastic IP addresses, for more flows than one has ports for.
pub fn nat_of_many() -> String {
    let addresses: Vec<_> = (0..1 << (32 - MANY_LENGTH)).map(|n| nth(MANY, n)).collect();
    // EC2's quota, unless it is raised, is 5.
    network(Some(INSIDE), &addresses) + &format!("\n[quotas]\nelastic_ips = {}\n", addresses.len())
}

/// Hosts behind a NAT gateway, 1,000 declared network interfaces in a subnet of their own, and a
/// load balancer with these as its targets. No interface or target is in two of these in a row.
pub fn instances(number: usize) -> String {
    let first = FIRST_INSTANCES[number % FIRST_INSTANCES.len()];
    let instances: Vec<_> = (0..INSTANCES).map(|n| nth(first, n)).collect();
    let mut text =
        network(Some(INSIDE), &[NAT]) + &balancing("UDP", SERVER_PORT, &instances, HEALTH_PORT);
    // Writing to a String does not fail.
    let _ = write!(
        text,
        r#"
[[security_group]]
group_id = "sg-instances"
group_name = "instances"
vpc_id = "vpc-bench"
ingress = [{{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }}]

[[subnet]]
subnet_id = "subnet-instances"
vpc_id = "vpc-bench"
cidr_block = "10.1.144.0/20"
port = "{INSTANCES_PORT}"
"#
    );
    for address in instances {
        let [.., high, low] = address.octets();
        let _ = write!(
            text,
            r#"
[[network_interface]]
network_interface_id = "eni-bench-{high}-{low}"
subnet_id = "subnet-instances"
private_ip_address = "{address}"
groups = ["sg-instances"]
"#
        );
    }
    text
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
    network(None, &[NAT]) + &bridge
}

/// Hosts behind one network interface and the world behind another, each with as many security
/// groups and rules as an interface may have; the last rule of the last group allows the frames.
/// With `logged`, all that passes is in a flow log.
pub fn interfaces(logged: bool) -> String {
    let (mut groups, mut names) = (String::new(), Vec::new());
    for group in 0..GROUPS {
        let last = group + 1 == GROUPS;
        let (ingress, egress) = (rules(last, HOSTS), rules(last, WORLD));
        // Writing to a String does not fail.
        let _ = write!(
            groups,
            r#"
[[security_group]]
group_id = "sg-bench-{group}"
group_name = "bench-{group}"
vpc_id = "vpc-bench"
ingress = [{ingress}]
egress = [{egress}]
"#
        );
        names.push(format!("\"sg-bench-{group}\""));
    }
    let names = names.join(", ");
    let prefixes = (0..8).map(|n| format!("\"{}/28\"", nth(FIRST_HOST, 16 * n)));
    let prefixes = prefixes.collect::<Vec<_>>().join(", ");
    let log = if logged { FLOW_LOG } else { "" };
    format!(
        r#"[[vpc]]
vpc_id = "vpc-bench"
cidr_block = "{HOSTS}"

[[route_table]]
route_table_id = "rtb-bench"
vpc_id = "vpc-bench"
main = true
route = [{{ destination_cidr_block = "{WORLD}", network_interface_id = "eni-appliance" }}]

[[subnet]]
subnet_id = "subnet-hosts"
vpc_id = "vpc-bench"
cidr_block = "10.1.0.0/17"

[[subnet]]
subnet_id = "subnet-appliance"
vpc_id = "vpc-bench"
cidr_block = "10.1.130.0/24"

[[network_interface]]
network_interface_id = "eni-hosts"
subnet_id = "subnet-hosts"
private_ip_address = "10.1.0.5"
ipv4_prefixes = [{prefixes}]
groups = [{names}]
connection_tracking = {{ udp_timeout = 60 }}
port = "{INSIDE}"

[[network_interface]]
network_interface_id = "eni-appliance"
subnet_id = "subnet-appliance"
private_ip_address = "{APPLIANCE}"
groups = [{names}]
source_dest_check = false
port = "{OUTSIDE}"
{groups}{log}"#
    )
}

/// Rules of one group, one way. `peers` are let through by the last one of the last group.
fn rules(last: bool, peers: &str) -> String {
    let rule = |n: u32| {
        let (protocol, port) = if last && n + 1 == RULES {
            ("udp", u32::from(SERVER_PORT))
        } else {
            ("tcp", 10_000 + n)
        };
        format!(
            r#"{{ ip_protocol = "{protocol}", from_port = {port}, to_port = {port}, cidr_ipv4 = "{peers}" }}"#
        )
    };
    (0..RULES).map(rule).collect::<Vec<_>>().join(", ")
}

/// A log of the whole VPC, in windows of a minute.
const FLOW_LOG: &str = r#"
[[flow_log]]
flow_log_id = "fl-bench"
resource_id = "vpc-bench"
max_aggregation_interval = 60
log_destination = "bench"
"#;

/// Hosts behind a NAT gateway and, if `full`, as many network interfaces as a document has without
/// more being asked for, with five of 1,000 security groups each.
pub fn inventory(full: bool) -> String {
    let mut text = network(Some(INSIDE), &[NAT]);
    if !full {
        return text;
    }
    // Writing to a String does not fail.
    let _ = write!(
        text,
        r#"
[quotas]
network_interfaces = {most}

[[subnet]]
subnet_id = "subnet-inventory"
vpc_id = "vpc-bench"
cidr_block = "10.1.192.0/18"
"#,
        // The NAT gateway has one as well.
        most = INTERFACES + 1
    );
    for group in 0..INVENTORY_GROUPS {
        let _ = write!(
            text,
            r#"
[[security_group]]
group_id = "sg-{group}"
group_name = "group-{group}"
vpc_id = "vpc-bench"
ingress = [{}]
"#,
            rules(false, HOSTS)
        );
    }
    for n in 0..INTERFACES {
        let address = nth(Ipv4Addr::new(10, 1, 192, 16), n);
        let groups = (0..GROUPS).map(|it| format!("\"sg-{}\"", (n + it) % INVENTORY_GROUPS));
        let groups = groups.collect::<Vec<_>>().join(", ");
        let _ = write!(
            text,
            r#"
[[network_interface]]
network_interface_id = "eni-{n}"
subnet_id = "subnet-inventory"
private_ip_address = "{address}"
groups = [{groups}]
"#
        );
    }
    text
}

/// A load balancer with one target among the hosts.
pub fn balancer() -> String {
    network(Some(INSIDE), &[NAT]) + &balancing("UDP", SERVER_PORT, &[TARGET], HEALTH_PORT)
}

/// The same for connections, with several targets.
pub fn balancer_of_connections(targets: &[Ipv4Addr], port: u16) -> String {
    network(Some(INSIDE), &[NAT]) + &balancing("TCP", port, targets, port)
}

/// The load balancer and its target group.
fn balancing(protocol: &str, port: u16, targets: &[Ipv4Addr], health_port: u16) -> String {
    let targets = targets.iter().map(|target| format!("{{ id = \"{target}\" }}"));
    let targets = targets.collect::<Vec<_>>().join(", ");
    format!(
        r#"
[[load_balancer]]
load_balancer_name = "bench"
scheme = "internet-facing"
subnet_mapping = [{{ subnet_id = "subnet-public", allocation_id = "eipalloc-balancer" }}]

[[load_balancer.listener]]
protocol = "{protocol}"
port = {port}
target_group_name = "targets"

[[target_group]]
target_group_name = "targets"
protocol = "{protocol}"
port = {port}
vpc_id = "vpc-bench"
target = [{targets}]
health_check = {{ protocol = "TCP", port = {health_port}, interval_seconds = 5 }}

[[address]]
allocation_id = "eipalloc-balancer"
public_ip = "{BALANCER}"
"#
    )
}

/// The VPC: a subnet of hosts, on `port` if it has one, and a public subnet with the NAT gateway
/// and its addresses.
fn network(port: Option<&str>, addresses: &[Ipv4Addr]) -> String {
    let (mut elastic, mut allocations) = (String::new(), Vec::new());
    for (n, address) in addresses.iter().enumerate() {
        // Writing to a String does not fail.
        let _ = write!(
            elastic,
            r#"
[[address]]
allocation_id = "eipalloc-nat-{n}"
public_ip = "{address}"
"#
        );
        allocations.push(format!("\"eipalloc-nat-{n}\""));
    }
    let allocations = allocations.join(", ");
    let port = port.map(|port| format!("port = \"{port}\"\n")).unwrap_or_default();
    format!(
        r#"[[vpc]]
vpc_id = "vpc-bench"
cidr_block = "{HOSTS}"
ipv6_cidr_block = "fd00:10:1::/56"

[[subnet]]
subnet_id = "subnet-hosts"
vpc_id = "vpc-bench"
cidr_block = "10.1.0.0/17"
ipv6_cidr_block = "{HOSTS6}"
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
route = [
    {{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-bench" }},
    {{ destination_ipv6_cidr_block = "64:ff9b::/96", nat_gateway_id = "nat-bench" }},
]

[[nat_gateway]]
nat_gateway_id = "nat-bench"
subnet_id = "subnet-public"
allocation_ids = [{allocations}]
udp_idle_timeout_seconds = {UDP_IDLE}
udp_stream_timeout_seconds = {UDP_IDLE}
{elastic}"#
    )
}

/// The address `n` behind `first`.
fn nth(first: Ipv4Addr, n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + n)
}
