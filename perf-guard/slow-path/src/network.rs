//! The network that packets come from: one tenant with hosts behind a NAT gateway, targets of a
//! load balancer among them, and an execution environment behind a bridge.

use std::net::{Ipv4Addr, SocketAddrV4};

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::engine::EngineConfig;
use nf_core::flow::Capacity;
use nf_core::packet::MacAddr;
use nf_core::packet::build::Frame;
use nf_core::pipeline::Function;
use nf_core::testing::{World, host_mac};
use nlb::Nlb;

/// Room for flows.
const ROOM: usize = 16_384;

/// Decides on ports and targets: any number does, but always the same.
const SEED: u64 = 1;

const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const ENVIRONMENT: Ipv4Addr = Ipv4Addr::new(169, 254, 76, 1);
const ENVIRONMENT_MAC: MacAddr = MacAddr::new([2, 0x0b, 0xad, 0, 0, 1]);
const BALANCER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 53);

/// The first port of a client.
const FIRST_PORT: u16 = 20_000;

/// Servers that flows go to, so that their leases are of several destinations.
const SERVERS: u16 = 16;

/// What a flow passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a host through the NAT gateway.
    Nat,
    /// From the world through the load balancer to one of 100 targets.
    Nlb,
    /// From an environment through the bridge and the NAT gateway.
    BridgeNat,
}

impl Way {
    /// The gateway, whose neighbours answer at once.
    pub fn world(self) -> World {
        let size = EngineConfig { flows: Capacity::of_any(ROOM), adjacencies: 1024, seed: SEED };
        // Health checks would be among the timers that fire.
        let rest = if self == Self::Nlb { balancer() } else { BRIDGE.to_owned() };
        let mut world = World::with(size, true, &(NETWORK.to_owned() + &rest), functions);
        if self == Self::BridgeNat
            && let Err(error) = world.attach(self.port(), "bridge-1")
        {
            panic!("the environment is not attached: {error}");
        }
        world
    }

    /// The port that its packets come by.
    pub fn port(self) -> &'static str {
        match self {
            Self::Nat => "lan",
            Self::Nlb => "wan",
            Self::BridgeNat => "environment",
        }
    }

    /// The first frame of flow `n`.
    pub fn frame(self, world: &World, n: u16) -> Vec<u8> {
        let server = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1 + (n % SERVERS) as u8), 53);
        let (client, from, to) = match self {
            Self::Nat => (HOST, host_mac(HOST.into()), server),
            Self::Nlb => (*server.ip(), host_mac(NEXT_HOP.into()), BALANCER),
            Self::BridgeNat => (ENVIRONMENT, ENVIRONMENT_MAC, server),
        };
        let client = SocketAddrV4::new(client, FIRST_PORT + n);
        Frame::udp(client, to).macs(from, world.mac(self.port())).payload([0x5a; 18]).build()
    }
}

fn functions(seed: u64) -> Vec<Box<dyn Function>> {
    vec![Box::new(Nat::new(seed)), Box::new(Nlb::new(seed)), Box::new(LambdaBridge::new(seed))]
}

const NETWORK: &str = r#"
    [[vpc]]
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/16"

    [[uplink]]
    uplink_id = "uplink-wan"
    port = "wan"
    addresses = ["203.0.113.2/24"]
    gateways = ["203.0.113.1"]

    [[internet_gateway]]
    internet_gateway_id = "igw-1"
    vpc_id = "vpc-1"
    uplink_id = "uplink-wan"

    [[route_table]]
    route_table_id = "rtb-public"
    vpc_id = "vpc-1"
    route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" }]

    [[route_table]]
    route_table_id = "rtb-hosts"
    vpc_id = "vpc-1"
    route = [{ destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-1" }]

    [[subnet]]
    subnet_id = "subnet-public"
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/24"
    route_table_id = "rtb-public"

    [[subnet]]
    subnet_id = "subnet-hosts"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    route_table_id = "rtb-hosts"
    port = "lan"

    [[address]]
    allocation_id = "eipalloc-nat"
    public_ip = "198.51.100.1"

    [[nat_gateway]]
    nat_gateway_id = "nat-1"
    subnet_id = "subnet-public"
    allocation_ids = ["eipalloc-nat"]
"#;

const BRIDGE: &str = r#"
    [[lambda_bridge]]
    lambda_bridge_id = "bridge-1"
    subnet_id = "subnet-hosts"
    private_ip_address = "10.0.1.99"
"#;

fn balancer() -> String {
    let targets: Vec<_> = (100..200).map(|n| format!("{{ id = \"10.0.1.{n}\" }}")).collect();
    let targets = targets.join(", ");
    format!(
        r#"
    [[address]]
    allocation_id = "eipalloc-balancer"
    public_ip = "{}"

    [[load_balancer]]
    load_balancer_name = "lb-1"
    scheme = "internet-facing"
    subnet_mapping = [{{ subnet_id = "subnet-public", allocation_id = "eipalloc-balancer" }}]
    listener = [{{ protocol = "UDP", port = {}, target_group_name = "dns" }}]

    [[target_group]]
    target_group_name = "dns"
    protocol = "UDP"
    port = 5353
    vpc_id = "vpc-1"
    target = [{targets}]
"#,
        BALANCER.ip(),
        BALANCER.port()
    )
}
