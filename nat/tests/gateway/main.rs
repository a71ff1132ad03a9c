//! A NAT gateway on the engine and the reference fast path.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod classes;
mod drain;
mod flow_logs;
mod flows;
mod fragments;
mod groups;
mod independent;
mod limits;
mod nat64;
mod traffic;

use std::net::SocketAddr;

use nat::Nat;
use nf_core::engine::FlowView;
use nf_core::id::FlowId;
use nf_core::packet::build::{self, Frame, TcpSegment, UdpDatagram};
use nf_core::packet::{Headers, IcmpErrorKind, MacAddr};
use nf_core::pipeline::Function;
use nf_core::testing::{Fate, World, host_mac};
use nf_core::translator::RealmUsage;
use nf_core::verdict::{Drop, Verdict};

/// A tenant whose private subnet goes out by a NAT gateway. The port range is left open.
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
    route_table_id = "rtb-public"
    vpc_id = "vpc-1"
    route = [
        { destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" },
        { destination_ipv6_cidr_block = "::/0", gateway_id = "igw-1" },
    ]

    [[route_table]]
    route_table_id = "rtb-private"
    vpc_id = "vpc-1"
    route = [
        { destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-1" },
        { destination_ipv6_cidr_block = "::/0", nat_gateway_id = "nat-1" },
    ]

    [[subnet]]
    subnet_id = "subnet-public"
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/24"
    ipv6_cidr_block = "fd00:a:0:0::/64"
    route_table_id = "rtb-public"

    [[subnet]]
    subnet_id = "subnet-private"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"
    route_table_id = "rtb-private"

    [[network_interface]]
    network_interface_id = "eni-i"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.1.10"
    ipv6_addresses = ["fd00:a:0:1::10"]
    port = "i"

    [[address]]
    allocation_id = "eipalloc-1"
    public_ip = "198.51.100.1"

    [[address]]
    allocation_id = "eipalloc-2"
    public_ip = "198.51.100.2"

    [[address]]
    allocation_id = "eipalloc-6"
    public_ip = "2001:db8:e::1"

    [[nat_gateway]]
    nat_gateway_id = "nat-1"
    subnet_id = "subnet-public"
    allocation_ids = ["eipalloc-1", "eipalloc-6"]
"#;

const SERVER: &str = "192.0.2.80:443";
const PUBLIC: &str = "198.51.100.1";

fn functions(seed: u64) -> Vec<Box<dyn Function>> {
    vec![Box::new(Nat::new(seed))]
}

/// The gateway with these ports to lease.
fn world(first: u16, last: u16) -> World {
    World::among_hosts(&format!("{DOCUMENT}\nport_range = [{first}, {last}]"), functions)
}

/// The gateway with these keys, and a second instance behind it, "j".
fn world_of_two(keys: &str) -> World {
    let document = format!(
        r#"{DOCUMENT}
    {keys}

    [[network_interface]]
    network_interface_id = "eni-j"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.1.11"
    ipv6_addresses = ["fd00:a:0:1::11"]
    port = "j"
    "#
    );
    World::among_hosts(&document, functions)
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The MAC addresses of the instance and of the gateway on its link.
fn inside(w: &World) -> (MacAddr, MacAddr) {
    (host_mac([10, 0, 1, 10].into()), w.mac("i"))
}

/// From the instance's port `n`.
fn tcp(n: u16, dst: &str) -> Frame<TcpSegment> {
    Frame::tcp(([10, 0, 1, 10], n), at(dst))
}

fn udp(n: u16, dst: &str) -> Frame<UdpDatagram> {
    Frame::udp(([10, 0, 1, 10], n), at(dst)).payload(*b"query")
}

/// What leaves by `wan` for a frame of the instance's, and where it says it comes from.
fn send_out(w: &mut World, frame: Vec<u8>) -> Option<(SocketAddr, Vec<u8>)> {
    let sent = w.send("i", frame);
    let [(port, frame)] = &sent[..] else {
        assert!(sent.is_empty(), "{sent:?}");
        return None;
    };
    assert_eq!(port, "wan");
    let tuple = Headers::parse(frame).unwrap().ip().unwrap().tuple().unwrap();
    Some((tuple.src, frame.clone()))
}

/// An IPv4 frame of the instance's that gets no port: its sender is told that it is prohibited.
fn is_refused(w: &mut World, frame: &[u8], reason: Drop) {
    let prohibited = IcmpErrorKind::Unreachable { code: 13 };
    let mut told = build::icmp_error(frame, prohibited, [10, 0, 1, 1].into()).unwrap();
    let (_, gateway) = inside(w);
    told[6..12].copy_from_slice(gateway.as_bytes());
    assert_eq!(w.send("i", frame), [("i".to_owned(), told)]);
    assert_eq!(w.fate(), dropped(reason));
}

fn dropped(reason: Drop) -> Fate {
    Fate::Slow(Verdict::Dropped(reason))
}

fn usage(w: &World) -> RealmUsage {
    w.engine.function_as::<Nat>().unwrap().usage().next().unwrap().1
}

/// With one TCP connection that was answered.
fn one_open_connection() -> RealmUsage {
    RealmUsage {
        flows_total: 1,
        leases: 1,
        clients: 1,
        active_connections: 1,
        connection_attempts_total: 1,
        connections_established_total: 1,
        ..RealmUsage::default()
    }
}

fn flows(w: &mut World) -> Vec<FlowView> {
    let World { engine, path, .. } = w;
    engine.list_flows(FlowId(0), usize::MAX, path).0
}
