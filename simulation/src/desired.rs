//! The desired state of a run, and how it changes.

use std::fmt::Write as _;

use nf_core::tuple::Protocol;

use crate::hosts::TENANTS;
use crate::random::Random;

/// Whom the security group of a tenant's second instance lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Everybody, so that TCP and UDP need not be tracked.
    Open,
    /// Everybody as well, but in two halves, which are no reason not to track.
    Halves,
    /// The same, and only TCP.
    Tcp,
    /// Nobody.
    Shut,
}

impl Rules {
    const ALL: [Self; 4] = [Self::Open, Self::Halves, Self::Tcp, Self::Shut];

    /// Whether a packet may open a flow.
    pub(crate) fn admit(self, protocol: Protocol) -> bool {
        match self {
            Self::Open | Self::Halves => true,
            Self::Tcp => protocol == Protocol::Tcp,
            Self::Shut => false,
        }
    }

    /// Whether flows that they let in end with them, if they pass no function.
    pub(crate) fn leave_untracked(self, protocol: Protocol) -> bool {
        self == Self::Open && !protocol.is_echo()
    }

    fn ingress(self) -> &'static str {
        match self {
            Self::Open => OPEN,
            Self::Halves => HALVES,
            Self::Tcp => TCP,
            Self::Shut => "",
        }
    }
}

/// The second address of a tenant's NAT gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecondAddress {
    Absent,
    There,
    /// No new flow leaves from it.
    Draining,
}

impl SecondAddress {
    /// It comes, drains, and goes or stays after all.
    fn next(self, random: &mut Random) -> Self {
        match self {
            Self::Absent => Self::There,
            Self::There => Self::Draining,
            Self::Draining => *random.pick(&[Self::Absent, Self::There]),
        }
    }

    const fn keys(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::There => "secondary_address = [{ allocation_id = \"eipalloc-@nat2\" }]\n",
            Self::Draining => {
                "secondary_address = [{ allocation_id = \"eipalloc-@nat2\", drain_until = 1 }]\n"
            }
        }
    }
}

/// What of a tenant comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a resource that is there or not")]
struct Tenant {
    nat: bool,
    nat_route: bool,
    second_nat_address: SecondAddress,
    /// Whether its gateway's mapping is endpoint-independent.
    independent: bool,
    /// Whether anybody may then send to it.
    open: bool,
    /// Whether both ends of an idle connection are told.
    reset_both: bool,
    balancer: bool,
    targets: [bool; 3],
    heavy_target: bool,
    bridge: bool,
    elastic: bool,
    mac_known: bool,
    /// Whether a second flow log is there, of part of what the first is of.
    second_log: bool,
    /// Whether the first is: until the run comes to rest.
    log: bool,
    rules: Rules,
}

/// The desired state.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    tenants: [Tenant; TENANTS],
    /// Ports that a gateway or bridge leases from.
    ports: usize,
}

impl Desired {
    pub(crate) fn new(ports: usize) -> Self {
        let tenant = Tenant {
            nat: true,
            nat_route: true,
            second_nat_address: SecondAddress::Absent,
            independent: false,
            open: false,
            reset_both: false,
            balancer: true,
            targets: [true; 3],
            heavy_target: false,
            bridge: true,
            elastic: true,
            mac_known: false,
            second_log: false,
            log: true,
            rules: Rules::Halves,
        };
        Self { tenants: [tenant; TENANTS], ports }
    }

    /// One thing changes, or comes back.
    pub(crate) fn change(&mut self, random: &mut Random) {
        let tenant = &mut self.tenants[random.below(TENANTS)];
        // What is missing comes back soon, so that most of the time there is something to break.
        let missing =
            [tenant.nat, tenant.nat_route, tenant.balancer, tenant.bridge, tenant.elastic];
        if missing.contains(&false) && random.chance(700) {
            for it in [
                &mut tenant.nat,
                &mut tenant.nat_route,
                &mut tenant.balancer,
                &mut tenant.bridge,
                &mut tenant.elastic,
            ] {
                *it = true;
            }
            return;
        }
        if random.chance(250) {
            tenant.rules = *random.pick(&Rules::ALL);
            return;
        }
        let it = match random.below(22) {
            0 => &mut tenant.nat,
            1 => &mut tenant.nat_route,
            2 => &mut tenant.balancer,
            3 => &mut tenant.bridge,
            4 => &mut tenant.elastic,
            5 | 6 => {
                tenant.second_nat_address = tenant.second_nat_address.next(random);
                return;
            }
            7 => &mut tenant.heavy_target,
            8 | 9 => &mut tenant.mac_known,
            14 | 15 => &mut tenant.second_log,
            16..=18 => &mut tenant.independent,
            19 | 20 => &mut tenant.open,
            21 => &mut tenant.reset_both,
            n => &mut tenant.targets[n % 3],
        };
        *it = !*it;
    }

    /// Nothing sends of its own accord any more.
    pub(crate) fn come_to_rest(&mut self) {
        for tenant in &mut self.tenants {
            tenant.balancer = false;
            (tenant.log, tenant.second_log) = (false, false);
        }
    }

    /// Whom each tenant's second instance lets in.
    pub(crate) fn rules(&self) -> [Rules; TENANTS] {
        self.tenants.map(|tenant| tenant.rules)
    }

    /// The same, but for the rules: everybody is let in everywhere.
    pub(crate) fn opened(mut self) -> Self {
        for tenant in &mut self.tenants {
            tenant.rules = Rules::Open;
        }
        self
    }

    pub(crate) fn document(&self) -> String {
        let mut text = format!("[quotas]\nelastic_ips = {}\n{UPLINK}", TENANTS * ELASTIC_IPS);
        for (number, tenant) in self.tenants.iter().enumerate() {
            let mut own = NETWORK.to_owned();
            let leases = format!(
                "port_range = [5000, {}]\nudp_idle_timeout_seconds = 20\n\
                 icmp_idle_timeout_seconds = 15\ntcp_idle_timeout_seconds = 60\n\
                 port_quarantine_seconds = 5\n",
                4999 + self.ports
            );
            if tenant.nat_route {
                own.push_str(NAT_ROUTE);
            } else {
                own.push_str(NO_ROUTE);
            }
            own.push_str(if tenant.mac_known { MAC_KNOWN } else { MAC_UNKNOWN });
            let ingress = tenant.rules.ingress();
            let _ = writeln!(own, "{GROUPS}ingress = [{ingress}]");
            own.push_str(if tenant.elastic { ELASTIC } else { "" });
            own.push_str(if tenant.log { LOG } else { "" });
            own.push_str(if tenant.second_log { SECOND_LOG } else { "" });
            if tenant.nat {
                own.push_str(NAT);
                let second = tenant.second_nat_address.keys();
                // Writing into a string cannot fail.
                let _ = write!(
                    own,
                    "allocation_ids = [\"eipalloc-@nat\", \"eipalloc-@nat6\"]\n{second}{leases}\
                     udp_stream_timeout_seconds = 20\nreset_both = {}\n",
                    tenant.reset_both
                );
                own.push_str(match (tenant.independent, tenant.open) {
                    (false, _) => "",
                    (true, false) => INDEPENDENT,
                    (true, true) => OPEN_TO_ALL,
                });
            }
            if tenant.bridge {
                own.push_str(BRIDGE);
                own.push_str(&leases);
            }
            own.push_str(if tenant.balancer { BALANCER } else { "" });
            let targets: Vec<_> = TARGETS
                .iter()
                .zip(tenant.targets)
                .filter(|(_, there)| *there)
                .map(|(ip, _)| {
                    let weight = if tenant.heavy_target { 900 } else { 1 };
                    let weight = if *ip == TARGETS[0] { weight } else { 1 };
                    format!("{{ id = \"{ip}\", weight = {weight} }}")
                })
                .collect();
            let targets = targets.join(", ");
            let _ = write!(own, "{WEB}target = [{targets}]\n{DNS}target = [{targets}]\n");
            text.push_str(&own.replace('@', &number.to_string()));
        }
        text
    }
}

/// How many a tenant has at most.
const ELASTIC_IPS: usize = 5;

const INDEPENDENT: &str = "mapping = \"endpoint-independent\"\n";
const OPEN_TO_ALL: &str =
    "mapping = \"endpoint-independent\"\nfiltering = \"endpoint-independent\"\n";

/// In all texts below, `@` stands for the tenant's number.
const TARGETS: [&str; 3] = ["10.0.1.10", "10.0.1.11", "10.0.2.10"];

const UPLINK: &str = r#"
[[uplink]]
uplink_id = "uplink-wan"
port = "wan"
addresses = ["203.0.113.2/24", "2001:db8::2/64"]
gateways = ["203.0.113.1", "2001:db8::1"]
"#;

const NETWORK: &str = r#"
[[vpc]]
vpc_id = "vpc-@"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "fd00:a::/56"

[[internet_gateway]]
internet_gateway_id = "igw-@"
vpc_id = "vpc-@"
uplink_id = "uplink-wan"

[[route_table]]
route_table_id = "rtb-@public"
vpc_id = "vpc-@"
route = [
    { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-@" },
    { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-@" },
]

[[subnet]]
subnet_id = "subnet-@public"
vpc_id = "vpc-@"
cidr_block = "10.0.0.0/24"
ipv6_cidr_block = "fd00:a:0:0::/64"
route_table_id = "rtb-@public"

[[subnet]]
subnet_id = "subnet-@private"
vpc_id = "vpc-@"
cidr_block = "10.0.1.0/24"
ipv6_cidr_block = "fd00:a:0:1::/64"
route_table_id = "rtb-@private"

[[subnet]]
subnet_id = "subnet-@lan"
vpc_id = "vpc-@"
cidr_block = "10.0.2.0/24"
ipv6_cidr_block = "fd00:a:0:2::/64"
route_table_id = "rtb-@private"
port = "t@lan"

[[network_interface]]
network_interface_id = "eni-@i1"
subnet_id = "subnet-@private"
private_ip_address = "10.0.1.10"
ipv6_addresses = ["fd00:a:0:1::10"]
mac_address = "02:00:00:00:00:11"
groups = ["sg-@open"]
port = "t@i1"

[[address]]
allocation_id = "eipalloc-@nat"
public_ip = "198.51.10@.1"

[[address]]
allocation_id = "eipalloc-@nat2"
public_ip = "198.51.10@.2"

[[address]]
allocation_id = "eipalloc-@nat6"
public_ip = "2001:db8:e@::1"

[[address]]
allocation_id = "eipalloc-@lb"
public_ip = "198.51.10@.9"
"#;

const NAT_ROUTE: &str = r#"
[[route_table]]
route_table_id = "rtb-@private"
vpc_id = "vpc-@"
route = [
    { destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-@" },
    { destination_ipv6_cidr_block = "::/0", nat_gateway_id = "nat-@" },
]
"#;

const NO_ROUTE: &str = r#"
[[route_table]]
route_table_id = "rtb-@private"
vpc_id = "vpc-@"
"#;

const MAC_KNOWN: &str = r#"
[[network_interface]]
network_interface_id = "eni-@i2"
subnet_id = "subnet-@private"
private_ip_address = "10.0.1.11"
ipv6_addresses = ["fd00:a:0:1::11"]
mac_address = "02:00:00:00:00:12"
groups = ["sg-@rules"]
port = "t@i2"
"#;

const MAC_UNKNOWN: &str = r#"
[[network_interface]]
network_interface_id = "eni-@i2"
subnet_id = "subnet-@private"
private_ip_address = "10.0.1.11"
ipv6_addresses = ["fd00:a:0:1::11"]
groups = ["sg-@rules"]
port = "t@i2"
"#;

/// The first instance's group is open; what the second one's lets in follows.
const GROUPS: &str = r#"
[[security_group]]
group_id = "sg-@open"
group_name = "open"
vpc_id = "vpc-@"
ingress = [
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
    { ip_protocol = "-1", cidr_ipv6 = "::/0" },
]

[[security_group]]
group_id = "sg-@rules"
group_name = "rules"
vpc_id = "vpc-@"
"#;

const OPEN: &str = r#"
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
    { ip_protocol = "-1", cidr_ipv6 = "::/0" },
"#;

const HALVES: &str = r#"
    { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/1" },
    { ip_protocol = "-1", cidr_ipv4 = "128.0.0.0/1" },
    { ip_protocol = "-1", cidr_ipv6 = "::/1" },
    { ip_protocol = "-1", cidr_ipv6 = "8000::/1" },
"#;

const TCP: &str = r#"
    { ip_protocol = "tcp", from_port = 0, to_port = 65535, cidr_ipv4 = "0.0.0.0/1" },
    { ip_protocol = "tcp", from_port = 0, to_port = 65535, cidr_ipv4 = "128.0.0.0/1" },
    { ip_protocol = "tcp", from_port = 0, to_port = 65535, cidr_ipv6 = "::/1" },
    { ip_protocol = "tcp", from_port = 0, to_port = 65535, cidr_ipv6 = "8000::/1" },
"#;

const ELASTIC: &str = r#"
[[address]]
allocation_id = "eipalloc-@i1"
public_ip = "198.51.10@.20"
network_interface_id = "eni-@i1"
"#;

const LOG: &str = r#"
[[flow_log]]
flow_log_id = "fl-@"
resource_id = "vpc-@"
max_aggregation_interval = 60
log_destination = "all"
"#;

const SECOND_LOG: &str = r#"
[[flow_log]]
flow_log_id = "fl-@private"
resource_id = "subnet-@private"
log_destination = "private"
"#;

const NAT: &str = r#"
[[nat_gateway]]
nat_gateway_id = "nat-@"
subnet_id = "subnet-@public"
"#;

const BRIDGE: &str = r#"
[[lambda_bridge]]
lambda_bridge_id = "bridge-@"
subnet_id = "subnet-@private"
private_ip_address = "10.0.1.99"
ipv6_address = "fd00:a:0:1::99"
"#;

const BALANCER: &str = r#"
[[load_balancer]]
load_balancer_name = "lb-@"
scheme = "internet-facing"
subnet_mapping = [
    { subnet_id = "subnet-@public", allocation_id = "eipalloc-@lb", private_ipv4_address = "10.0.0.50" },
]
listener = [
    { protocol = "TCP", port = 80, target_group_name = "web-@", tcp_idle_timeout_seconds = 60 },
    { protocol = "UDP", port = 53, target_group_name = "dns-@" },
]
"#;

const WEB: &str = r#"
[[target_group]]
target_group_name = "web-@"
protocol = "TCP"
port = 8080
vpc_id = "vpc-@"
health_check = { interval_seconds = 10, timeout_seconds = 3, healthy_threshold_count = 2, unhealthy_threshold_count = 2 }
"#;

const DNS: &str = r#"
[[target_group]]
target_group_name = "dns-@"
protocol = "UDP"
port = 5353
vpc_id = "vpc-@"
health_check = { port = 8080, interval_seconds = 10, timeout_seconds = 3, healthy_threshold_count = 2, unhealthy_threshold_count = 2 }
"#;
