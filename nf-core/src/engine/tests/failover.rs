//! Interfaces that move: the next packet of every flow goes where the interface is now, and flows of
//! other interfaces do not notice.

use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::adjacency::Adjacency;
use crate::engine::EngineConfig;
use crate::fast_path::soft::{Decision, FrameMeta, SoftFastPath};
use crate::fast_path::{
    Class, Entry, FastPath, Lot, MeterId, Metered, PortPolicy, StockId, Template, Transmit, Usage,
};
use crate::flow::Capacity;
use crate::id::{AdjacencyId, Generation, PortId};
use crate::packet::build;
use crate::tuple::FlowKey;
use crate::verdict::Punt;
use crate::vpc::{Document, Snapshot};

/// A client, a server that stays where it is, and a service whose interface is attached to the one
/// instance or the other. All are in the default group, and so may talk to each other.
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
    route_table_id = "rtb-main"
    vpc_id = "vpc-1"
    main = true
    route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" }]

    [[subnet]]
    subnet_id = "subnet-1"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    port = "lan"

    [[security_group]]
    group_id = "sg-service"
    group_name = "service"
    vpc_id = "vpc-1"
    ingress = [
        { ip_protocol = "-1", cidr_ipv4 = "10.0.0.0/8" },
        { ip_protocol = "udp", from_port = 53, to_port = 53, cidr_ipv4 = "203.0.113.0/24" },
    ]

    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.10"
    mac_address = "02:00:00:00:00:0a"
    port = "a"

    [[network_interface]]
    network_interface_id = "eni-b"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.11"
    mac_address = "02:00:00:00:00:0b"
    groups = ["sg-service"]
    port = "b"

    [[address]]
    allocation_id = "eipalloc-service"
    public_ip = "198.51.100.53"
    network_interface_id = "eni-service"

    [[network_interface]]
    network_interface_id = "eni-service"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.53"
    mac_address = "02:00:00:00:00:53"
    groups = ["sg-service"]
"#;

const SERVICE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x53]);
const CLIENT: &str = "10.0.1.10:40000";
const ADDRESS: &str = "10.0.1.53:53";

/// The network with the service at an instance, or nowhere.
fn attached_to(instance: Option<&str>) -> String {
    let mut text = NETWORK.to_owned();
    if let Some(instance) = instance {
        text.push_str("attachment = { instance_id = \"");
        text.push_str(instance);
        text.push_str("\", device_index = 1 }\n");
    } else {
        text.push_str("port = \"nowhere\"\n");
    }
    for (n, instance, port) in [(1, "i-1", "p1"), (2, "i-2", "p2")] {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            r#"
            [[instance]]
            instance_id = "{instance}"
            port = [{{ name = "{port}-primary" }}, {{ name = "{port}", device_index = 1 }}]

            [[network_interface]]
            network_interface_id = "eni-primary-{n}"
            subnet_id = "subnet-1"
            private_ip_address = "10.0.1.10{n}"
            attachment = {{ instance_id = "{instance}", device_index = 0 }}
            "#
        );
    }
    text
}

/// The service at the first instance, and room for many flows.
fn begin() -> World {
    let config = EngineConfig { flows: Capacity::of_any(20_000), adjacencies: 64, seed: 1 };
    World::with(config, false, &attached_to(Some("i-1")), no_functions)
}

fn snapshot(w: &World, document: &str) -> Arc<Snapshot> {
    let document: Document = toml::from_str(document).unwrap();
    Arc::new(Snapshot::build(w.engine.generation().next(), &document).unwrap())
}

/// Applies a document as [`World::reload`] does, but for the sweep, which has yet to begin.
fn apply_without_sweep(w: &mut World, document: &str) {
    let snapshot = snapshot(w, document);
    w.engine.apply_snapshot(w.now, &snapshot, &mut w.path);
    assert!(!w.engine.is_settled());
}

/// A query to the service and its answer, twice, by the port that it is behind.
fn exchange(w: &mut World, port: &str) {
    let query = udp(CLIENT, ADDRESS).macs(A, w.mac("a")).build();
    let answer = udp(ADDRESS, CLIENT).macs(SERVICE, w.mac(port)).build();
    for _ in 0..2 {
        let there = udp(CLIENT, ADDRESS).macs(w.mac(port), SERVICE).ttl(63).build();
        assert_eq!(w.send("a", query.clone()), out(port, there));
        let back = udp(ADDRESS, CLIENT).macs(w.mac("a"), A).ttl(63).build();
        assert_eq!(w.send(port, answer.clone()), out("a", back));
        assert!(was_fast(w, "a"));
    }
}

/// Flow `n` of the client to the server that stays where it is.
fn other(w: &World, n: u16) -> Vec<u8> {
    let client: std::net::SocketAddr = ([10, 0, 1, 10], 1000 + n).into();
    Frame::udp(client, at("10.0.1.11:53")).payload(*b"payload").macs(A, w.mac("a")).build()
}

#[test]
fn the_next_packet_of_an_established_flow_leaves_by_the_standbys_port_and_others_lose_none() {
    const OTHERS: u16 = 10_000;

    let mut w = begin();
    for n in 0..OTHERS {
        w.send("a", other(&w, n));
        assert_eq!(w.fate(), FORWARDED, "flow {n}");
    }
    exchange(&mut w, "p1");
    assert_eq!(w.engine.flow_count(), usize::from(OTHERS) + 1);

    apply_without_sweep(&mut w, &attached_to(Some("i-2")));
    // No packet is asked to wait: the interface's MAC address is known.
    let mut query = udp(CLIENT, ADDRESS).macs(A, w.mac("a")).build();
    let there = udp(CLIENT, ADDRESS).macs(w.mac("p2"), SERVICE).ttl(63).build();
    let (a, b) = (w.port("a"), w.port("b"));
    let meta = FrameMeta::default();
    assert_eq!(w.path.process(a, &mut query, meta), Decision::Punt(Punt::Miss));
    let World { engine, path, now, .. } = &mut w;
    assert_eq!(engine.packet(*now, a, Punt::Miss, meta, &query, path), Verdict::Forwarded);
    let sent = path.take_transmits();
    assert_eq!(sent, [Transmit { port: w.port("p2"), frame: there }]);
    assert!(!w.engine.is_settled(), "that was before the sweep");

    let mut lost = 0;
    for n in 0..OTHERS {
        let frame = &mut other(&w, n);
        lost += u32::from(w.path.process(a, frame, meta) != Decision::Forward(b));
        if n % 1000 == 0 {
            w.engine.advance(w.now, &mut w.path);
        }
    }
    assert_eq!(lost, 0, "before, under and after the sweep");
    assert!(w.engine.is_settled());
    exchange(&mut w, "p2");
    assert_eq!(w.engine.flow_count(), usize::from(OTHERS) + 1);
    assert!(is_accounted(&w));
}

#[test]
fn the_instance_that_had_the_interface_is_not_heard_any_more() {
    let mut w = begin();
    exchange(&mut w, "p1");
    w.reload(&attached_to(Some("i-2")));
    let late = udp(ADDRESS, CLIENT).macs(SERVICE, w.mac("p1")).build();
    assert_eq!(w.send("p1", late), nothing());
    assert_eq!(w.fate(), dropped(Drop::UnknownPort));
    exchange(&mut w, "p2");
    w.reload(&attached_to(Some("i-1")));
    exchange(&mut w, "p1");
    assert!(is_accounted(&w));
}

#[test]
fn a_connection_is_carried_to_the_standby_which_knows_nothing_of_it_and_says_so() {
    let mut w = begin();
    let (gw, to) = (w.mac("a"), "10.0.1.53:80");
    let client = |flags| tcp(CLIENT, to).flags(flags).macs(A, gw);
    w.send("a", client(SYN).build());
    let p1 = w.mac("p1");
    w.send("p1", tcp(to, CLIENT).flags(SYN_ACK).macs(SERVICE, p1).build());
    w.send("a", client(ACK).build());
    assert!(was_fast(&w, "p1"));

    apply_without_sweep(&mut w, &attached_to(Some("i-2")));
    let p2 = w.mac("p2");
    let segment = client(TcpFlags::PSH | ACK).payload(*b"more").build();
    let there = tcp(CLIENT, to).flags(TcpFlags::PSH | ACK).payload(*b"more").macs(p2, SERVICE);
    assert_eq!(w.send("a", segment), out("p2", there.ttl(63).build()));
    let reset = tcp(to, CLIENT).flags(RST).macs(SERVICE, p2).build();
    let back = tcp(to, CLIENT).flags(RST).macs(gw, A).ttl(63).build();
    assert_eq!(w.send("p2", reset), out("a", back));
    // A new connection is another story.
    let syn = tcp("10.0.1.10:40001", to).flags(SYN).macs(A, gw).build();
    let there = tcp("10.0.1.10:40001", to).flags(SYN).macs(p2, SERVICE).ttl(63).build();
    assert_eq!(w.send("a", syn), out("p2", there));
    assert!(is_accounted(&w));
}

#[test]
fn the_elastic_address_goes_along() {
    let mut w = begin();
    let (router, wan) = (MacAddr::new([2, 0, 0, 0, 0, 0xfe]), w.mac("wan"));
    let query = udp("203.0.113.9:9", "198.51.100.53:53").macs(router, wan).build();
    let inside =
        |w: &World, port| udp("203.0.113.9:9", ADDRESS).macs(w.mac(port), SERVICE).ttl(63).build();
    let asks = build::arp_request(wan, [203, 0, 113, 2].into(), [203, 0, 113, 9].into());
    let there = (String::from("p1"), inside(&w, "p1"));
    assert_eq!(w.send("wan", query.clone()), [vec![there], out("wan", asks)].concat());
    let reply = build::arp_reply(router, [203, 0, 113, 9].into(), wan, [203, 0, 113, 2].into());
    w.send("wan", reply);
    apply_without_sweep(&mut w, &attached_to(Some("i-2")));
    assert_eq!(w.send("wan", query), out("p2", inside(&w, "p2")));
    let answer = udp(ADDRESS, "203.0.113.9:9").macs(SERVICE, w.mac("p2")).build();
    let back = udp("198.51.100.53:53", "203.0.113.9:9").macs(wan, router).ttl(63).build();
    assert_eq!(w.send("p2", answer), out("wan", back));
}

#[test]
fn flows_of_an_interface_that_is_detached_end_at_once() {
    let mut w = begin();
    exchange(&mut w, "p1");
    w.send("a", other(&w, 1));
    let query = udp(CLIENT, ADDRESS).macs(A, w.mac("a")).build();
    apply_without_sweep(&mut w, &attached_to(None));
    assert_eq!((w.engine.flow_count(), ended(&w, FlowEnd::Policy)), (1, 1));
    assert_eq!(w.path.len(), 2, "nor has it entries");
    // Its port is one that there is no device for.
    assert_eq!(w.send("a", query), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoDestination));
    w.reload(&attached_to(Some("i-1")));
    exchange(&mut w, "p1");
}

#[test]
fn no_packet_reaches_a_stopped_instance_not_even_over_its_subnets_segment() {
    let running = attached_to(Some("i-1"));
    let stopped =
        running.replace("instance_id = \"i-1\"\n", "instance_id = \"i-1\"\nstate = \"stopped\"\n");
    assert_ne!(running, stopped);
    let mut w = begin();
    exchange(&mut w, "p1");
    apply_without_sweep(&mut w, &stopped);
    assert_eq!(w.engine.flow_count(), 0);
    let query = udp(CLIENT, ADDRESS).macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", query), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoDestination));
    let as_if = udp(ADDRESS, CLIENT).macs(SERVICE, w.mac("lan")).build();
    assert_eq!(w.send("lan", as_if), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    w.reload(&running);
    exchange(&mut w, "p1");
}

#[test]
fn an_interface_on_a_segment_is_followed_to_a_port_of_its_own() {
    let on_segment = attached_to(None).replace("port = \"nowhere\"\n", "");
    let config = EngineConfig { flows: Capacity::of_any(64), adjacencies: 64, seed: 1 };
    let mut w = World::with(config, false, &on_segment, no_functions);
    exchange(&mut w, "lan");
    let neighbour = udp(CLIENT, "10.0.1.99:53").macs(A, w.mac("a")).build();
    w.send("a", neighbour);
    assert_eq!(w.engine.flow_count(), 2);
    apply_without_sweep(&mut w, &attached_to(Some("i-2")));
    assert_eq!(w.engine.flow_count(), 1, "its neighbour on the segment stays");
    exchange(&mut w, "p2");
}

#[test]
fn an_interface_works_again_when_its_port_comes_back() {
    let mut w = begin();
    exchange(&mut w, "p1");
    w.send("a", other(&w, 1));
    w.unplug("p1");
    assert_eq!((w.engine.flow_count(), ended(&w, FlowEnd::PortGone)), (1, 1));
    let query = udp(CLIENT, ADDRESS).macs(A, w.mac("a")).build();
    w.send("a", query);
    assert_eq!(w.fate(), dropped(Drop::NoDestination));
    w.plug("p1");
    exchange(&mut w, "p1");
    assert!(is_accounted(&w));
}

#[test]
fn what_meets_an_old_entry_until_it_is_gone_already_goes_to_the_standby() {
    let mut w = begin();
    exchange(&mut w, "p1");
    let snapshot = snapshot(&w, &attached_to(Some("i-2")));
    let query = udp(CLIENT, ADDRESS).macs(A, w.mac("a")).build();
    let (a, p2) = (w.port("a"), w.port("p2"));
    let World { engine, path, now, .. } = &mut w;
    let mut watched = Watched { path, port: a, frame: query, decisions: Vec::new() };
    engine.apply_snapshot(*now, &snapshot, &mut watched);
    let Watched { decisions, .. } = watched;
    // Before the first of its two entries went, and before the second.
    assert_eq!(decisions, [Decision::Forward(p2), Decision::Punt(Punt::Miss)]);
    // Another interface with the same MAC address may come behind the port: the slot is its own.
    w.reload(&attached_to(Some("i-1")));
    exchange(&mut w, "p1");
}

/// A fast path that a packet comes to whenever an entry is about to be removed.
struct Watched<'a> {
    path: &'a mut SoftFastPath,
    port: PortId,
    frame: Vec<u8>,
    decisions: Vec<Decision>,
}

impl FastPath for Watched<'_> {
    fn remove(&mut self, key: &FlowKey) {
        let decision = self.path.process(self.port, &mut self.frame.clone(), FrameMeta::default());
        self.decisions.push(decision);
        self.path.remove(key);
    }

    fn add_port(&mut self, port: PortId, policy: PortPolicy) {
        self.path.add_port(port, policy);
    }

    fn remove_port(&mut self, port: PortId) {
        self.path.remove_port(port);
    }

    fn set_own_address(&mut self, address: std::net::IpAddr, own: bool) {
        self.path.set_own_address(address, own);
    }

    fn install(&mut self, key: &FlowKey, entry: &Entry) {
        self.path.install(key, entry);
    }

    fn usage(&mut self, key: &FlowKey) -> Option<Usage> {
        self.path.usage(key)
    }

    fn entry(&mut self, key: &FlowKey) -> Option<Entry> {
        FastPath::entry(self.path, key)
    }

    fn set_template(&mut self, class: &Class, template: Option<&Template>) {
        self.path.set_template(class, template);
    }

    fn supply(&mut self, stock: StockId, lots: &[Lot]) -> usize {
        self.path.supply(stock, lots)
    }

    fn in_stock(&mut self, stock: StockId) -> usize {
        self.path.in_stock(stock)
    }

    fn take_back(&mut self, stock: StockId) -> Vec<Lot> {
        self.path.take_back(stock)
    }

    fn set_adjacency(&mut self, slot: AdjacencyId, adjacency: Option<Adjacency>) {
        self.path.set_adjacency(slot, adjacency);
    }

    fn restamp(&mut self, keys: &[FlowKey], generation: Generation) {
        self.path.restamp(keys, generation);
    }

    fn set_fence(&mut self, generation: Generation) {
        self.path.set_fence(generation);
    }

    fn metered(&mut self, meter: MeterId) -> Metered {
        self.path.metered(meter)
    }

    fn transmit(&mut self, frame: Transmit) {
        self.path.transmit(frame);
    }

    fn flush(&mut self) {
        self.path.flush();
    }
}
