//! The engine over the reference fast path, without functions: packets in, packets out, byte by
//! byte, and what is left behind.

mod checks;
mod control;
mod errors;
mod failover;
mod fragments;
mod life;
mod neighbours;
mod recovery;
mod reload;
mod routing;
mod security_groups;
mod spoofing;
mod tenants;

use std::net::SocketAddr;

use crate::engine::FlowView;
use crate::id::FlowId;
use crate::packet::build::{Echo, Frame, TcpSegment, UdpDatagram};
use crate::packet::{MacAddr, TcpFlags};
use crate::pipeline::{FlowEnd, Function};
use crate::testing::{Fate, World};
use crate::verdict::{Drop, Verdict};

/// Two instances behind ports of their own, a segment with hosts, a way out, and another tenant
/// with the same addresses.
const DOCUMENT: &str = r#"
    [[vpc]]
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"

    [[uplink]]
    uplink_id = "uplink-wan"
    port = "wan"
    addresses = ["203.0.113.2/24", "2001:db8::2/64"]
    gateways = ["203.0.113.1", "2001:db8::1"]

    [[internet_gateway]]
    internet_gateway_id = "igw-1"
    vpc_id = "vpc-1"
    uplink_id = "uplink-wan"

    [[route_table]]
    route_table_id = "rtb-main"
    vpc_id = "vpc-1"
    main = true
    route = [
        { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" },
        { destination_cidr_block = "172.16.0.0/12", network_interface_id = "eni-gone" },
        { destination_cidr_block = "192.168.0.0/16", network_interface_id = "eni-c" },
        { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-1" },
    ]

    [[subnet]]
    subnet_id = "subnet-1"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"

    [[subnet]]
    subnet_id = "subnet-lan"
    vpc_id = "vpc-1"
    cidr_block = "10.0.2.0/24"
    ipv6_cidr_block = "fd00:a:0:2::/64"
    port = "lan"

    # Who may talk to whom is another matter: `security_groups`.
    [[security_group]]
    group_id = "sg-open"
    group_name = "open"
    vpc_id = "vpc-1"
    ingress = [
        { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
        { ip_protocol = "-1", cidr_ipv6 = "::/0" },
    ]

    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.10"
    ipv6_addresses = ["fd00:a:0:1::10"]
    mac_address = "02:00:00:00:00:0a"
    groups = ["sg-open"]
    port = "a"

    [[network_interface]]
    network_interface_id = "eni-b"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.11"
    ipv6_addresses = ["fd00:a:0:1::11"]
    mac_address = "02:00:00:00:00:0b"
    groups = ["sg-open"]
    port = "b"

    # An appliance that forwards for others, its MAC address unknown.
    [[network_interface]]
    network_interface_id = "eni-c"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.12"
    groups = ["sg-open"]
    port = "c"
    source_dest_check = false

    [[network_interface]]
    network_interface_id = "eni-lan"
    subnet_id = "subnet-lan"
    private_ip_address = "10.0.2.50"
    groups = ["sg-open"]

    [[address]]
    allocation_id = "eipalloc-a"
    public_ip = "198.51.100.10"
    network_interface_id = "eni-a"

    [[address]]
    allocation_id = "eipalloc-a6"
    public_ip = "2001:db8:e::10"
    network_interface_id = "eni-a"

    [[vpc]]
    vpc_id = "vpc-2"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"

    [[subnet]]
    subnet_id = "subnet-2"
    vpc_id = "vpc-2"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"

    [[network_interface]]
    network_interface_id = "eni-other"
    subnet_id = "subnet-2"
    private_ip_address = "10.0.1.10"
    mac_address = "02:00:00:00:00:0f"
    port = "other"
"#;

/// The instance behind port `a`.
const A: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0a]);
/// The instance behind port `b`.
const B: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0b]);
/// The instance behind port `other`, of another tenant.
const OTHER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x0f]);
/// Anyone behind `c`, `lan` or `wan`.
const HOST: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

fn no_functions(_: u64) -> Vec<Box<dyn Function>> {
    Vec::new()
}

fn world() -> World {
    World::new(DOCUMENT, no_functions)
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tcp(src: &str, dst: &str) -> Frame<TcpSegment> {
    Frame::tcp(at(src), at(dst))
}

fn udp(src: &str, dst: &str) -> Frame<UdpDatagram> {
    Frame::udp(at(src), at(dst)).payload(*b"payload")
}

fn ping(src: &str, dst: &str, id: u16) -> Frame<Echo> {
    let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    Frame::echo_request(ip(src), ip(dst), id, 1).payload(*b"payload")
}

/// One frame out of a port, as [`World::send`] returns it.
fn out(port: &str, frame: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    vec![(port.to_owned(), frame)]
}

fn nothing() -> Vec<(String, Vec<u8>)> {
    Vec::new()
}

fn dropped(reason: Drop) -> Fate {
    Fate::Slow(Verdict::Dropped(reason))
}

const FORWARDED: Fate = Fate::Slow(Verdict::Forwarded);
const QUEUED: Fate = Fate::Slow(Verdict::Queued);
const CONSUMED: Fate = Fate::Slow(Verdict::Consumed);

/// Whether the last frame never left the fast path.
fn was_fast(world: &World, port: &str) -> bool {
    use crate::fast_path::soft::Decision;
    world.fate() == Fate::Fast(Decision::Forward(world.port(port)))
}

/// The only flow there is.
fn only_flow(world: &mut World) -> FlowView {
    let World { engine, path, .. } = world;
    let (flows, more) = engine.list_flows(FlowId(0), usize::MAX, path);
    assert_eq!((flows.len(), more), (1, None));
    flows[0]
}

fn ended(world: &World, end: FlowEnd) -> u64 {
    world.engine.counters().flows_ended[end as usize]
}

/// Packets in are decided or wait, and entries belong to flows.
fn is_accounted(world: &World) -> bool {
    let counters = world.engine.counters();
    counters.packets_in() == counters.packets_decided() + counters.packets_waiting()
        && world.path.len() == 2 * world.engine.flow_count()
}

/// Nothing is left: no flow, no entry, no next hop, no deadline.
fn is_empty(world: &mut World) -> bool {
    let World { engine, path, now, .. } = world;
    engine.flow_count() == 0
        && path.is_empty()
        && engine.neighbour_count() == 0
        && path.adjacencies().next().is_none()
        && engine.counters().packets_waiting() == 0
        && engine.advance(*now, path).is_none()
}

const SYN: TcpFlags = TcpFlags::SYN;
const SYN_ACK: TcpFlags = TcpFlags(0x12);
const ACK: TcpFlags = TcpFlags::ACK;
const FIN_ACK: TcpFlags = TcpFlags(0x11);
const RST: TcpFlags = TcpFlags::RST;
