//! Tenants with the same addresses, each with a service, environments behind a bridge, and a NAT
//! gateway to the one internet:
//!
//! ```text
//!  env 169.254.100.2 ──blue1──┐
//!  env 169.254.100.2 ──blue2──┤ [ bridge 10.0.1.100 ] ──blue-db── 10.0.1.50, the service
//!  …                          │          └── [ NAT gateway ] ──wan0── internet
//! ```

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use halfspace_testbed::{Namespace, Testbed};

use super::{Datapath, Family, Gateway};

/// The names there can be: each gives its tenant Elastic IP addresses of its own.
pub const NAMES: [&str; 2] = ["blue", "green"];

/// What all tenants call the same, in one family.
#[derive(Clone, Copy, Debug)]
pub struct Inside {
    /// Every environment.
    pub environment: IpAddr,
    /// The managed interface of the bridge.
    pub bridge: IpAddr,
    /// The service.
    pub service: IpAddr,
    /// The internet's server.
    pub server: IpAddr,
    /// Where curl is to connect from. One port a family: curl binds to both.
    pub local_port: &'static str,
}

impl Inside {
    /// IPv4 and IPv6.
    pub const BOTH: [Self; 2] = [
        Self {
            environment: IpAddr::V4(Ipv4Addr::new(169, 254, 100, 2)),
            bridge: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 100)),
            service: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 50)),
            server: Family::V4.server,
            local_port: "40004",
        },
        Self {
            environment: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xe, 0, 0, 0, 0, 0, 2)),
            bridge: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc, 0, 1, 0, 0, 0, 0x100)),
            service: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc, 0, 1, 0, 0, 0, 0x50)),
            server: Family::V6.server,
            local_port: "40006",
        },
    ];

    /// An environment's address with a port.
    pub const fn environment_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.environment, port)
    }

    /// The service's address with a port.
    pub const fn service_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.service, port)
    }

    /// The internet server's address with a port.
    pub const fn server_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.server, port)
    }
}

/// All tenants.
pub struct Tenants {
    // Dropped first: what it logged is in the testbed's directory.
    pub gateway: Gateway,
    pub internet: Namespace,
    pub all: Vec<Tenant>,
    pub document: String,
    _bed: Testbed,
}

/// One tenant.
pub struct Tenant {
    pub name: &'static str,
    pub service: Namespace,
    pub environments: Vec<Namespace>,
}

impl Tenant {
    /// The gateway's interface to an environment, which is the environment's id as well.
    pub fn port(&self, number: usize) -> String {
        format!("{}{}", self.name, number + 1)
    }

    /// The id of its bridge.
    pub fn bridge(&self) -> String {
        format!("bridge-{}", self.name)
    }

    /// What the internet sees of it, in the family of `inside`.
    pub fn public(&self, inside: &Inside) -> IpAddr {
        let host = if self.name == NAMES[0] { 10 } else { 20 };
        if inside.server.is_ipv4() {
            format!("203.0.113.{host}").parse().unwrap()
        } else {
            format!("2001:db8:1::{host}").parse().unwrap()
        }
    }
}

impl Tenants {
    /// A running gateway for the first `count` of [`NAMES`], each with this many environments, all
    /// attached.
    pub fn open(name: &str, datapath: Datapath, count: usize, environments: usize) -> Self {
        let bed = Testbed::new(name).unwrap();
        let mut gateway = Gateway::prepare(&bed, datapath);
        let internet = bed.namespace("internet").unwrap();
        bed.veth((&gateway.namespace, "wan0"), (&internet, "eth0")).unwrap();
        internet
            .ip([
                "address add 203.0.113.1/24 dev eth0",
                "address add 2001:db8:1::1/64 dev eth0",
                "address add 198.51.100.1/32 dev lo",
                "address add 2001:db8:2::1/128 dev lo",
            ])
            .unwrap();
        let tenants: Vec<_> = NAMES[..count]
            .iter()
            .map(|name| lay_out(&bed, &gateway.namespace, name, environments))
            .collect();
        let document = resources(&NAMES[..count]);
        gateway.start(&document);
        let this = Self { gateway, internet, all: tenants, document, _bed: bed };
        for tenant in &this.all {
            for number in 0..environments {
                this.attach(tenant, number);
            }
        }
        this
    }

    /// `halfspace env attach`.
    #[track_caller]
    pub fn attach(&self, tenant: &Tenant, number: usize) {
        let (bridge, port) = (tenant.bridge(), tenant.port(number));
        let output = self.gateway.run(["env", "attach", "--bridge", &bridge, "--port", &port]);
        assert!(output.status.success(), "{output:?}");
    }

    /// `halfspace env detach`.
    #[track_caller]
    pub fn detach(&self, tenant: &Tenant, number: usize) {
        let output = self.gateway.run(["env", "detach", &tenant.port(number)]);
        assert!(output.status.success(), "{output:?}");
    }

    /// The ids of the environments that `halfspace env list` calls attached.
    pub fn attached(&self) -> Vec<String> {
        let listing: serde_json::Value = self.gateway.json(&["env", "list"]);
        listing["environments"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["state"] == "attached")
            .map(|it| it["environment_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn lay_out(bed: &Testbed, gateway: &Namespace, name: &'static str, environments: usize) -> Tenant {
    let service = bed.namespace(&format!("{name}-db")).unwrap();
    let names: Vec<_> = (0..environments).map(|number| format!("{name}-env{number}")).collect();
    let environments = bed.namespaces(&names).unwrap();
    let tenant = Tenant { name, service, environments };
    let service_port = format!("{name}-db");
    let ports: Vec<_> = (0..names.len()).map(|number| tenant.port(number)).collect();
    let mut links = vec![((gateway, service_port.as_str()), (&tenant.service, "eth0"))];
    for (port, environment) in ports.iter().zip(&tenant.environments) {
        links.push(((gateway, port.as_str()), (environment, "eth0")));
    }
    bed.veths(&links).unwrap();
    tenant
        .service
        .ip([
            "address add 10.0.1.50/24 dev eth0",
            "address add fd00:c:0:1::50/64 dev eth0 nodad",
            "route add default via 10.0.1.1",
            "route add default via fd00:c:0:1::1",
        ])
        .unwrap();
    for environment in &tenant.environments {
        environment
            .ip([
                "link set eth0 address 02:00:00:64:00:02",
                "address add 169.254.100.2/30 dev eth0",
                "address add fd00:e::2/64 dev eth0 nodad",
                "route add default via 169.254.100.1",
                "route add default via fd00:e::1",
            ])
            .unwrap();
    }
    tenant
}

/// The resource document.
fn resources(names: &[&str]) -> String {
    let mut document = r#"
[[uplink]]
uplink_id = "uplink-wan"
port = "wan0"
addresses = ["203.0.113.2/24", "2001:db8:1::2/64"]
gateways = ["203.0.113.1", "2001:db8:1::1"]
"#
    .to_owned();
    for name in names {
        let host = if *name == NAMES[0] { 10 } else { 20 };
        let _ = write!(
            document,
            r#"
[[vpc]]
vpc_id = "vpc-{name}"
cidr_block = "10.0.0.0/16"
ipv6_cidr_block = "fd00:c::/56"

[[subnet]]
subnet_id = "subnet-{name}"
vpc_id = "vpc-{name}"
cidr_block = "10.0.1.0/24"
ipv6_cidr_block = "fd00:c:0:1::/64"
route_table_id = "rtb-{name}"

[[network_interface]]
network_interface_id = "eni-{name}-db"
subnet_id = "subnet-{name}"
private_ip_address = "10.0.1.50"
ipv6_addresses = ["fd00:c:0:1::50"]
port = "{name}-db"

[[lambda_bridge]]
lambda_bridge_id = "bridge-{name}"
subnet_id = "subnet-{name}"
private_ip_address = "10.0.1.100"
ipv6_address = "fd00:c:0:1::100"

[[route_table]]
route_table_id = "rtb-{name}"
vpc_id = "vpc-{name}"
route = [
    {{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-{name}" }},
    {{ destination_ipv6_cidr_block = "::/0", nat_gateway_id = "nat-{name}" }},
]

[[subnet]]
subnet_id = "subnet-{name}-public"
vpc_id = "vpc-{name}"
cidr_block = "10.0.0.0/24"
ipv6_cidr_block = "fd00:c:0:0::/64"
route_table_id = "rtb-{name}-public"

[[route_table]]
route_table_id = "rtb-{name}-public"
vpc_id = "vpc-{name}"
route = [
    {{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-{name}" }},
    {{ destination_ipv6_cidr_block = "::/0", gateway_id = "igw-{name}" }},
]

[[nat_gateway]]
nat_gateway_id = "nat-{name}"
subnet_id = "subnet-{name}-public"
allocation_ids = ["eipalloc-{name}", "eipalloc-{name}6"]

[[address]]
allocation_id = "eipalloc-{name}"
public_ip = "203.0.113.{host}"

[[address]]
allocation_id = "eipalloc-{name}6"
public_ip = "2001:db8:1::{host}"

[[internet_gateway]]
internet_gateway_id = "igw-{name}"
vpc_id = "vpc-{name}"
uplink_id = "uplink-wan"
"#
        );
    }
    document
}
