//! What the gateway says for itself: ARP, NDP, echo, and errors about what it cannot forward.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::packet::IcmpErrorKind;
use crate::packet::build;

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// The link-local address that the gateway has on a port.
fn link_local(world: &World, port: &str) -> Ipv6Addr {
    let mac = world.mac(port);
    let (vendor, device) = mac.as_bytes().split_at(3);
    let mut interface = [vendor, &[0xff, 0xfe], device].concat();
    interface[0] ^= 2;
    let prefix = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
    <[u8; 16]>::try_from([&prefix[..], &interface].concat()).unwrap().into()
}

#[test]
fn arp_is_answered_for_what_the_gateway_stands_for_and_for_nothing_else() {
    let mut w = world();
    let cases = [
        ("a", A, "10.0.1.10", "10.0.1.1", true, "the router"),
        ("a", A, "10.0.1.10", "10.0.1.11", true, "an instance behind another port"),
        ("a", A, "10.0.1.10", "10.0.1.99", false, "nobody has it"),
        ("a", A, "10.0.1.10", "10.0.2.50", false, "in another subnet"),
        ("lan", HOST, "10.0.2.9", "10.0.2.1", true, "the router"),
        ("lan", HOST, "10.0.2.9", "10.0.2.8", false, "a host of the segment answers itself"),
        ("lan", HOST, "10.0.2.9", "10.0.2.50", false, "declared, but on the segment"),
        ("wan", HOST, "203.0.113.1", "203.0.113.2", true, "its own address outside"),
        ("wan", HOST, "203.0.113.1", "198.51.100.10", true, "an Elastic IP address"),
        ("wan", HOST, "203.0.113.1", "203.0.113.9", false, "a stranger's"),
        ("other", OTHER, "10.0.1.10", "10.0.1.11", false, "another tenant's instance"),
    ];
    for (port, mac, sender, target, answered, what) in cases {
        let request = build::arp_request(mac, v4(sender), v4(target));
        let reply = build::arp_reply(w.mac(port), v4(target), mac, v4(sender));
        let expected = if answered { out(port, reply) } else { nothing() };
        assert_eq!(w.send(port, request), expected, "{what}");
        let fate = if answered { CONSUMED } else { dropped(Drop::NotServed) };
        assert_eq!(w.fate(), fate, "{what}");
    }
    assert_eq!(w.engine.neighbour_count(), 0, "a question makes no entry");
}

#[test]
fn ndp_is_answered_for_what_the_gateway_stands_for_and_for_nothing_else() {
    let mut w = world();
    let own = link_local(&w, "a");
    let cases = [
        ("a", A, "fd00:a:0:1::10", v6("fd00:a:0:1::1"), true, "the router"),
        ("a", A, "fe80::a", own, true, "its link-local address"),
        ("a", A, "fd00:a:0:1::10", v6("fd00:a:0:1::11"), true, "an instance behind another port"),
        ("a", A, "fd00:a:0:1::10", v6("fd00:a:0:1::99"), false, "nobody has it"),
        ("lan", HOST, "fd00:a:0:2::9", v6("fd00:a:0:2::1"), true, "the router"),
        ("lan", HOST, "fd00:a:0:2::9", v6("fd00:a:0:2::8"), false, "a host of the segment"),
        ("wan", HOST, "2001:db8::1", v6("2001:db8::2"), true, "its own address outside"),
        ("wan", HOST, "2001:db8::1", v6("2001:db8:e::10"), true, "an Elastic IP address"),
    ];
    for (port, mac, sender, target, answered, what) in cases {
        let request = build::neighbour_solicitation(mac, v6(sender), target);
        let asker = Some((mac, v6(sender)));
        let reply = build::neighbour_advertisement(w.mac(port), target, true, asker);
        let expected = if answered { out(port, reply) } else { nothing() };
        assert_eq!(w.send(port, request), expected, "{what}");
    }
    assert_eq!(w.engine.neighbour_count(), 0, "a question makes no entry");
}

#[test]
fn whoever_claims_an_address_that_is_not_theirs_is_counted_and_not_believed() {
    let mut w = world();
    let cases = [
        ("a", A, "10.0.1.1", "the router's"),
        ("a", A, "10.0.1.11", "another instance's"),
        ("a", A, "10.0.1.99", "nobody's"),
        ("a", B, "10.0.1.10", "its own, with another MAC address"),
        ("a", MacAddr::BROADCAST, "10.0.1.10", "its own, at everybody"),
        ("lan", HOST, "10.0.2.1", "the router's, on the segment"),
        ("lan", HOST, "10.0.1.10", "one of another subnet"),
        ("wan", HOST, "203.0.113.2", "the gateway's outside"),
        ("wan", HOST, "198.51.100.10", "an Elastic IP address"),
    ];
    for (port, mac, claimed, whose) in cases {
        let claim = build::arp_request(mac, v4(claimed), v4(claimed));
        assert_eq!(w.send(port, claim), nothing(), "{whose}");
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "{whose}");
        let reply = build::arp_reply(mac, v4(claimed), w.mac(port), v4("10.0.1.1"));
        assert_eq!(w.send(port, reply), nothing(), "{whose}");
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "{whose}");
    }
    let six = [
        ("a", A, "fd00:a:0:1::1", "the router's"),
        ("a", A, "fd00:a:0:1::11", "another instance's"),
        ("lan", HOST, "fd00:a:0:2::1", "the router's, on the segment"),
        ("wan", HOST, "2001:db8::2", "the gateway's outside"),
        ("wan", HOST, "2001:db8:e::10", "an Elastic IP address"),
    ];
    for (port, mac, claimed, whose) in six {
        let tells = build::neighbour_advertisement(mac, v6(claimed), false, None);
        assert_eq!(w.send(port, tells), nothing(), "{whose}");
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "{whose}");
        let asks = build::neighbour_solicitation(mac, v6(claimed), v6("fe80::77"));
        assert_eq!(w.send(port, asks), nothing(), "{whose}");
        assert_eq!(w.fate(), dropped(Drop::NeighbourSpoof), "{whose}");
    }
    assert_eq!(w.dropped(Drop::NeighbourSpoof), 2 * (cases.len() + six.len()) as u64);
}

#[test]
fn a_probe_for_duplicates_is_answered_only_if_there_is_one() {
    let mut w = world();
    let unspecified = Ipv4Addr::UNSPECIFIED;
    assert_eq!(w.send("a", build::arp_request(A, unspecified, v4("10.0.1.10"))), nothing());
    let reply = build::arp_reply(w.mac("a"), v4("10.0.1.1"), A, unspecified);
    assert_eq!(w.send("a", build::arp_request(A, unspecified, v4("10.0.1.1"))), out("a", reply));

    let unspecified = Ipv6Addr::UNSPECIFIED;
    let probe = |target| build::neighbour_solicitation(A, unspecified, v6(target));
    assert_eq!(w.send("a", probe("fd00:a:0:1::10")), nothing());
    assert_eq!(w.fate(), dropped(Drop::NotServed));
    // RFC 4861 7.2.4: the answer to a probe goes to all nodes.
    let tells = build::neighbour_advertisement(w.mac("a"), v6("fd00:a:0:1::1"), true, None);
    assert_eq!(w.send("a", probe("fd00:a:0:1::1")), out("a", tells));
}

#[test]
fn a_solicitation_from_another_link_is_not_believed() {
    let mut w = world();
    let mut asks = build::neighbour_solicitation(A, v6("fd00:a:0:1::10"), v6("fd00:a:0:1::1"));
    // RFC 4861 6.1.1: only a hop limit of 255 shows that no router has passed it on.
    asks[21] = 254;
    assert_eq!(w.send("a", asks), nothing());
    assert_eq!(w.fate(), dropped(Drop::Malformed));
}

#[test]
fn the_router_answers_pings_on_every_link_it_has_an_address_on() {
    let mut w = world();
    let own = link_local(&w, "a").to_string();
    let cases = [
        ("a", A, "10.0.1.10", "10.0.1.1"),
        ("a", A, "fd00:a:0:1::10", "fd00:a:0:1::1"),
        ("a", A, "fe80::a", &own),
        ("lan", HOST, "10.0.2.9", "10.0.2.1"),
        ("wan", HOST, "203.0.113.7", "203.0.113.2"),
        ("wan", HOST, "2001:db8::7", "2001:db8::2"),
    ];
    for (port, mac, src, dst) in cases {
        let request = ping(src, dst, 77).macs(mac, w.mac(port)).ttl(1);
        let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
        let reply = Frame::echo_reply(ip(dst), ip(src), 77, 1).payload(*b"payload");
        let reply = reply.macs(w.mac(port), mac).build();
        assert_eq!(w.send(port, request.build()), out(port, reply), "{dst}");
        assert_eq!(w.fate(), CONSUMED);
    }
    for frame in [
        udp("10.0.1.10:1", "10.0.1.1:53").macs(A, w.mac("a")).build(),
        Frame::echo_reply([10, 0, 1, 10], [10, 0, 1, 1], 1, 1).macs(A, w.mac("a")).build(),
    ] {
        assert_eq!(w.send("a", frame), nothing());
        assert_eq!(w.fate(), dropped(Drop::NotServed), "only requests are served");
    }
    assert_eq!(w.engine.flow_count(), 0);
}

#[test]
fn a_packet_whose_hops_run_out_is_reported_byte_by_byte() {
    let mut w = world();
    let probe = udp("10.0.1.10:1000", "10.0.1.11:33434").macs(A, w.mac("a")).ttl(1).build();
    let mut expected = vec![2, 0, 0, 0, 0, 0x0a, 2, 0xff, 0, 0, 0, 1, 8, 0];
    // RFC 792: type 11, code 0, four bytes unused, then the packet as it came.
    expected.extend([0x45, 0xc0, 0, 63, 0, 0, 0x40, 0, 64, 1, 0x23, 0xf4]);
    expected.extend([10, 0, 1, 1, 10, 0, 1, 10]);
    expected.extend([11, 0, 0x0b, 0x35, 0, 0, 0, 0]);
    expected.extend(&probe[14..]);
    assert_eq!(w.send("a", probe), out("a", expected));
    assert_eq!(w.fate(), dropped(Drop::TimeToLive));

    let (src, dst) = ("[fd00:a:0:1::10]:1000", "[fd00:a:0:1::11]:33434");
    let probe = udp(src, dst).macs(A, w.mac("a")).ttl(1).build();
    let sent = w.send("a", probe.clone());
    let (port, error) = &sent[0];
    assert_eq!((sent.len(), port.as_str()), (1, "a"));
    assert_eq!(error[22..38], v6("fd00:a:0:1::1").octets());
    assert_eq!(error[38..54], v6("fd00:a:0:1::10").octets());
    assert_eq!((error[20], error[54], error[55]), (58, 3, 0));
    assert_eq!(error[62..], probe[14..]);
    assert_eq!(w.engine.flow_count(), 0, "a packet that goes nowhere opens no flow");
}

#[test]
fn one_sender_is_told_so_often_and_another_port_is_told_all_the_same() {
    let mut w = world();
    let probe = |w: &World| udp("10.0.1.10:1000", "10.0.1.11:33434").macs(A, w.mac("a")).ttl(1);
    let told = (0..1000).filter(|_| !w.send("a", probe(&w).build()).is_empty()).count();
    assert_eq!(told, 100);
    assert_eq!(w.engine.counters().reports_suppressed, 900);
    assert_eq!(w.engine.counters().dropped[Drop::TimeToLive as usize], 1000);
    let other = udp("10.0.1.11:1000", "10.0.1.10:33434").macs(B, w.mac("b")).ttl(1).build();
    assert_eq!(w.send("b", other).len(), 1);
    w.pass(std::time::Duration::from_secs(1));
    assert_eq!(w.send("a", probe(&w).build()).len(), 1);
}

#[test]
fn hops_that_run_out_inside_a_flow_are_reported_too_and_do_not_count() {
    let mut w = world();
    let frame = udp("10.0.1.10:1000", "10.0.1.11:1").macs(A, w.mac("a"));
    w.send("a", frame.build());
    let sent = w.send("a", frame.ttl(1).build());
    assert_eq!(w.fate(), dropped(Drop::TimeToLive));
    assert_eq!((sent.len(), sent[0].0.as_str(), sent[0].1[34]), (1, "a", 11));
    assert_eq!(only_flow(&mut w).forward.packets, 1);
}

#[test]
fn a_packet_that_is_too_big_tells_its_sender_what_the_next_hop_takes() {
    for (src, dst) in [("10.0.1.10:1", "10.0.1.11:1"), ("[fd00:a:0:1::10]:1", "[fd00:a:0:1::11]:1")]
    {
        let mut w = world();
        let fits = tcp(src, dst).macs(A, w.mac("a")).payload(vec![7; 1440]);
        w.send("a", fits.build());
        assert_eq!(w.fate(), FORWARDED);
        let big = tcp(src, dst).macs(A, w.mac("a")).payload(vec![7; 1461]).build();
        let router =
            if at(src).is_ipv4() { v4("10.0.1.1").into() } else { v6("fd00:a:0:1::1").into() };
        let kind = IcmpErrorKind::PacketTooBig { mtu: 1500 };
        let error = build::icmp_error(&big, kind, router).unwrap();
        let told = out("a", [A.as_bytes(), w.mac("a").as_bytes(), &error[12..]].concat());
        assert_eq!(w.send("a", big), told);
        assert_eq!(w.fate(), dropped(Drop::TooBig));
        assert_eq!(only_flow(&mut w).forward.packets, 1);
    }
}
