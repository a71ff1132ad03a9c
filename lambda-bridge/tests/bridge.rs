//! A bridge on the engine and the reference fast path: clones that share one interface, alone and
//! in front of a NAT gateway.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::engine::EnvironmentError;
use nf_core::id::FlowId;
use nf_core::packet::build::{Frame, UdpDatagram};
use nf_core::packet::{Headers, IcmpErrorKind, MacAddr, TcpFlags, build};
use nf_core::pipeline::{FlowEnd, Function};
use nf_core::testing::{
    Fate, World, checksums_are_right, host_mac, identification_of, in_fragments,
};
use nf_core::tuple::Tuple;
use nf_core::verdict::{Drop, Verdict};

/// A customer's VPC with a database, a bridge into it, and a way out for what comes by the bridge.
const DOCUMENT: &str = r#"
    [[vpc]]
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/16"
    ipv6_cidr_block = "fd00:a::/56"

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
    route_table_id = "rtb-private"
    vpc_id = "vpc-1"
    route = [
        { destination_cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-1" },
        { destination_cidr_block = "172.16.0.0/12", network_interface_id = "eni-lambda" },
    ]

    [[subnet]]
    subnet_id = "subnet-public"
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/24"
    route_table_id = "rtb-public"

    [[subnet]]
    subnet_id = "subnet-private"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"
    route_table_id = "rtb-private"

    [[network_interface]]
    network_interface_id = "eni-db"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.1.20"
    ipv6_addresses = ["fd00:a:0:1::20"]
    port = "db"

    [[address]]
    allocation_id = "eipalloc-1"
    public_ip = "198.51.100.1"

    [[nat_gateway]]
    nat_gateway_id = "nat-1"
    subnet_id = "subnet-public"
    allocation_ids = ["eipalloc-1"]

    [[lambda_bridge]]
    lambda_bridge_id = "bridge-1"
    network_interface_id = "eni-lambda"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.1.99"
    ipv6_address = "fd00:a:0:1::99"
"#;

/// What every environment believes itself to be.
const INNER: ([u8; 4], u16) = ([169, 254, 76, 1], 33_000);
const INNER_MAC: MacAddr = MacAddr::new([2, 0x0b, 0xad, 0, 0, 1]);
const DATABASE: &str = "10.0.1.20:5432";
const OUTSIDE: &str = "192.0.2.1:53";

fn functions(seed: u64) -> Vec<Box<dyn Function>> {
    vec![Box::new(Nat::new(seed)), Box::new(LambdaBridge::new(seed))]
}

fn world(environments: usize) -> World {
    let mut world = World::among_hosts(DOCUMENT, functions);
    for n in 0..environments {
        world.attach(&environment(n), "bridge-1").unwrap();
    }
    world
}

fn environment(n: usize) -> String {
    format!("env-{n}")
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn query(dst: &str, payload: &str) -> Frame<UdpDatagram> {
    Frame::udp(INNER, at(dst)).macs(INNER_MAC, MacAddr::new([2; 6])).payload(payload)
}

fn tuple(frame: &[u8]) -> Tuple {
    Headers::parse(frame).unwrap().ip().unwrap().tuple().unwrap()
}

/// The one frame that leaves, which must be by this port.
fn only(sent: Vec<(String, Vec<u8>)>, port: &str) -> Vec<u8> {
    assert_eq!(sent.len(), 1, "{sent:?}");
    let (by, frame) = sent.into_iter().next().unwrap();
    assert_eq!(by, port);
    frame
}

fn dropped(reason: Drop) -> Fate {
    Fate::Slow(Verdict::Dropped(reason))
}

fn held(w: &World) -> (usize, usize) {
    let nat = w.engine.function_as::<Nat>().unwrap().held();
    (nat, w.engine.function_as::<LambdaBridge>().unwrap().held())
}

#[test]
fn a_thousand_clones_are_told_apart_by_their_ports_alone() {
    const CLONES: usize = 1000;
    let mut w = world(CLONES);
    let mut outside = BTreeMap::new();
    for n in 0..CLONES {
        let name = environment(n);
        let frame = only(w.send(&name, query(DATABASE, &name).build()), "db");
        let tuple = tuple(&frame);
        assert_eq!((tuple.src.ip(), tuple.dst), ([10, 0, 1, 99].into(), at(DATABASE)));
        assert!(frame.ends_with(name.as_bytes()));
        assert!(outside.insert(tuple.src, name).is_none(), "two clones came out as {}", tuple.src);
    }
    // Answers in another order than the questions, none of them by user space.
    let slow = w.engine.counters().packets_in();
    for (src, name) in outside.iter().rev() {
        let answer = Frame::udp(at(DATABASE), *src).payload(format!("for {name}")).build();
        let frame = only(w.send("db", answer), name);
        let gateway = w.mac(name);
        let back = Frame::udp(at(DATABASE), INNER)
            .payload(format!("for {name}"))
            .ttl(63)
            .macs(gateway, INNER_MAC);
        assert_eq!(frame, back.build());
    }
    assert_eq!(w.engine.counters().packets_in(), slow);
    assert_eq!(held(&w), (0, CLONES));
    w.pass(Duration::from_secs(200));
    assert_eq!((w.engine.flow_count(), w.path.len(), held(&w)), (0, 0, (0, 0)));
}

#[test]
fn a_flow_through_bridge_and_nat_gateway_is_one_rewrite() {
    let mut w = world(2);
    let mut sources = BTreeSet::new();
    for name in ["env-0", "env-1"] {
        let frame = only(w.send(name, query(OUTSIDE, name).build()), "wan");
        let src = tuple(&frame).src;
        assert_eq!(src.ip().to_string(), "198.51.100.1");
        assert!(sources.insert(src));
        let router = host_mac([203, 0, 113, 1].into());
        // Bridge, NAT gateway and internet gateway are one hop.
        let there = Frame::udp(src, at(OUTSIDE)).payload(name).ttl(63).macs(w.mac("wan"), router);
        assert_eq!(frame, there.build());
        let again = only(w.send(name, query(OUTSIDE, name).build()), "wan");
        assert_eq!(again, frame);
        assert!(matches!(w.fate(), Fate::Fast(_)));
        let answer = Frame::udp(at(OUTSIDE), src).payload(name).build();
        let back = only(w.send("wan", answer), name);
        assert_eq!(tuple(&back), Tuple { src: at(OUTSIDE), dst: INNER.into(), ..tuple(&back) });
        assert!(back.ends_with(name.as_bytes()));
    }
    assert_eq!(held(&w), (2, 2));
    assert_eq!(w.path.len(), 4);
}

#[test]
fn further_flows_of_an_environment_through_the_whole_chain_are_made_by_the_fast_path() {
    let mut w = world(2);
    let open = |w: &mut World, env: usize, port: u16| {
        let frame = Frame::udp((INNER.0, port), at(OUTSIDE)).payload([env as u8]);
        let frame = frame.macs(INNER_MAC, MacAddr::new([2; 6])).build();
        tuple(&only(w.send(&environment(env), frame), "wan")).src
    };
    let mut sources = BTreeSet::new();
    for port in 1..=9 {
        for env in 0..2 {
            let src = open(&mut w, env, port);
            assert_eq!(src.ip().to_string(), "198.51.100.1");
            assert!(sources.insert(src), "{src} is two flows' source");
            // A clone's class is its own: it has other neighbours on its way back.
            let answer = Frame::udp(at(OUTSIDE), src).payload([0x80 | env as u8]);
            let frame = only(w.send("wan", answer.build()), &environment(env));
            assert_eq!(tuple(&frame).dst, SocketAddr::from((INNER.0, port)));
            assert_eq!(frame.last(), Some(&(0x80 | env as u8)));
        }
    }
    let counters = w.engine.counters();
    assert_eq!((counters.flows_created, counters.flows_made), (18, 14));
    assert_eq!(held(&w), (18, 18), "made or not, a flow holds a port of each function");
}

#[test]
fn an_error_comes_back_through_the_whole_chain() {
    let mut w = world(2);
    only(w.send("env-0", query(OUTSIDE, "first").build()), "wan");
    let sent = query(OUTSIDE, "second");
    let outside = only(w.send("env-1", sent.build()), "wan");
    let kind = IcmpErrorKind::TimeExceeded { code: 0 };
    let error = build::icmp_error(&outside, kind, [203, 0, 113, 77].into()).unwrap();
    let told = only(w.send("wan", error), "env-1");
    assert_eq!(told[..6], *INNER_MAC.as_bytes());
    assert_eq!(told[30..34], INNER.0);
    assert_eq!(told[42..], sent.ttl(63).build()[14..]);
}

#[test]
fn ipv6_clones_share_the_interfaces_ipv6_address() {
    let mut w = world(2);
    let (inner, database) = (at("[fd00:1::1]:7"), at("[fd00:a:0:1::20]:5432"));
    let mut sources = BTreeSet::new();
    for name in ["env-0", "env-1"] {
        let frame = Frame::udp(inner, database).macs(INNER_MAC, MacAddr::new([2; 6])).payload(name);
        let frame = only(w.send(name, frame.build()), "db");
        let src = tuple(&frame).src;
        assert_eq!(src.ip(), at("[fd00:a:0:1::99]:0").ip());
        assert!(sources.insert(src));
        let back = only(w.send("db", Frame::udp(database, src).payload(name).build()), name);
        assert_eq!(tuple(&back).dst, inner);
    }
}

#[test]
fn nobody_reaches_an_environment() {
    let mut w = world(2);
    let frame = only(w.send("env-0", query(DATABASE, "open").build()), "db");
    let port = tuple(&frame).src.port();
    // By the port that is leased, but from elsewhere; by the interface's address; by a route.
    for (src, dst) in [
        ("10.0.1.20:1", format!("10.0.1.99:{port}")),
        ("10.0.1.20:5432", format!("10.0.1.99:{}", port ^ 1)),
    ] {
        assert_eq!(w.send("db", Frame::udp(at(src), at(&dst)).build()), []);
        assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    }
    assert_eq!(w.send("db", Frame::udp(at("10.0.1.20:1"), at("172.16.0.1:1")).build()), []);
    assert_eq!(w.fate(), dropped(Drop::Blackhole));
    // Not even another environment, or the same.
    for name in ["env-0", "env-1"] {
        assert_eq!(w.send(name, query(&format!("10.0.1.99:{port}"), "hello").build()), []);
        assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    }
    assert_eq!(held(&w), (0, 1));
}

#[test]
fn an_environment_finds_the_gateway_behind_every_address_but_its_own() {
    let mut w = world(1);
    let asks = |target: [u8; 4]| build::arp_request(INNER_MAC, INNER.0.into(), target.into());
    for target in [[169, 254, 76, 2], [10, 0, 0, 1], [8, 8, 8, 8]] {
        let reply = build::arp_reply(w.mac("env-0"), target.into(), INNER_MAC, INNER.0.into());
        assert_eq!(only(w.send("env-0", asks(target)), "env-0"), reply);
    }
    assert_eq!(w.send("env-0", asks(INNER.0)), [], "an announcement");
    let probe = build::arp_request(INNER_MAC, [0; 4].into(), INNER.0.into());
    assert_eq!(w.send("env-0", probe), [], "a probe for its own address");
}

#[test]
fn a_late_packet_of_an_environment_gets_a_reset() {
    let mut w = world(1);
    let late = Frame::tcp(INNER, at(DATABASE)).seq(5).ack(9).macs(INNER_MAC, w.mac("env-0"));
    let reset = Frame::tcp(at(DATABASE), INNER)
        .flags(TcpFlags::RST)
        .seq(9)
        .window(0)
        .macs(w.mac("env-0"), INNER_MAC);
    assert_eq!(only(w.send("env-0", late.build()), "env-0"), reset.build());
    assert_eq!(held(&w), (0, 0));
}

#[test]
fn a_detached_environment_takes_its_flows_along_and_its_ports_rest() {
    let mut w = world(2);
    let gone = tuple(&only(w.send("env-0", query(DATABASE, "0").build()), "db")).src;
    only(w.send("env-0", query(OUTSIDE, "0").build()), "wan");
    only(w.send("env-1", query(DATABASE, "1").build()), "db");
    w.unplug("env-0");
    assert_eq!((w.engine.flow_count(), held(&w)), (1, (0, 1)));
    let counters = w.engine.counters();
    assert_eq!(counters.flows_ended[FlowEnd::PortGone as usize], 2);
    // A late answer finds nobody, whoever comes next.
    w.attach("env-2", "bridge-1").unwrap();
    only(w.send("env-2", query(DATABASE, "2").build()), "db");
    assert_eq!(w.send("db", Frame::udp(at(DATABASE), gone).build()), []);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    let quarantined = |w: &World| {
        let bridge = w.engine.function_as::<LambdaBridge>().unwrap();
        bridge.usage().next().unwrap().1.quarantined
    };
    assert_eq!(quarantined(&w), 2);
    w.pass(Duration::from_secs(31));
    assert_eq!(quarantined(&w), 0);
}

#[test]
fn attachment_is_refused_with_the_reason_and_changes_nothing() {
    let mut w = world(1);
    let no_bridge = Err(EnvironmentError::NoBridge("bridge-9".into()));
    assert_eq!(w.attach("env-9", "bridge-9"), no_bridge);
    let exists = Err(EnvironmentError::Exists("env-0".into()));
    assert_eq!(w.attach("env-0", "bridge-1"), exists);
    assert_eq!(w.attach("db", "bridge-1"), Err(EnvironmentError::PortInUse("db".into())));
    let attached: Vec<_> = w.engine.environments().map(|it| it.id).collect();
    assert_eq!(attached, ["env-0".into()]);
    only(w.send("env-0", query(DATABASE, "still").build()), "db");
}

#[test]
fn a_bridge_that_goes_takes_its_flows_and_comes_back_with_its_environments() {
    let mut w = world(1);
    only(w.send("env-0", query(DATABASE, "before").build()), "db");
    w.reload(&DOCUMENT[..DOCUMENT.find("[[lambda_bridge]]").unwrap()]);
    assert_eq!((w.engine.flow_count(), held(&w)), (0, (0, 0)));
    assert_eq!(w.send("env-0", query(DATABASE, "between").build()), []);
    assert_eq!(w.fate(), dropped(Drop::UnknownPort));
    w.reload(DOCUMENT);
    only(w.send("env-0", query(DATABASE, "after").build()), "db");
}

#[test]
fn a_new_process_takes_over_the_whole_chain() {
    let mut w = world(3);
    let mut outside = Vec::new();
    for n in 0..3 {
        let name = environment(n);
        let src = tuple(&only(w.send(&name, query(OUTSIDE, &name).build()), "wan")).src;
        let inside = tuple(&only(w.send(&name, query(DATABASE, &name).build()), "db")).src;
        outside.push((name, src, inside));
    }
    let listed = |w: &mut World| {
        let World { engine, path, .. } = w;
        let flows = engine.list_flows(FlowId(0), usize::MAX, path).0;
        flows.iter().map(|it| (it.id, it.flow.forward, it.flow.reverse)).collect::<Vec<_>>()
    };
    let before = listed(&mut w);
    assert_eq!(w.restart(), 6);
    assert_eq!(listed(&mut w), before);
    assert_eq!(held(&w), (3, 6));
    for (name, src, inside) in &outside {
        let answer = Frame::udp(at(OUTSIDE), *src).payload(name.as_str()).build();
        let back = only(w.send("wan", answer), name);
        assert!(back.ends_with(name.as_bytes()) && checksums_are_right(&back));
        assert_eq!(
            back[..6],
            *INNER_MAC.as_bytes(),
            "learnt from packets the new process never saw"
        );
        let answer = Frame::udp(at(DATABASE), *inside).payload(name.as_str()).build();
        assert!(only(w.send("db", answer), name).ends_with(name.as_bytes()));
    }
    // Nobody gets a port that is taken.
    w.attach("env-3", "bridge-1").unwrap();
    let new = tuple(&only(w.send("env-3", query(OUTSIDE, "new").build()), "wan")).src;
    assert!(outside.iter().all(|(_, src, _)| *src != new));
    w.pass(Duration::from_mins(5));
    assert_eq!((w.engine.flow_count(), w.path.len(), held(&w)), (0, 0, (0, 0)));
}

#[test]
fn flow_logs_of_a_bridge_tell_whose_flow_it_is() {
    let log = r#"
        [[flow_log]]
        flow_log_id = "fl-1"
        resource_id = "vpc-1"
        max_aggregation_interval = 60
        log_destination = "bridge"
        log_format = "${interface-id} ${flow-direction} ${srcaddr} ${dstaddr} ${dstport} ${hs-received-srcaddr} ${hs-environment-id}"
    "#;
    let mut w = world(2);
    w.reload(&format!("{DOCUMENT}{log}"));
    for n in 0..2 {
        let frame = query(DATABASE, "?").build();
        assert_eq!(w.send(&environment(n), frame).len(), 1);
    }
    w.pass(Duration::from_mins(1));
    let mut told: Vec<_> = w.recorded().into_iter().map(|(_, line)| line).collect();
    told.retain(|line| !line.ends_with(" - -"));
    told.sort();
    let line = |eni: &str, way: &str, environment: &str| {
        format!("{eni} {way} 10.0.1.99 10.0.1.20 5432 169.254.76.1 {environment}")
    };
    assert_eq!(
        told,
        [
            line("eni-db", "ingress", "env-0"),
            line("eni-db", "ingress", "env-1"),
            line("eni-lambda", "egress", "env-0"),
            line("eni-lambda", "egress", "env-1"),
        ]
    );
}

/// The bridge with two ports an address, and a prefix.
fn with_prefix() -> String {
    format!("{DOCUMENT}ipv4_prefixes = [\"10.0.1.32/28\"]\nport_range = [5000, 5001]\n")
}

/// Opens a flow from this port of the environment; what it leaves as.
fn open(w: &mut World, port: u16) -> Option<SocketAddr> {
    let frame = Frame::udp((INNER.0, port), at(DATABASE)).macs(INNER_MAC, MacAddr::new([2; 6]));
    let sent = w.send("env-0", frame.payload(port.to_string()).build());
    sent.into_iter().next().map(|(by, frame)| {
        assert_eq!(by, "db");
        tuple(&frame).src
    })
}

#[test]
fn a_prefix_of_sixteen_addresses_makes_seventeen_times_the_ports_and_the_primary_one_comes_first() {
    let mut w = World::among_hosts(&with_prefix(), functions);
    w.attach("env-0", "bridge-1").unwrap();
    let sources: Vec<_> = (1..=34).map(|port| open(&mut w, port).unwrap()).collect();
    let addresses: Vec<_> = sources.iter().map(|src| src.ip().to_string()).collect();
    assert!(addresses[..2].iter().all(|ip| ip == "10.0.1.99"), "{addresses:?}");
    let inside = (32..48).flat_map(|last| [format!("10.0.1.{last}"), format!("10.0.1.{last}")]);
    assert_eq!(addresses[2..], inside.collect::<Vec<_>>());
    assert_eq!(sources.iter().collect::<BTreeSet<_>>().len(), 34, "no two flows are one outside");
    assert_eq!(open(&mut w, 35), None);
    assert_eq!(w.fate(), dropped(Drop::PortAllocation));
    for (src, port) in sources.iter().zip(1_u16..) {
        let back = only(w.send("db", Frame::udp(at(DATABASE), *src).build()), "env-0");
        assert_eq!(tuple(&back).dst, SocketAddr::from((INNER.0, port)));
    }
    // What nobody asked for finds nobody, at an address of the prefix as at the primary one.
    assert_eq!(w.send("db", Frame::udp(at("10.0.1.20:1"), sources[20]).build()), []);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}

#[test]
fn a_new_process_takes_over_flows_that_leave_from_a_prefix() {
    let mut w = World::among_hosts(&with_prefix(), functions);
    w.attach("env-0", "bridge-1").unwrap();
    let sources: Vec<_> = (1..=33).map(|port| open(&mut w, port).unwrap()).collect();
    assert_eq!(w.restart(), 33);
    assert_eq!(held(&w), (0, 33));
    for (src, port) in sources.iter().zip(1_u16..) {
        let back = only(w.send("db", Frame::udp(at(DATABASE), *src).build()), "env-0");
        assert_eq!(tuple(&back).dst, SocketAddr::from((INNER.0, port)));
    }
    // One port is left, the last address's.
    let last = open(&mut w, 34).unwrap();
    assert!(last.ip() == at("10.0.1.47:0").ip() && !sources.contains(&last), "{last}");
    assert_eq!(open(&mut w, 35), None);
}

#[test]
fn a_prefix_that_goes_takes_the_flows_of_its_addresses_along() {
    let mut w = World::among_hosts(&with_prefix(), functions);
    w.attach("env-0", "bridge-1").unwrap();
    for port in 1..=6 {
        open(&mut w, port).unwrap();
    }
    w.reload(&with_prefix().replace("ipv4_prefixes", "# ipv4_prefixes"));
    assert_eq!((w.engine.flow_count(), held(&w)), (2, (0, 2)), "those of the primary address");
    assert_eq!(open(&mut w, 1).unwrap().ip(), at("10.0.1.99:0").ip());
    assert_eq!(open(&mut w, 3), None);
}

#[test]
fn a_packet_of_an_environments_that_is_rejected_is_told_of_under_its_name() {
    let shut = r#"
        [[security_group]]
        group_id = "sg-shut"
        group_name = "shut"
        vpc_id = "vpc-1"

        [[flow_log]]
        flow_log_id = "fl-1"
        resource_id = "eni-db"
        traffic_type = "REJECT"
        max_aggregation_interval = 60
        log_destination = "bridge"
        log_format = "${flow-direction} ${srcaddr} ${dstport} ${packets} ${action} ${hs-environment-id}"
    "#;
    let database = "network_interface_id = \"eni-db\"";
    let document = DOCUMENT.replace(database, &format!("{database}\n    groups = [\"sg-shut\"]"));
    let mut w = world(1);
    w.reload(&format!("{document}{shut}"));
    assert_eq!(w.send("env-0", query(DATABASE, "?").build()), []);
    w.pass(Duration::from_mins(1));
    let told: Vec<_> = w.recorded().into_iter().map(|(_, line)| line).collect();
    assert_eq!(told, ["ingress 10.0.1.99 5432 1 REJECT env-0"]);
}

/// Clones of one another: their packets differ in the port they come by and in nothing else.
#[test]
fn fragments_of_one_environment_never_follow_those_of_another() {
    let mut w = world(2);
    for dst in [DATABASE, OUTSIDE] {
        let by = if dst == DATABASE { "db" } else { "wan" };
        let parts = |n: usize| {
            let whole = query(dst, &format!("{n}").repeat(2000)).build();
            in_fragments(&whole, 800, 0x0102)
        };
        let (one, other) = (parts(0), parts(1));
        // The later fragments of the one come before the first of the other.
        for part in &one[1..] {
            assert_eq!(w.send("env-0", part.clone()), []);
        }
        let of_other: Vec<_> =
            other.iter().map(|part| only(w.send("env-1", part.clone()), by)).collect();
        let of_one = w.send("env-0", one[0].clone());
        let ids = |frames: &[Vec<u8>]| -> BTreeSet<_> {
            frames.iter().map(|frame| identification_of(frame)).collect()
        };
        let of_one: Vec<_> = of_one.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!((of_one.len(), of_other.len()), (3, 3));
        assert!(of_one.iter().all(|frame| frame.last() == Some(&b'0')));
        assert!(of_other.iter().all(|frame| frame.last() == Some(&b'1')));
        assert_eq!((ids(&of_one).len(), ids(&of_other).len()), (1, 1));
        assert_ne!(ids(&of_one), ids(&of_other), "they share an address");

        // Each hears its own answer, in fragments as well.
        let expected = query(dst, "").build();
        for (n, first) in [(0, &of_one[0]), (1, &of_other[0])] {
            let seen = tuple(first);
            let answer = Frame::udp(seen.dst, seen.src).payload([b'a' + n; 2000]).build();
            for part in in_fragments(&answer, 800, 9).iter().rev() {
                for (port, frame) in w.send(by, part.clone()) {
                    assert_eq!(port, environment(usize::from(n)));
                    assert_eq!(frame.last(), Some(&(b'a' + n)));
                    assert_eq!(frame[30..34], expected[26..30], "to the address they all have");
                }
            }
        }
    }
    assert_eq!(w.engine.counters().packets_waiting(), 0);
    assert!(w.engine.fragments().is_empty());
}
