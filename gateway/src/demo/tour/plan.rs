//! Who is where in the tour: every address, interface and resource.
//!
//! Blue and green are as alike as two customers can be: the same VPC, the same subnets, the same
//! service address, the same managed interface, the same environments. Only what the internet sees
//! of them differs.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// What both customers call their own.
pub(super) const VPC: &str = "10.0.0.0/16";

/// Both customers' service.
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);

/// The managed network interface in front of each customer's environments.
pub(super) const MANAGED: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 5);

/// Every environment's address, on a /30 of its own with its default gateway.
pub(super) const ENVIRONMENT: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 2);

/// Every environment's default gateway.
pub(super) const ENVIRONMENT_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 1);

/// Every environment's MAC address.
pub(super) const ENVIRONMENT_MAC: &str = "02:00:00:64:00:02";

/// The port that every environment's first connection comes from: all tuples are the same too.
pub(super) const ENVIRONMENT_PORT: u16 = 40_000;

/// The same for environments that call a second time, when the first ports still rest.
pub(super) const SECOND_CALL_PORT: u16 = 40_100;

/// The gateway's own address on its uplink.
pub(super) const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// Its next hop, the internet's router.
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The load balancer's Elastic IP address.
pub(super) const BALANCER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);

/// A server somewhere on the internet.
pub(super) const WEBSITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

/// A client somewhere on the internet, and the router next to it.
pub(super) const VISITOR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
pub(super) const VISITOR_ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The load balancer's targets, in the order of their numbers.
pub(super) const TARGETS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 0, 2, 11), Ipv4Addr::new(10, 0, 2, 12), Ipv4Addr::new(10, 0, 2, 13)];

/// The port of every HTTP server.
pub(super) const HTTP: u16 = 80;

/// A customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    /// Its name.
    pub name: &'static str,
    /// What the internet sees of it: the Elastic IP address of its NAT gateway.
    pub public: Ipv4Addr,
    /// Whether it has the load balancer.
    balanced: bool,
}

/// The customer with many environments and the load balancer.
pub(super) const BLUE: Tenant =
    Tenant { name: "blue", public: Ipv4Addr::new(203, 0, 113, 10), balanced: true };

/// The customer that could be taken for the other.
pub(super) const GREEN: Tenant =
    Tenant { name: "green", public: Ipv4Addr::new(203, 0, 113, 20), balanced: false };

impl Tenant {
    /// The gateway's interface to the tenant's service.
    pub(super) fn service_port(self) -> String {
        format!("{}-service", self.name)
    }

    /// The gateway's interface to one of its environments, which is the environment's id too.
    pub(super) fn environment(self, number: usize) -> String {
        format!("{}-env{number:04}", self.name)
    }

    /// Its bridge.
    pub(super) fn bridge(self) -> String {
        format!("bridge-{}", self.name)
    }

    /// Its NAT gateway.
    pub(super) fn nat_gateway(self) -> String {
        format!("nat-{}", self.name)
    }
}

/// The gateway's interface toward the internet.
pub(super) const UPLINK_PORT: &str = "wan0";

/// The load balancer's target group.
pub(super) const TARGET_GROUP: &str = "web";

/// The gateway's interface to a target.
pub(super) fn target_port(target: usize) -> String {
    format!("blue-web{}", target + 1)
}

/// How a target calls itself.
pub(super) fn target_name(target: usize) -> String {
    format!("web{}", target + 1)
}

/// Where an HTTP server listens.
pub(super) fn http(address: Ipv4Addr) -> SocketAddr {
    SocketAddrV4::new(address, HTTP).into()
}

/// Everything the gateway is to do.
pub(super) fn resource_document() -> String {
    let mut document = format!(
        r#"# Two customers with the same addresses, behind one gateway.

[[uplink]]
uplink_id = "uplink-internet"
port = "{UPLINK_PORT}"
addresses = ["{UPLINK}/24"]
gateways = ["{ROUTER}"]
"#
    );
    for tenant in [BLUE, GREEN] {
        document.push_str(&tenant_resources(tenant));
        if tenant.balanced {
            document.push_str(&balancer_resources(tenant));
        }
    }
    document
}

fn tenant_resources(tenant: Tenant) -> String {
    let Tenant { name, public, .. } = tenant;
    let (nat, bridge, port) = (tenant.nat_gateway(), tenant.bridge(), tenant.service_port());
    format!(
        r#"
# {name}

[[vpc]]
vpc_id = "vpc-{name}"
cidr_block = "{VPC}"

[[internet_gateway]]
internet_gateway_id = "igw-{name}"
vpc_id = "vpc-{name}"
uplink_id = "uplink-internet"

[[route_table]]
route_table_id = "rtb-{name}-public"
vpc_id = "vpc-{name}"
route = [{{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-{name}" }}]

[[route_table]]
route_table_id = "rtb-{name}-private"
vpc_id = "vpc-{name}"
main = true
route = [{{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "{nat}" }}]

[[subnet]]
subnet_id = "subnet-{name}-public"
vpc_id = "vpc-{name}"
cidr_block = "10.0.0.0/24"
route_table_id = "rtb-{name}-public"

[[subnet]]
subnet_id = "subnet-{name}-service"
vpc_id = "vpc-{name}"
cidr_block = "10.0.1.0/24"

[[subnet]]
subnet_id = "subnet-{name}-lambda"
vpc_id = "vpc-{name}"
cidr_block = "10.0.3.0/24"

[[network_interface]]
network_interface_id = "eni-{name}-service"
subnet_id = "subnet-{name}-service"
private_ip_address = "{SERVICE}"
port = "{port}"

[[address]]
allocation_id = "eipalloc-{name}-nat"
public_ip = "{public}"

[[nat_gateway]]
nat_gateway_id = "{nat}"
subnet_id = "subnet-{name}-public"
allocation_ids = ["eipalloc-{name}-nat"]

[[lambda_bridge]]
lambda_bridge_id = "{bridge}"
subnet_id = "subnet-{name}-lambda"
private_ip_address = "{MANAGED}"
"#
    )
}

fn balancer_resources(tenant: Tenant) -> String {
    let name = tenant.name;
    let targets = TARGETS.map(|address| format!("{{ id = \"{address}\" }}")).join(", ");
    let mut resources = format!(
        r#"
[[subnet]]
subnet_id = "subnet-{name}-web"
vpc_id = "vpc-{name}"
cidr_block = "10.0.2.0/24"

[[address]]
allocation_id = "eipalloc-{name}-web"
public_ip = "{BALANCER}"

[[security_group]]
group_id = "sg-{name}-web"
group_name = "web"
vpc_id = "vpc-{name}"
ingress = [
    {{ ip_protocol = "tcp", from_port = {HTTP}, to_port = {HTTP}, cidr_ipv4 = "0.0.0.0/0" }},
]

[[load_balancer]]
load_balancer_name = "{name}-web"
scheme = "internet-facing"
subnet_mapping = [
    {{ subnet_id = "subnet-{name}-public", allocation_id = "eipalloc-{name}-web" }},
]
listener = [{{ protocol = "TCP", port = {HTTP}, target_group_name = "{TARGET_GROUP}" }}]

[[target_group]]
target_group_name = "{TARGET_GROUP}"
protocol = "TCP"
port = {HTTP}
vpc_id = "vpc-{name}"
target = [{targets}]

[target_group.health_check]
interval_seconds = 1
timeout_seconds = 1
healthy_threshold_count = 2
unhealthy_threshold_count = 2
"#
    );
    for (number, address) in TARGETS.iter().enumerate() {
        let (target, port) = (target_name(number), target_port(number));
        // Writing to a String does not fail.
        let _ = write!(
            resources,
            r#"
[[network_interface]]
network_interface_id = "eni-{name}-{target}"
subnet_id = "subnet-{name}-web"
private_ip_address = "{address}"
groups = ["sg-{name}-web"]
port = "{port}"
"#
        );
    }
    resources
}

#[cfg(test)]
mod tests {
    use nf_core::id::Generation;
    use nf_core::vpc::{Document, Snapshot};

    use super::*;

    #[test]
    fn the_document_is_valid_and_both_customers_are_in_it() {
        let document: Document = toml::from_str(&resource_document()).expect("well formed");
        let snapshot = Snapshot::build(Generation(1), &document).expect("valid");
        assert_eq!(snapshot.warnings(), []);
        for tenant in [BLUE, GREEN] {
            assert!(snapshot.port_role(&tenant.service_port()).is_some());
            assert!(snapshot.bridge_by_id(&tenant.bridge()).is_some());
        }
        assert_eq!(document.target_group[0].target.len(), TARGETS.len());
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        // IFNAMSIZ is 16 with the terminating zero.
        assert!(GREEN.environment(9999).len() < 16);
        assert!(GREEN.service_port().len() < 16);
    }
}
