//! Who is where: two instances that are alike, the network interface that moves between them, and a
//! client outside.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The interface that moves.
pub(super) const FLOATING: &str = "eni-floating";

/// Its private address.
pub(super) const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 50);

/// The router of its subnet.
pub(super) const SUBNET_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);

/// Its MAC address.
pub(super) const MAC: &str = "02:00:00:00:02:32";

/// Its Elastic IP address.
pub(super) const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);

/// The place it has at either instance.
pub(super) const DEVICE_INDEX: u16 = 1;

/// The gateway's own address on its uplink.
pub(super) const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// The gateway's interface toward the client.
pub(super) const UPLINK_PORT: &str = "wan0";

/// The client outside, which is the gateway's next hop too.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The port that the security group lets HTTP in by, and another that HTTP is served on.
pub(super) const HTTP: u16 = 80;
pub(super) const CLOSED: u16 = 8080;

/// The port of the UDP echo.
pub(super) const ECHO: u16 = 7;

/// An instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// Its id.
    pub id: &'static str,
    /// What it calls itself.
    pub name: &'static str,
    /// The address of its primary interface.
    pub primary: Ipv4Addr,
    /// The TTL that its packets begin with, by which its answers to ping are told apart.
    pub ttl: u8,
}

/// The instance that has the interface at first.
pub(super) const WEB1: Instance =
    Instance { id: "i-web1", name: "web1", primary: Ipv4Addr::new(10, 0, 1, 11), ttl: 64 };

/// Its standby.
pub(super) const WEB2: Instance =
    Instance { id: "i-web2", name: "web2", primary: Ipv4Addr::new(10, 0, 1, 12), ttl: 128 };

/// Both.
pub(super) const INSTANCES: [Instance; 2] = [WEB1, WEB2];

impl Instance {
    /// The gateway's interface to one of its devices.
    pub(super) fn port(self, device_index: u16) -> String {
        format!("{}-eth{device_index}", self.name)
    }

    /// The instance that calls itself so.
    pub(super) fn named(name: &str) -> Option<Self> {
        INSTANCES.into_iter().find(|it| it.name == name)
    }

    /// The instance that a packet with this TTL is from: routers have taken a little off.
    pub(super) fn of_ttl(ttl: u8) -> Option<Self> {
        INSTANCES.into_iter().find(|it| ttl <= it.ttl)
    }
}

/// Where a server listens at the floating address, as its instance and as the client know it.
pub(super) fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddrV4::new(address, port).into()
}

/// Everything the gateway is to do, with the floating interface at an instance or at none.
pub(super) fn resource_document(attached_to: Option<Instance>) -> String {
    let mut document = format!(
        r#"# Two instances, and an interface that can be at either.

[[uplink]]
uplink_id = "uplink-internet"
port = "{UPLINK_PORT}"
addresses = ["{UPLINK}/24"]

[[vpc]]
vpc_id = "vpc-web"
cidr_block = "10.0.0.0/16"

[[internet_gateway]]
internet_gateway_id = "igw-web"
vpc_id = "vpc-web"
uplink_id = "uplink-internet"

[[route_table]]
route_table_id = "rtb-web"
vpc_id = "vpc-web"
main = true
route = [{{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-web" }}]

[[subnet]]
subnet_id = "subnet-instances"
vpc_id = "vpc-web"
cidr_block = "10.0.1.0/24"

[[subnet]]
subnet_id = "subnet-service"
vpc_id = "vpc-web"
cidr_block = "10.0.2.0/24"

[[security_group]]
group_id = "sg-service"
group_name = "service"
vpc_id = "vpc-web"
ingress = [
    {{ ip_protocol = "tcp", from_port = {HTTP}, to_port = {HTTP}, cidr_ipv4 = "0.0.0.0/0" }},
    {{ ip_protocol = "udp", from_port = {ECHO}, to_port = {ECHO}, cidr_ipv4 = "0.0.0.0/0" }},
    {{ ip_protocol = "icmp", from_port = -1, to_port = -1, cidr_ipv4 = "0.0.0.0/0" }},
]

[[network_interface]]
network_interface_id = "{FLOATING}"
subnet_id = "subnet-service"
private_ip_address = "{PRIVATE}"
mac_address = "{MAC}"
groups = ["sg-service"]
"#
    );
    if let Some(Instance { id, .. }) = attached_to {
        // Writing to a String does not fail.
        let _ = writeln!(
            document,
            r#"attachment = {{ instance_id = "{id}", device_index = {DEVICE_INDEX} }}"#
        );
    }
    let _ = write!(
        document,
        r#"
[[address]]
allocation_id = "eipalloc-service"
public_ip = "{PUBLIC}"
network_interface_id = "{FLOATING}"
"#
    );
    for instance in INSTANCES {
        document.push_str(&instance_resources(instance));
    }
    document
}

fn instance_resources(instance: Instance) -> String {
    let Instance { id, name, primary, .. } = instance;
    let [first, second] = [0, DEVICE_INDEX].map(|device_index| instance.port(device_index));
    format!(
        r#"
# {name}

[[instance]]
instance_id = "{id}"

[[instance.port]]
name = "{first}"
device_index = 0

[[instance.port]]
name = "{second}"
device_index = {DEVICE_INDEX}

[[network_interface]]
network_interface_id = "eni-{name}"
subnet_id = "subnet-instances"
private_ip_address = "{primary}"
attachment = {{ instance_id = "{id}", device_index = 0 }}
"#
    )
}

#[cfg(test)]
mod tests {
    use nf_core::id::Generation;
    use nf_core::vpc::{Document, PortRole, Snapshot};

    use super::*;

    fn snapshot(attached_to: Option<Instance>) -> Snapshot {
        let document: Document =
            toml::from_str(&resource_document(attached_to)).expect("well formed");
        let snapshot = Snapshot::build(Generation(1), &document).expect("valid");
        assert_eq!(snapshot.warnings(), []);
        snapshot
    }

    #[test]
    fn the_interface_is_where_the_document_says() {
        for (attached_to, expected) in
            [(Some(WEB1), [true, false]), (Some(WEB2), [false, true]), (None, [false, false])]
        {
            let snapshot = snapshot(attached_to);
            let leads = INSTANCES.map(|it| {
                let role = snapshot.port_role(&it.port(DEVICE_INDEX));
                matches!(role, Some(PortRole::Eni(_)))
            });
            assert_eq!(leads, expected, "{attached_to:?}");
        }
    }

    #[test]
    fn answers_to_ping_tell_the_instance() {
        for instance in INSTANCES {
            assert_eq!(Instance::of_ttl(instance.ttl - 1), Some(instance));
        }
        assert_eq!(Instance::of_ttl(255), None);
    }
}
