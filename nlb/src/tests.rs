//! Load balancers on the engine and the reference fast path: who gets a flow, who keeps it, and
//! what health checks say on the wire.

mod health;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use nf_core::engine::FlowView;
use nf_core::id::FlowId;
use nf_core::packet::build::{Frame, TcpSegment};
use nf_core::packet::headers::Transport;
use nf_core::packet::{Headers, TcpFlags, build};
use nf_core::pipeline::{FlowEnd, Function};
use nf_core::testing::{Fate, World, host_mac};
use nf_core::tuple::Tuple;
use nf_core::verdict::{Drop, Verdict};

use super::{Nlb, TargetState};

/// A VPC with an internet-facing load balancer in front of three instances.
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
    main = true
    route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" }]

    [[subnet]]
    subnet_id = "subnet-public"
    vpc_id = "vpc-1"
    cidr_block = "10.0.0.0/24"
    ipv6_cidr_block = "fd00:a:0:0::/64"

    [[subnet]]
    subnet_id = "subnet-targets"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"

    [[security_group]]
    group_id = "sg-open"
    group_name = "open"
    vpc_id = "vpc-1"
    ingress = [
        { ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" },
        { ip_protocol = "-1", cidr_ipv6 = "::/0" },
    ]

    [[network_interface]]
    network_interface_id = "eni-t1"
    subnet_id = "subnet-targets"
    private_ip_address = "10.0.1.11"
    ipv6_addresses = ["fd00:a:0:1::11"]
    groups = ["sg-open"]
    port = "t1"

    [[network_interface]]
    network_interface_id = "eni-t2"
    subnet_id = "subnet-targets"
    private_ip_address = "10.0.1.12"
    groups = ["sg-open"]
    port = "t2"

    [[network_interface]]
    network_interface_id = "eni-t3"
    subnet_id = "subnet-targets"
    private_ip_address = "10.0.1.13"
    groups = ["sg-open"]
    port = "t3"

    [[network_interface]]
    network_interface_id = "eni-c"
    subnet_id = "subnet-targets"
    private_ip_address = "10.0.1.99"
    ipv6_addresses = ["fd00:a:0:1::99"]
    groups = ["sg-open"]
    port = "c"

    [[address]]
    allocation_id = "eipalloc-lb"
    public_ip = "198.51.100.1"

    [[load_balancer]]
    load_balancer_name = "front"
    scheme = "internet-facing"
    subnet_mapping = [{ subnet_id = "subnet-public", allocation_id = "eipalloc-lb", private_ipv4_address = "10.0.0.50", ipv6_address = "fd00:a::50" }]
    listener = [
        { protocol = "TCP", port = 80, target_group_name = "web" },
        { protocol = "UDP", port = 53, target_group_name = "dns" },
    ]

    [[target_group]]
    target_group_name = "dns"
    protocol = "UDP"
    port = 5353
    vpc_id = "vpc-1"
    target = [{ id = "10.0.1.13" }]
    health_check = { port = 9000, interval_seconds = 10, timeout_seconds = 4 }

    [[target_group]]
    target_group_name = "spare"
    protocol = "TCP"
    port = 1
    vpc_id = "vpc-1"
    target = [{ id = "10.0.1.13" }]

    [[target_group]]
    target_group_name = "web"
    protocol = "TCP"
    port = 8080
    vpc_id = "vpc-1"
    health_check = { interval_seconds = 10, timeout_seconds = 4, healthy_threshold_count = 3, unhealthy_threshold_count = 2 }
"#;

const THREE: &str =
    r#"target = [{ id = "10.0.1.11" }, { id = "10.0.1.12" }, { id = "10.0.1.13" }]"#;
const PUBLIC: &str = "198.51.100.1:80";
const PRIVATE: &str = "10.0.0.50:80";
const STEP: Duration = Duration::from_millis(100);

fn functions(seed: u64) -> Vec<Box<dyn Function>> {
    vec![Box::new(Nlb::new(seed))]
}

fn document(targets: &str) -> String {
    format!("{DOCUMENT}\n{targets}")
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tuple(frame: &[u8]) -> Tuple {
    Headers::parse(frame).unwrap().ip().unwrap().tuple().unwrap()
}

fn tcp_flags(frame: &[u8]) -> TcpFlags {
    match Headers::parse(frame).unwrap().ip().unwrap().transport {
        Transport::Tcp { flags, .. } => flags,
        other => panic!("{other:?}"),
    }
}

/// How a target treats probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Accepts,
    Refuses,
    Silent,
}

/// A world whose targets answer probes as they are told.
struct Bench {
    world: World,
    manners: BTreeMap<&'static str, Manner>,
    probes: u64,
}

impl Bench {
    fn new(targets: &str) -> Self {
        let world = World::among_hosts(&document(targets), functions);
        let manners = ["t1", "t2", "t3"].into_iter().map(|port| (port, Manner::Silent)).collect();
        Self { world, manners, probes: 0 }
    }

    /// Three targets that have passed their first probes.
    fn healthy() -> Self {
        let mut bench = Self::new(THREE);
        bench.set(&["t1", "t2", "t3"], Manner::Accepts);
        bench.pass(15);
        let states = ["healthy"; 3].map(str::to_owned);
        assert_eq!(bench.states("web"), states);
        bench
    }

    fn set(&mut self, ports: &[&'static str], manner: Manner) {
        for port in ports {
            self.manners.insert(port, manner);
        }
    }

    /// Time goes by; targets answer within a step.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            for (port, frame) in self.world.pass(STEP) {
                self.take_probe(&port, &frame);
            }
        }
    }

    fn take_probe(&mut self, port: &str, frame: &[u8]) {
        assert_eq!(tcp_flags(frame), TcpFlags::SYN, "nothing but probes leaves by itself");
        self.probes += 1;
        let Tuple { src, dst, .. } = tuple(frame);
        let Transport::Tcp { seq, .. } = Headers::parse(frame).unwrap().ip().unwrap().transport
        else {
            unreachable!()
        };
        let answer = Frame::tcp(dst, src).seq(7).ack(seq.wrapping_add(1));
        match self.manners[port] {
            Manner::Silent => {}
            Manner::Accepts => {
                let answer = answer.flags(TcpFlags::SYN | TcpFlags::ACK);
                let sent = self.world.send(port, answer.build());
                assert_eq!((sent.len(), sent[0].0.as_str()), (1, port));
                assert_eq!(tcp_flags(&sent[0].1), TcpFlags::RST);
            }
            Manner::Refuses => {
                let answer = answer.flags(TcpFlags::RST | TcpFlags::ACK);
                assert_eq!(self.world.send(port, answer.build()), []);
            }
        }
    }

    fn targets(&self, group: &str) -> Vec<super::TargetView> {
        let nlb: &Nlb = self.world.engine.function_as().unwrap();
        let all = nlb.targets().into_iter();
        all.filter(|it| it.group == group.parse().unwrap()).collect()
    }

    fn states(&self, group: &str) -> Vec<String> {
        self.targets(group).iter().map(|it| it.state.as_str().to_owned()).collect()
    }

    fn state(&self, target: &str) -> TargetState {
        self.targets("web").iter().find(|it| it.target == at(target)).unwrap().state
    }

    /// A client outside opens a connection from port `n`; where its SYN goes.
    fn open(&mut self, n: u16) -> Option<String> {
        let sent = self.world.send("wan", syn(n).build());
        let [(port, frame)] = &sent[..] else {
            assert!(sent.is_empty(), "{sent:?}");
            return None;
        };
        assert_eq!(tuple(frame).src, client(n), "the client's address is kept");
        assert_eq!(tuple(frame).dst.port(), 8080);
        Some(port.clone())
    }

    /// How many of `count` new connections each target gets.
    fn shares(&mut self, from: u16, count: u16) -> BTreeMap<String, u16> {
        let mut shares = BTreeMap::new();
        for n in from..from + count {
            *shares.entry(self.open(n).unwrap()).or_default() += 1;
        }
        shares
    }

    fn flows(&mut self) -> Vec<FlowView> {
        let World { engine, path, .. } = &mut self.world;
        engine.list_flows(FlowId(0), usize::MAX, path).0
    }

    fn reload(&mut self, targets: &str) {
        for frame in self.world.reload(&document(targets)) {
            let port = self.world.name_of(frame.port).unwrap().to_owned();
            self.take_probe(&port, &frame.frame);
        }
    }
}

fn client(n: u16) -> SocketAddr {
    ([192, 0, 2, 9], n).into()
}

fn syn(n: u16) -> Frame<TcpSegment> {
    Frame::tcp(client(n), at(PUBLIC)).flags(TcpFlags::SYN).seq(u32::from(n) * 1000)
}

fn dropped(reason: Drop) -> Fate {
    Fate::Slow(Verdict::Dropped(reason))
}

// === Forwarding ===

#[test]
fn a_connection_goes_to_one_target_and_its_answers_come_from_the_load_balancer() {
    let mut b = Bench::healthy();
    let target = b.open(1).unwrap();
    let ip = at(&format!("10.0.1.1{}:8080", &target[1..]));
    let answer = Frame::tcp(ip, client(1)).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    let back = Frame::tcp(at(PUBLIC), client(1))
        .flags(TcpFlags::SYN | TcpFlags::ACK)
        .ttl(63)
        .macs(b.world.mac("wan"), host_mac([203, 0, 113, 1].into()));
    assert_eq!(b.world.send(&target, answer), [("wan".to_owned(), back.build())]);
    let data = Frame::tcp(client(1), at(PUBLIC)).payload(*b"GET /").build();
    let there = Frame::tcp(client(1), ip)
        .payload(*b"GET /")
        .ttl(63)
        .macs(b.world.mac(&target), host_mac(ip.ip()));
    assert_eq!(b.world.send("wan", data), [(target, there.build())]);
    assert!(matches!(b.world.fate(), Fate::Fast(_)));
}

#[test]
fn a_client_inside_the_vpc_uses_the_private_address() {
    let mut b = Bench::healthy();
    let client = at("10.0.1.99:4000");
    let open = Frame::tcp(client, at(PRIVATE)).flags(TcpFlags::SYN).build();
    let sent = b.world.send("c", open);
    let Tuple { src, dst, .. } = tuple(&sent[0].1);
    assert_eq!((src, dst.port()), (client, 8080));
    let answer = Frame::tcp(dst, src).flags(TcpFlags::SYN | TcpFlags::ACK).build();
    let back = b.world.send(&sent[0].0, answer);
    assert_eq!((back[0].0.as_str(), tuple(&back[0].1).src), ("c", at(PRIVATE)));
}

#[test]
fn only_what_a_listener_listens_on_is_taken() {
    let mut b = Bench::healthy();
    let from = client(1);
    let udp = |to: &str| Frame::udp(from, at(to)).payload(*b"?").build();
    let tcp = |to: &str| Frame::tcp(from, at(to)).flags(TcpFlags::SYN).build();
    let sent = b.world.send("wan", udp("198.51.100.1:53"));
    assert_eq!((sent[0].0.as_str(), tuple(&sent[0].1).dst), ("t3", at("10.0.1.13:5353")));
    let ping = Frame::echo_request(from.ip(), at(PUBLIC).ip(), 1, 1).build();
    for frame in [tcp("198.51.100.1:81"), udp("198.51.100.1:80"), tcp("198.51.100.1:53"), ping] {
        assert_eq!(b.world.send("wan", frame), []);
        assert_eq!(b.world.fate(), dropped(Drop::NoListener));
    }
}

#[test]
fn a_late_packet_gets_a_reset() {
    let mut b = Bench::healthy();
    let late = Frame::tcp(client(1), at(PUBLIC)).seq(5).ack(9).build();
    let sent = b.world.send("wan", late);
    assert_eq!((sent.len(), sent[0].0.as_str()), (1, "wan"));
    assert_eq!((tcp_flags(&sent[0].1), tuple(&sent[0].1).dst), (TcpFlags::RST, client(1)));
    assert_eq!(b.world.fate(), dropped(Drop::NoFlow));
}

#[test]
fn a_repeated_syn_stays_and_a_new_connection_may_go_elsewhere() {
    let mut b = Bench::healthy();
    let first = b.open(1);
    assert_eq!(b.open(1), first);
    assert_eq!(b.flows().len(), 1);
    // Without a flow: the same packet is hashed alike, one of another connection is not.
    let mut targets = BTreeSet::new();
    for sequence in 0..50 {
        b.world.pass(Duration::from_secs(40));
        assert_eq!(b.flows().len(), 0, "unanswered for 30 s");
        let sent = b.world.send("wan", syn(1).seq(sequence).build());
        targets.insert(sent[0].0.clone());
    }
    assert_eq!(targets.len(), 3);
}

#[test]
fn flows_spread_by_weight_and_a_target_of_weight_zero_gets_none() {
    let mut b = Bench::new(
        r#"target = [{ id = "10.0.1.11", weight = 1 }, { id = "10.0.1.12", weight = 3 }, { id = "10.0.1.13", weight = 0 }]"#,
    );
    b.set(&["t1", "t2", "t3"], Manner::Accepts);
    b.pass(1);
    let shares = b.shares(1, 2000);
    assert_eq!(shares.len(), 2);
    // A quarter of 2,000 has a deviation of 19; five of them either way.
    assert!(shares["t1"].abs_diff(500) < 97, "{shares:?}");
}

#[test]
fn a_group_without_targets_refuses() {
    let mut b = Bench::new("");
    assert_eq!(b.open(1), None);
    assert_eq!(b.world.fate(), dropped(Drop::NoTarget));
    let mut b = Bench::new(r#"target = [{ id = "10.0.1.11", weight = 0 }]"#);
    assert_eq!(b.open(1), None);
    assert_eq!(b.world.fate(), dropped(Drop::NoTarget));
}

#[test]
fn a_client_that_is_a_target_is_never_sent_to_itself() {
    // Heavy as it is, the table names the client itself nine times in ten.
    let mut b = Bench::new(
        r#"target = [{ id = "10.0.1.11", weight = 900 }, { id = "10.0.1.12", weight = 100 }]"#,
    );
    for n in 1..=500 {
        let open = Frame::tcp(([10, 0, 1, 11], n), at(PRIVATE)).flags(TcpFlags::SYN).build();
        let sent = b.world.send("t1", open);
        assert_eq!((sent.len(), sent[0].0.as_str()), (1, "t2"), "connection {n}");
    }
    let mut alone = Bench::new(r#"target = [{ id = "10.0.1.11" }]"#);
    let open = Frame::tcp(([10, 0, 1, 11], 1), at(PRIVATE)).flags(TcpFlags::SYN).build();
    assert_eq!(alone.world.send("t1", open), []);
    assert_eq!(alone.world.fate(), dropped(Drop::NoTarget));
}

#[test]
fn a_client_gets_a_target_of_its_own_family() {
    let mut b = Bench::new(
        r#"target = [{ id = "10.0.1.12", weight = 900 }, { id = "fd00:a:0:1::11", weight = 1 }]"#,
    );
    for n in 1..=100 {
        let client = SocketAddr::new(at("[fd00:a:0:1::99]:1").ip(), n);
        let open = Frame::tcp(client, at("[fd00:a::50]:80")).flags(TcpFlags::SYN).build();
        let sent = b.world.send("c", open);
        assert_eq!((sent.len(), sent[0].0.as_str()), (1, "t1"), "connection {n}");
    }
    assert_eq!(b.open(1).unwrap(), "t2");
}

#[test]
fn two_ways_to_one_target_with_one_client_port_are_the_first_ones() {
    let mut b = Bench::new(r#"target = [{ id = "10.0.1.11" }]"#);
    let client = at("10.0.1.99:4000");
    let direct = Frame::tcp(client, at("10.0.1.11:8080")).flags(TcpFlags::SYN).build();
    assert_eq!(b.world.send("c", direct).len(), 1);
    let balanced = Frame::tcp(client, at(PRIVATE)).flags(TcpFlags::SYN).build();
    assert_eq!(b.world.send("c", balanced), []);
    assert_eq!(b.world.fate(), dropped(Drop::TupleInUse));
    assert_eq!(b.targets("web")[0].active_flows, 0, "what was claimed is given back");
}

// === Life of a flow ===

#[test]
fn flows_are_counted_for_their_target_until_they_end() {
    let mut b = Bench::healthy();
    for n in 1..=30 {
        b.open(n).unwrap();
    }
    let counts = |b: &Bench| -> (u64, u64) {
        let targets = b.targets("web");
        let active = targets.iter().map(|it| it.active_flows).sum();
        (active, targets.iter().map(|it| it.flows_total).sum())
    };
    assert_eq!(counts(&b), (30, 30));
    b.world.pass(Duration::from_secs(31));
    assert_eq!(counts(&b), (0, 30));
}

#[test]
fn a_listeners_idle_time_holds_and_an_unanswered_syn_is_forgotten_after_30_seconds() {
    let mut b = Bench::new(r#"target = [{ id = "10.0.1.11" }]"#);
    let answer = |n| {
        Frame::tcp(at("10.0.1.11:8080"), client(n)).flags(TcpFlags::SYN | TcpFlags::ACK).build()
    };
    b.open(1).unwrap();
    b.open(2).unwrap();
    b.world.send("t1", answer(1));
    b.world.send("wan", Frame::tcp(client(1), at(PUBLIC)).build());
    b.world.pass(Duration::from_millis(29_900));
    assert_eq!(b.flows().len(), 2);
    b.world.pass(Duration::from_millis(500));
    assert_eq!(b.flows().len(), 1);
    b.world.pass(Duration::from_secs(319));
    assert_eq!(b.flows().len(), 1);
    b.world.pass(Duration::from_secs(2));
    assert_eq!(b.flows().len(), 0);
}

#[test]
fn a_deregistered_target_loses_its_flows_and_no_other_does() {
    let mut b = Bench::healthy();
    for n in 1..=60 {
        b.open(n).unwrap();
    }
    let on = |b: &mut Bench, ip: &str| {
        let ip = at(&format!("{ip}:8080"));
        b.flows().iter().filter(|it| it.flow.reverse.tuple.src == ip).count()
    };
    let (second, third) = (on(&mut b, "10.0.1.12"), on(&mut b, "10.0.1.13"));
    b.reload(r#"target = [{ id = "10.0.1.12" }, { id = "10.0.1.13" }]"#);
    assert_eq!(on(&mut b, "10.0.1.11"), 0);
    assert_eq!((on(&mut b, "10.0.1.12"), on(&mut b, "10.0.1.13")), (second, third));
    let ended = b.world.engine.counters().flows_ended[FlowEnd::Policy as usize];
    assert_eq!(ended as usize, 60 - second - third);
}

#[test]
fn a_target_of_weight_zero_keeps_the_flows_it_has() {
    let mut b = Bench::healthy();
    let before = b.shares(1, 60);
    b.reload(
        r#"target = [{ id = "10.0.1.11", weight = 0 }, { id = "10.0.1.12" }, { id = "10.0.1.13" }]"#,
    );
    assert_eq!(b.shares(1, 60), before, "every flow is where it was");
    assert!(!b.shares(1000, 60).contains_key("t1"));
}

#[test]
fn a_new_process_leaves_every_flow_with_its_target() {
    let mut b = Bench::healthy();
    let before = b.shares(1, 60);
    assert_eq!(b.world.restart(), 60);
    b.pass(1);
    assert_eq!(b.shares(1, 60), before);
    let active: u64 = b.targets("web").iter().map(|it| it.active_flows).sum();
    assert_eq!(active, 60);
}
