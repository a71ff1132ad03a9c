//! A gateway whose mapping is endpoint-independent: one address and port for all of a host's, whom
//! that lets in, and how clients of one gateway reach each other.

use std::time::Duration;

use nf_core::fast_path::Metered;
use nf_core::packet::TcpFlags;

use super::*;

/// With a second instance, and groups that let in everything.
fn document(keys: &str) -> String {
    let open = "ipv6_addresses = [\"fd00:a:0:1::10\"]\n    groups = [\"sg-open\"]";
    let document = DOCUMENT.replace("ipv6_addresses = [\"fd00:a:0:1::10\"]", open);
    assert_ne!(document, DOCUMENT);
    format!(
        r#"{document}
    mapping = "endpoint-independent"
    port_range = [5000, 5999]
    {keys}

    [[network_interface]]
    network_interface_id = "eni-j"
    subnet_id = "subnet-private"
    private_ip_address = "10.0.1.11"
    port = "j"
    groups = ["sg-open"]

    [[security_group]]
    group_id = "sg-open"
    group_name = "open"
    vpc_id = "vpc-1"
    egress = [
        {{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }},
        {{ ip_protocol = "-1", cidr_ipv6 = "::/0" }},
    ]
    ingress = [
        {{ ip_protocol = "-1", cidr_ipv4 = "0.0.0.0/0" }},
        {{ ip_protocol = "-1", cidr_ipv6 = "::/0" }},
    ]
    "#
    )
}

const OPEN: &str = r#"filtering = "endpoint-independent""#;

fn world(keys: &str) -> World {
    World::among_hosts(&document(keys), functions)
}

/// Where a datagram from `src` to `dst`, sent by `port`, comes out, and between which addresses.
fn pass(w: &mut World, port: &str, src: &str, dst: &str) -> Option<(String, String, String)> {
    let sent = w.send(port, Frame::udp(at(src), at(dst)).payload(*b"hello").build());
    let [(out, frame)] = &sent[..] else {
        assert!(sent.is_empty(), "{sent:?}");
        return None;
    };
    let tuple = Headers::parse(frame).unwrap().ip().unwrap().tuple().unwrap();
    Some((out.clone(), tuple.src.to_string(), tuple.dst.to_string()))
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with may be nothing")]
fn outcome(port: &str, src: &str, dst: &str) -> Option<(String, String, String)> {
    Some((port.to_owned(), src.to_owned(), dst.to_owned()))
}

/// What a host inside is seen as when it sends to `dst`.
fn seen_as(w: &mut World, port: &str, src: &str, dst: &str) -> String {
    let (out, seen, to) = pass(w, port, src, dst).unwrap();
    assert_eq!((&*out, &*to), ("wan", dst));
    seen
}

#[test]
fn a_socket_is_seen_as_one_address_and_port_by_everybody_and_no_other_socket_is() {
    let mut w = world("");
    let first = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    for dst in ["192.0.2.1:54", "192.0.2.2:53", "192.0.2.200:9"] {
        assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", dst), first);
    }
    let mut all = std::collections::HashSet::from([first]);
    for n in 4001..4100 {
        let src = format!("10.0.1.10:{n}");
        assert!(all.insert(seen_as(&mut w, "i", &src, "192.0.2.1:53")), "{src} has another's port");
    }
    for dst in ["192.0.2.1:53", "192.0.2.2:53"] {
        all.insert(seen_as(&mut w, "j", "10.0.1.11:4000", dst));
    }
    assert_eq!(all.len(), 101);
    let (leases, mappings) = (usage(&w).leases, usage(&w).mappings);
    assert_eq!((leases, mappings, usage(&w).clients, usage(&w).flows_total), (101, 101, 2, 105));
}

#[test]
fn address_dependent_filtering_lets_in_whom_the_mapping_has_sent_to_by_any_port() {
    let mut w = world("");
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    let came_in = pass(&mut w, "wan", "192.0.2.1:7777", &seen);
    assert_eq!(came_in, outcome("i", "192.0.2.1:7777", "10.0.1.10:4000"));
    // And its answer goes out as what it was sent to.
    let answer = pass(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:7777");
    assert_eq!(answer, outcome("wan", &seen, "192.0.2.1:7777"));
    assert_eq!(pass(&mut w, "wan", "192.0.2.2:53", &seen), None);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.2:9");
    let came_in = pass(&mut w, "wan", "192.0.2.2:53", &seen);
    assert_eq!(came_in, outcome("i", "192.0.2.2:53", "10.0.1.10:4000"));
}

#[test]
fn endpoint_independent_filtering_lets_in_anybody_while_there_is_a_mapping() {
    let mut w = world(OPEN);
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    let came_in = pass(&mut w, "wan", "198.18.0.9:1", &seen);
    assert_eq!(came_in, outcome("i", "198.18.0.9:1", "10.0.1.10:4000"));
    let tcp = Frame::tcp(at("198.18.0.9:1"), at(&seen)).flags(TcpFlags::SYN);
    assert_eq!(w.send("wan", tcp.build()), [], "the mapping is one of UDP");
    let other = if seen.ends_with(":5000") { "198.51.100.1:5001" } else { "198.51.100.1:5000" };
    assert_eq!(pass(&mut w, "wan", "198.18.0.9:1", other), None, "nobody's port");
    // Both flows idle: the mapping is over, and its port rests.
    w.pass(Duration::from_secs(121));
    assert_eq!((usage(&w).mappings, usage(&w).leases, usage(&w).quarantined), (0, 0, 1));
    assert_eq!(pass(&mut w, "wan", "198.18.0.9:1", &seen), None);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}

#[test]
fn a_security_group_is_asked_about_who_comes_in() {
    let closed = document(OPEN).replace(
        "ingress = [\n        { ip_protocol = \"-1\", cidr_ipv4 = \"0.0.0.0/0\" }",
        "ingress = [\n        { ip_protocol = \"-1\", cidr_ipv4 = \"198.18.0.0/16\" }",
    );
    let mut w = World::among_hosts(&closed, functions);
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    assert_eq!(pass(&mut w, "wan", "192.0.2.9:1", &seen), None);
    assert_eq!(w.fate(), dropped(Drop::SecurityGroup));
    assert!(pass(&mut w, "wan", "198.18.0.9:1", &seen).is_some());
    assert_eq!(w.engine.flow_count(), 2);
}

#[test]
fn a_connection_from_outside_begins_with_a_syn_and_nothing_is_answered_for_the_host() {
    let mut w = world(OPEN);
    let out = tcp(4000, SERVER).flags(TcpFlags::SYN).build();
    let (seen, _) = send_out(&mut w, out).unwrap();
    let stranger = at("198.18.0.9:1");
    let late = Frame::tcp(stranger, seen).flags(TcpFlags::ACK).build();
    assert_eq!(w.send("wan", late), []);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    let syn = Frame::tcp(stranger, seen).flags(TcpFlags::SYN).mss(1460);
    let (host, gateway) = inside(&w);
    let came_in = Frame::tcp(stranger, ([10, 0, 1, 10], 4000)).flags(TcpFlags::SYN).mss(1460);
    let came_in = came_in.ttl(63).macs(gateway, host).build();
    assert_eq!(w.send("wan", syn.build()), [("i".to_owned(), came_in)]);
}

#[test]
fn nobody_outside_pings_a_host_by_its_mapping() {
    let mut w = world(OPEN);
    let ping = Frame::echo_request([10, 0, 1, 10], [192, 0, 2, 1], 77, 1).build();
    let (seen, _) = send_out(&mut w, ping).unwrap();
    for id in [77, seen.port()] {
        let ping = Frame::echo_request([192, 0, 2, 1], seen.ip(), id, 1).build();
        assert_eq!(w.send("wan", ping), []);
        let reply = Frame::echo_reply([192, 0, 2, 2], seen.ip(), id, 1).build();
        assert_eq!(w.send("wan", reply), [], "nor answers what was not asked");
        assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    }
}

#[test]
fn clients_of_a_gateway_reach_each_other_by_what_they_are_seen_as() {
    let mut w = world(OPEN);
    let i = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    let j = seen_as(&mut w, "j", "10.0.1.11:4000", "192.0.2.1:53");
    // The source is the one outside: RFC 4787 REQ-9a.
    let hairpinned = pass(&mut w, "i", "10.0.1.10:4000", &j);
    assert_eq!(hairpinned, outcome("j", &i, "10.0.1.11:4000"));
    let answer = pass(&mut w, "j", "10.0.1.11:4000", &i);
    assert_eq!(answer, outcome("i", &j, "10.0.1.10:4000"));
    assert_eq!(w.fate(), Fate::Fast(nf_core::fast_path::soft::Decision::Forward(w.port("i"))));
    // One that has not sent anywhere else gets its mapping by that.
    let (out, seen, to) = pass(&mut w, "i", "10.0.1.10:4001", &j).unwrap();
    assert_eq!((&*out, &*to), ("j", "10.0.1.11:4000"));
    assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4001", "192.0.2.1:53"), seen);
}

#[test]
fn hairpinning_is_filtered_like_everything_else_and_leaves_nothing_behind_if_it_fails() {
    let mut w = world("");
    let j = seen_as(&mut w, "j", "10.0.1.11:4000", "192.0.2.1:53");
    let before = usage(&w);
    assert_eq!(pass(&mut w, "i", "10.0.1.10:4000", &j), None);
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    let refused = Metered { packets: 1, bytes: 33 };
    assert_eq!(usage(&w), RealmUsage { dropped_from_source: refused, ..before });
    // Once the other has sent to that address, it may.
    let i = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    assert_eq!(pass(&mut w, "j", "10.0.1.11:4000", &i), None, "nor has this one been sent to");
    let hairpinned = pass(&mut w, "i", "10.0.1.10:4000", &j);
    assert_eq!(hairpinned, None);
    assert_eq!(w.engine.flow_count(), 2);
}

#[test]
fn a_host_that_sends_to_itself_by_what_it_is_seen_as_is_told_nothing_and_holds_nothing() {
    let mut w = world(OPEN);
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    let before = (usage(&w).leases, usage(&w).mappings);
    assert_eq!(pass(&mut w, "i", "10.0.1.10:4000", &seen), None);
    assert_eq!(w.fate(), dropped(Drop::TupleInUse));
    assert_eq!((usage(&w).leases, usage(&w).mappings), before);
}

#[test]
fn a_mapping_lives_as_long_as_any_of_its_flows() {
    let mut w = world("");
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.2:53");
    for _ in 0..4 {
        w.pass(Duration::from_secs(100));
        assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.2:53"), seen);
    }
    assert_eq!(w.engine.flow_count(), 1);
    assert_eq!(pass(&mut w, "wan", "192.0.2.1:53", &seen), None, "it no longer is one of them");
    assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53"), seen);
    w.pass(Duration::from_secs(121));
    assert_eq!((w.engine.flow_count(), usage(&w).mappings, usage(&w).clients), (0, 0, 0));
    let later = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    assert_ne!(later, seen, "its port rests");
}

#[test]
fn a_new_process_knows_the_mappings_by_their_flows() {
    let mut w = world(OPEN);
    let i = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    let j = seen_as(&mut w, "j", "10.0.1.11:4000", "192.0.2.1:53");
    seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.2:53");
    let came_in = outcome("i", "198.18.0.9:1", "10.0.1.10:4000");
    assert_eq!(pass(&mut w, "wan", "198.18.0.9:1", &i), came_in);
    let hairpinned = outcome("j", &i, "10.0.1.11:4000");
    assert_eq!(pass(&mut w, "i", "10.0.1.10:4000", &j), hairpinned);
    assert_eq!(w.restart(), 5);
    assert_eq!((usage(&w).mappings, usage(&w).leases, usage(&w).flows_total), (2, 2, 5));
    assert_eq!(pass(&mut w, "wan", "198.18.0.9:1", &i), came_in);
    assert_eq!(pass(&mut w, "i", "10.0.1.10:4000", &j), hairpinned);
    assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.77:53"), i);
    assert_eq!(seen_as(&mut w, "j", "10.0.1.11:4000", "192.0.2.77:53"), j);
}

#[test]
fn a_flow_from_outside_alone_brings_its_mapping_into_the_next_process() {
    let mut w = world(OPEN);
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    for _ in 0..3 {
        pass(&mut w, "wan", "198.18.0.9:1", &seen).unwrap();
        w.pass(Duration::from_secs(100));
    }
    assert_eq!(w.engine.flow_count(), 1);
    assert_eq!(w.restart(), 1);
    assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53"), seen);
}

#[test]
fn flows_go_on_under_another_mode_and_new_ones_follow_it() {
    let mut w = world("");
    let seen = seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53");
    let symmetric = document("").replace("endpoint-independent", "symmetric");
    w.reload(&symmetric);
    assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.1:53"), seen);
    let others: std::collections::HashSet<_> = (1..=20)
        .map(|n| seen_as(&mut w, "i", "10.0.1.10:4000", &format!("192.0.2.{n}:54")))
        .collect();
    assert!(others.len() > 15, "{others:?}");
    w.reload(&document(""));
    assert_eq!(w.engine.flow_count(), 21);
    assert_eq!(seen_as(&mut w, "i", "10.0.1.10:4000", "192.0.2.9:9"), seen);
}

#[test]
fn mappings_are_refused_when_there_are_no_ports_and_flows_of_those_that_are_there_are_not() {
    let keys = document("").replace("[5000, 5999]", "[5000, 5001]");
    let mut w = World::among_hosts(&keys, functions);
    let first = seen_as(&mut w, "i", "10.0.1.10:1", "192.0.2.1:53");
    seen_as(&mut w, "i", "10.0.1.10:2", "192.0.2.1:53");
    is_refused(&mut w, &udp(3, "192.0.2.2:53").build(), Drop::PortAllocation);
    for n in 1..=50 {
        assert_eq!(seen_as(&mut w, "i", "10.0.1.10:1", &format!("192.0.2.{n}:99")), first);
    }
    assert_eq!((usage(&w).leases, usage(&w).port_allocation_errors_total), (2, 1));
}

#[test]
fn a_client_that_has_ipv6_alone_has_a_mapping_of_ipv4_as_well() {
    let mut w = world(OPEN);
    let client = "[fd00:a:0:1::10]:4000";
    let first = pass(&mut w, "i", client, "[64:ff9b::c000:201]:53").unwrap();
    let (seen, to) = (first.1, first.2);
    assert_eq!((&*first.0, &*to), ("wan", "192.0.2.1:53"));
    // RFC 6146: the mapping does not depend on whom it is with, and whoever sends to it comes in
    // by the prefix.
    let second = pass(&mut w, "i", client, "[64:ff9b::c000:202]:9");
    assert_eq!(second, outcome("wan", &seen, "192.0.2.2:9"));
    let came_in = pass(&mut w, "wan", "198.18.0.9:1", &seen);
    assert_eq!(came_in, outcome("i", "[64:ff9b::c612:9]:1", client));
    // Hairpinning, RFC 6146 section 3.8: to another such client, and to one of IPv4.
    let j = seen_as(&mut w, "j", "10.0.1.11:4000", "192.0.2.1:53");
    let embedded = |at: &str| {
        let at: std::net::SocketAddrV4 = at.parse().unwrap();
        let ip = nf_core::nat64::Nat64Prefix::WELL_KNOWN.embed(*at.ip());
        SocketAddr::new(ip.into(), at.port()).to_string()
    };
    let to_ipv4 = pass(&mut w, "i", client, &embedded(&j));
    assert_eq!(to_ipv4, outcome("j", &seen, "10.0.1.11:4000"));
    let answer = pass(&mut w, "j", "10.0.1.11:4000", &seen);
    assert_eq!(answer, outcome("i", &embedded(&j), client));
    let flows = w.engine.flow_count();
    assert_eq!(w.restart(), flows);
    assert_eq!(pass(&mut w, "wan", "198.18.0.9:1", &seen), came_in);
    assert_eq!(pass(&mut w, "i", client, &embedded(&j)), to_ipv4);
}
