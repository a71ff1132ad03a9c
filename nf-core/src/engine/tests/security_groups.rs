//! Security groups on a packet's way: who is let through, what is counted of the others, and which
//! flows outlive the rules that let them in.

use std::time::Duration;

use super::*;
use crate::engine::Rejected;
use crate::flow::{Phase, Tracking};

/// Two instances, each in groups of its own, and a way out. Lines that begin with `#` and a name are
/// where [`with`] puts rules.
const NETWORK: &str = r#"
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
    route_table_id = "rtb-main"
    vpc_id = "vpc-1"
    main = true
    route = [{ destination_cidr_block = "0.0.0.0/0", gateway_id = "igw-1" }]

    [[subnet]]
    subnet_id = "subnet-1"
    vpc_id = "vpc-1"
    cidr_block = "10.0.1.0/24"
    ipv6_cidr_block = "fd00:a:0:1::/64"

    [[network_interface]]
    network_interface_id = "eni-a"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.10"
    ipv6_addresses = ["fd00:a:0:1::10"]
    mac_address = "02:00:00:00:00:0a"
    groups = ["sg-a"]
    port = "a"

    [[network_interface]]
    network_interface_id = "eni-b"
    subnet_id = "subnet-1"
    private_ip_address = "10.0.1.11"
    ipv6_addresses = ["fd00:a:0:1::11"]
    mac_address = "02:00:00:00:00:0b"
    groups = ["sg-b", "sg-extra"]
    port = "b"

    [[address]]
    allocation_id = "eipalloc-b"
    public_ip = "198.51.100.11"
    network_interface_id = "eni-b"

    [[security_group]]
    group_id = "sg-extra"
    group_name = "extra"
    vpc_id = "vpc-1"
    egress = []
"#;

/// Everything from anybody.
const OPEN: &str = r#"{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }"#;
/// DNS from the other instance alone.
const DNS: &str =
    r#"{ ip_protocol = "udp", from_port = 53, to_port = 53, cidr_ipv4 = "10.0.1.10/32" }"#;
/// HTTP from the VPC, in both families, and echo requests.
const WEB: &str = r#"
    { ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv4 = "10.0.0.0/16" },
    { ip_protocol = "tcp", from_port = 80, to_port = 80, cidr_ipv6 = "fd00:a::/56" },
    { ip_protocol = "icmp", from_port = 8, to_port = -1, cidr_ipv4 = "10.0.0.0/16" }"#;

/// The network with these rules: `a` may send what the first allow, `b` receive what the second do.
/// Of what they leave out, `a` receives nothing, and `b` sends whatever it likes.
fn with(egress_a: &str, ingress_b: &str) -> String {
    format!(
        "{NETWORK}\n[[security_group]]\ngroup_id = \"sg-a\"\ngroup_name = \"a\"\n\
         vpc_id = \"vpc-1\"\negress = [{egress_a}]\n\
         [[security_group]]\ngroup_id = \"sg-b\"\ngroup_name = \"b\"\nvpc_id = \"vpc-1\"\n\
         ingress = [{ingress_b}]\n"
    )
}

fn begin(egress_a: &str, ingress_b: &str) -> World {
    World::new(&with(egress_a, ingress_b), no_functions)
}

const CLIENT: &str = "10.0.1.10:4000";
const SERVER: &str = "10.0.1.11:53";

/// A query of `a`; whether it got to `b`.
fn asks(w: &mut World, client: &str) -> bool {
    !w.send("a", udp(client, SERVER).macs(A, HOST).build()).is_empty()
}

/// Whether `b`'s answer gets to `a`.
fn answers(w: &mut World, client: &str) -> bool {
    !w.send("b", udp(SERVER, client).macs(B, HOST).build()).is_empty()
}

fn rejected(w: &World, group: &str) -> Option<Rejected> {
    w.engine.rejected_by_groups().find(|(id, _)| id.to_string() == group).map(|(_, it)| *it)
}

#[test]
fn what_no_group_allows_is_dropped_and_counted_for_each_group_that_was_asked() {
    let mut w = begin(OPEN, WEB);
    assert!(!asks(&mut w, CLIENT));
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    let incoming = |n| Some(Rejected { ingress: n, egress: 0 });
    assert_eq!(rejected(&w, "sg-b"), incoming(1));
    assert_eq!(rejected(&w, "sg-extra"), incoming(1));
    assert_eq!(rejected(&w, "sg-a"), incoming(0), "it let the packet out");
    assert_eq!(w.engine.flow_count(), 0);

    // Nothing may go out of `a`: the groups of `b` are not asked.
    w.reload(&with("", WEB));
    assert!(!asks(&mut w, CLIENT));
    assert_eq!(rejected(&w, "sg-a"), Some(Rejected { ingress: 0, egress: 1 }));
    assert_eq!(rejected(&w, "sg-b"), incoming(1), "what was counted goes on");
    assert!(is_accounted(&w));
}

#[test]
fn a_group_that_is_removed_takes_its_count_along() {
    let mut w = begin(OPEN, WEB);
    asks(&mut w, CLIENT);
    let only = with(OPEN, WEB).replace("[\"sg-b\", \"sg-extra\"]", "[\"sg-b\"]");
    let section = only.find("    [[security_group]]\n    group_id = \"sg-extra\"").unwrap();
    let end = only[section..].find("egress = []\n").unwrap() + section + "egress = []\n".len();
    let without = format!("{}{}", &only[..section], &only[end..]);
    w.reload(&without);
    assert_eq!(rejected(&w, "sg-extra"), None);
    assert_eq!(rejected(&w, "sg-b"), Some(Rejected { ingress: 1, egress: 0 }));
    w.reload(&with(OPEN, WEB));
    assert_eq!(rejected(&w, "sg-extra"), Some(Rejected::default()));
}

#[test]
fn a_super_packet_that_is_rejected_counts_as_its_segments() {
    use crate::fast_path::soft::FrameMeta;

    let mut w = begin(OPEN, WEB);
    let frame = tcp(CLIENT, "10.0.1.11:81").macs(A, HOST).payload([7; 3000]).build();
    let meta = FrameMeta { segment_size: 1400, ..FrameMeta::default() };
    w.deliver(w.port("a"), frame, meta);
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    assert_eq!(rejected(&w, "sg-b"), Some(Rejected { ingress: 3, egress: 0 }));
}

#[test]
fn answers_need_no_rule_in_either_family_and_protocol() {
    let mut w = begin(WEB, WEB);
    for (client, server) in
        [(CLIENT, "10.0.1.11:80"), ("[fd00:a:0:1::10]:4000", "[fd00:a:0:1::11]:80")]
    {
        assert_eq!(w.send("a", tcp(client, server).flags(SYN).macs(A, HOST).build()).len(), 1);
        let back = tcp(server, client).flags(SYN_ACK).macs(B, HOST).build();
        assert_eq!(w.send("b", back).len(), 1);
        // The other way round it would be a connection of its own, which `a` lets nobody open.
        let opens = tcp(server, "10.0.1.10:80").flags(SYN).macs(B, HOST).build();
        if !server.starts_with('[') {
            assert_eq!(w.send("b", opens), nothing());
            assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
        }
    }
    assert_eq!(w.send("a", ping("10.0.1.10", "10.0.1.11", 7).macs(A, HOST).build()).len(), 1);
    assert_eq!(w.send("b", ping("10.0.1.11", "10.0.1.10", 8).macs(B, HOST).build()), nothing());
    assert_eq!(rejected(&w, "sg-a"), Some(Rejected { ingress: 2, egress: 0 }));
}

#[test]
fn what_comes_from_outside_is_asked_about_under_the_private_address() {
    let outside =
        r#"{ ip_protocol = "udp", from_port = 53, to_port = 53, cidr_ipv4 = "203.0.113.8/29" }"#;
    let mut w = begin(OPEN, outside);
    let to = |src| udp(src, "198.51.100.11:53").build();
    w.send("wan", to("203.0.113.9:9"));
    assert_eq!(w.fate(), FORWARDED);
    w.send("wan", to("203.0.113.16:9"));
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    w.send("wan", udp("203.0.113.9:9", "198.51.100.11:54").build());
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
}

#[test]
fn a_tracked_flow_outlives_its_rule_until_it_is_idle_for_too_long() {
    let mut w = begin(OPEN, DNS);
    assert!(asks(&mut w, CLIENT) && answers(&mut w, CLIENT));
    assert!(only_flow(&mut w).flow.tracking.destination);
    w.reload(&with(OPEN, ""));
    assert!(asks(&mut w, CLIENT) && answers(&mut w, CLIENT));
    assert!(was_fast(&w, "a"), "nobody was asked");
    assert!(!asks(&mut w, "10.0.1.10:4001"), "a new flow");
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    // Answered again, it is a stream by now.
    assert_eq!(only_flow(&mut w).phase, Phase::Stream);
    w.pass(Duration::from_secs(179));
    assert!(asks(&mut w, CLIENT));
    w.pass(Duration::from_secs(181));
    assert!(!asks(&mut w, CLIENT));
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    assert!(is_accounted(&w));
}

#[test]
fn an_untracked_flow_ends_with_the_rule_that_let_it_in() {
    let open_in = format!("{OPEN}, {DNS}");
    let mut w = begin(OPEN, &open_in);
    assert!(asks(&mut w, CLIENT) && answers(&mut w, CLIENT));
    // Others than DNS are let in by the open rule alone.
    let other = udp(CLIENT, "10.0.1.11:99").macs(A, HOST).build();
    w.send("a", other.clone());
    assert_eq!(w.engine.flow_count(), 2);
    w.reload(&with(OPEN, DNS));
    assert_eq!((w.engine.flow_count(), ended(&w, FlowEnd::Policy)), (1, 1));
    assert_eq!(w.send("a", other), nothing());
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    // The rule that is left tracks, so that the flow it lets in outlives it from now on.
    assert!(only_flow(&mut w).flow.tracking.destination);
    w.reload(&with(OPEN, ""));
    assert!(asks(&mut w, CLIENT) && answers(&mut w, CLIENT));
}

#[test]
fn each_end_of_a_flow_is_tracked_or_not_for_itself() {
    // `a` lets everything out but nothing in, so it has to remember; `b` is open both ways.
    let mut w = begin(OPEN, OPEN);
    assert!(asks(&mut w, CLIENT));
    let flow = only_flow(&mut w).flow;
    assert_eq!(flow.tracking, Tracking { source: true, destination: false });
    for key in [flow.forward, flow.reverse] {
        assert_eq!(w.path.entry(&key).unwrap().tracking, flow.tracking);
    }
    w.reload(&with("", OPEN));
    assert!(asks(&mut w, CLIENT), "the source goes by what it remembers");
    w.reload(&with("", WEB));
    assert!(!asks(&mut w, CLIENT), "the destination does not");
}

#[test]
fn other_groups_on_an_interface_are_other_rules() {
    let groups = "groups = [\"sg-b\", \"sg-extra\"]";
    for (rules, outlives) in [(OPEN, false), (DNS, true)] {
        let mut w = begin(OPEN, rules);
        assert!(asks(&mut w, CLIENT));
        let document = with(OPEN, rules).replace(groups, "groups = [\"sg-extra\"]");
        w.reload(&document);
        assert_eq!(asks(&mut w, CLIENT), outlives, "{rules}");
        assert!(!asks(&mut w, "10.0.1.10:4001"), "a new flow under {rules}");
    }
}

#[test]
fn a_new_process_knows_what_is_tracked() {
    for (rules, outlives) in [(OPEN, false), (DNS, true)] {
        let mut w = begin(OPEN, rules);
        assert!(asks(&mut w, CLIENT));
        let before = only_flow(&mut w).flow.tracking;
        assert_eq!(w.restart(), 1);
        assert_eq!(only_flow(&mut w).flow.tracking, before);
        w.reload(&with(OPEN, ""));
        assert_eq!(asks(&mut w, CLIENT), outlives, "{rules}");
        // It is taken over by a process that has never seen the rule.
        if outlives {
            assert_eq!(w.restart(), 1);
            assert!(asks(&mut w, CLIENT) && was_fast(&w, "b"));
        }
    }
}

#[test]
fn idle_times_are_those_of_the_interface_at_the_source_or_else_at_the_destination() {
    let tracking = |seconds| {
        format!("connection_tracking = {{ udp_timeout = {seconds}, udp_stream_timeout = 99 }}")
    };
    let with_times = |interface: &str, seconds| {
        let mac = format!("mac_address = \"02:00:00:00:00:0{interface}\"");
        move |text: &str| text.replace(&mac, &format!("{mac}\n    {}", tracking(seconds)))
    };
    let document = with(OPEN, OPEN);
    let document = with_times("b", 50)(&with_times("a", 40)(&document));
    let mut w = World::new(&document, no_functions);
    assert!(asks(&mut w, CLIENT));
    w.send("wan", udp("203.0.113.9:9", "198.51.100.11:53").build());
    w.pass(Duration::from_secs(39));
    assert_eq!(w.engine.flow_count(), 2);
    w.pass(Duration::from_secs(2));
    assert_eq!(w.engine.flow_count(), 1, "from `a`: 40 s");
    w.pass(Duration::from_secs(8));
    assert_eq!(w.engine.flow_count(), 1);
    w.pass(Duration::from_secs(2));
    assert_eq!(w.engine.flow_count(), 0, "to `b`: 50 s");
}
