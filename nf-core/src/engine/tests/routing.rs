//! Where packets go: between interfaces, to hosts on segments, out and in by the internet gateway.

use super::*;
use crate::packet::build;

#[test]
fn a_packet_between_two_instances_gets_new_mac_addresses_and_one_hop_less() {
    let mut w = world();
    let frame = udp("10.0.1.10:1000", "10.0.1.11:53").macs(A, w.mac("a"));
    let there = udp("10.0.1.10:1000", "10.0.1.11:53").macs(w.mac("b"), B).ttl(63).build();
    assert_eq!(w.send("a", frame.build()), out("b", there.clone()));
    assert_eq!(w.fate(), FORWARDED);
    assert_eq!(w.send("a", frame.build()), out("b", there));
    assert!(was_fast(&w, "b"), "the second packet needs no user space");

    let answer = udp("10.0.1.11:53", "10.0.1.10:1000").macs(B, w.mac("b"));
    let back = udp("10.0.1.11:53", "10.0.1.10:1000").macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("b", answer.build()), out("a", back));
    assert!(was_fast(&w, "a"), "nor does the first answer");
    assert_eq!(w.engine.flow_count(), 1);
    assert!(is_accounted(&w));
}

#[test]
fn ipv6_goes_the_same_way() {
    let mut w = world();
    let (src, dst) = ("[fd00:a:0:1::10]:1000", "[fd00:a:0:1::11]:80");
    let frame = tcp(src, dst).flags(SYN).macs(A, w.mac("a")).build();
    let there = tcp(src, dst).flags(SYN).macs(w.mac("b"), B).ttl(63).build();
    assert_eq!(w.send("a", frame), out("b", there));
    let answer = tcp(dst, src).flags(SYN_ACK).macs(B, w.mac("b")).build();
    let back = tcp(dst, src).flags(SYN_ACK).macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("b", answer), out("a", back));
    let ping6 = ping("fd00:a:0:1::10", "fd00:a:0:1::11", 7).macs(A, w.mac("a")).build();
    let there = ping("fd00:a:0:1::10", "fd00:a:0:1::11", 7).macs(w.mac("b"), B).ttl(63).build();
    assert_eq!(w.send("a", ping6), out("b", there));
    assert!(is_accounted(&w));
}

#[test]
fn tenants_with_the_same_addresses_never_meet() {
    let mut w = world();
    // The other tenant has no 10.0.1.11: what the first one has there is not for it.
    let frame = udp("10.0.1.10:1000", "10.0.1.11:53").macs(OTHER, w.mac("other")).build();
    assert_eq!(w.send("other", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoDestination));

    let query = udp("10.0.1.10:1000", "10.0.1.11:53").macs(A, w.mac("a")).build();
    w.send("a", query);
    // The same tuple as the first tenant's flow, by the other's port.
    let frame = udp("10.0.1.11:53", "10.0.1.10:1000").macs(OTHER, w.mac("other")).build();
    assert_eq!(w.send("other", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    assert_eq!(w.engine.flow_count(), 1);
}

#[test]
fn an_elastic_address_stands_for_its_instance_both_ways() {
    let mut w = world();
    let frame = tcp("10.0.1.10:4000", "192.0.2.80:443").flags(SYN).macs(A, w.mac("a")).build();
    let asks = build::arp_request(w.mac("wan"), [203, 0, 113, 2].into(), [203, 0, 113, 1].into());
    assert_eq!(w.send("a", frame), out("wan", asks));
    assert_eq!(w.fate(), QUEUED);
    let router = MacAddr::new([2, 0, 0, 0, 0, 0xfe]);
    let wan = w.mac("wan");
    let reply = build::arp_reply(router, [203, 0, 113, 1].into(), wan, [203, 0, 113, 2].into());
    let there = tcp("198.51.100.10:4000", "192.0.2.80:443").flags(SYN).macs(wan, router).ttl(63);
    assert_eq!(w.send("wan", reply), out("wan", there.build()));

    let answer = tcp("192.0.2.80:443", "198.51.100.10:4000").flags(SYN_ACK).macs(router, wan);
    let back =
        tcp("192.0.2.80:443", "10.0.1.10:4000").flags(SYN_ACK).macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("wan", answer.build()), out("a", back));
    assert!(was_fast(&w, "a"));

    // From outside, too: AWS's one-to-one translation lets connections in.
    let frame = udp("192.0.2.99:9", "198.51.100.10:53").macs(router, wan).build();
    let inside = udp("192.0.2.99:9", "10.0.1.10:53").macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("wan", frame), out("a", inside));
    assert!(is_accounted(&w));
}

#[test]
fn two_elastic_addresses_of_the_gateway_reach_each_other_without_leaving_it() {
    let more = r#"
        [[address]]
        allocation_id = "eipalloc-b"
        public_ip = "198.51.100.11"
        network_interface_id = "eni-b"
    "#;
    let mut w = World::new(&format!("{DOCUMENT}{more}"), no_functions);
    let frame = udp("10.0.1.10:1", "198.51.100.11:2").macs(A, w.mac("a")).build();
    let there = udp("198.51.100.10:1", "10.0.1.11:2").macs(w.mac("b"), B).ttl(63).build();
    assert_eq!(w.send("a", frame), out("b", there));
    let answer = udp("10.0.1.11:2", "198.51.100.10:1").macs(B, w.mac("b")).build();
    let back = udp("198.51.100.11:2", "10.0.1.10:1").macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("b", answer), out("a", back));
}

#[test]
fn what_has_no_way_is_dropped_with_the_reason() {
    let mut w = world();
    let cases = [
        ("10.0.1.99:1", Drop::NoDestination, "nobody has the address"),
        ("10.0.3.9:1", Drop::NoDestination, "no subnet has the address"),
        ("10.0.1.255:1", Drop::NoDestination, "the last address of a subnet"),
        ("10.0.2.3:1", Drop::NoDestination, "reserved on the segment"),
        ("172.16.0.1:1", Drop::Blackhole, "the route's target is gone"),
        ("169.254.169.254:80", Drop::NoRoute, "link-local, default route or not"),
        ("224.0.0.5:1", Drop::NoRoute, "a group"),
        ("127.0.0.1:1", Drop::NoRoute, "loopback"),
    ];
    for (dst, reason, what) in cases {
        let frame = udp("10.0.1.10:1", dst).macs(A, w.mac("a")).build();
        assert_eq!(w.send("a", frame), nothing(), "{what}");
        assert_eq!(w.fate(), dropped(reason), "{what}");
    }
    // 10.0.1.11 has no public address, so there is no way out for it.
    let frame = udp("10.0.1.11:1", "192.0.2.1:1").macs(B, w.mac("b")).build();
    assert_eq!(w.send("b", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoPublicAddress));
    let frame = udp("192.0.2.1:1", "198.51.100.77:1").build();
    assert_eq!(w.send("wan", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
    assert_eq!(w.engine.flow_count(), 0);
    assert!(is_accounted(&w));
}

#[test]
fn link_local_addresses_stay_on_their_link() {
    let mut w = world();
    let there = udp("[fe80::a]:1", "[fd00:a:0:1::11]:1").macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", there), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoRoute));
    let there = udp("[fd00:a:0:1::10]:1", "[fe80::b]:1").macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", there), nothing());
    assert_eq!(w.fate(), dropped(Drop::NoRoute));
}

#[test]
fn an_appliance_is_the_next_hop_of_what_is_routed_to_it_and_of_answers_through_it() {
    let mut w = world();
    let lan = w.mac("c");
    let asks = build::arp_request(lan, [10, 0, 1, 1].into(), [10, 0, 1, 12].into());
    let reply = build::arp_reply(HOST, [10, 0, 1, 12].into(), lan, [10, 0, 1, 1].into());
    let frame = udp("10.0.1.10:1", "192.168.7.7:1").macs(A, w.mac("a")).build();
    assert_eq!(w.send("a", frame), out("c", asks.clone()));
    let there = udp("10.0.1.10:1", "192.168.7.7:1").macs(lan, HOST).ttl(63).build();
    assert_eq!(w.send("c", reply.clone()), out("c", there));

    // The other way it forwards for an address that is not on its link and would not answer there.
    let mut w = world();
    let frame = udp("192.168.7.7:1", "10.0.1.10:2").macs(HOST, lan).build();
    let there = udp("192.168.7.7:1", "10.0.1.10:2").macs(w.mac("a"), A).ttl(63).build();
    assert_eq!(w.send("c", frame), [out("a", there), out("c", asks)].concat());
    w.send("c", reply);
    let answer = udp("10.0.1.10:2", "192.168.7.7:1").macs(A, w.mac("a")).build();
    let back = udp("10.0.1.10:2", "192.168.7.7:1").macs(lan, HOST).ttl(63).build();
    assert_eq!(w.send("a", answer), out("c", back));
}

#[test]
fn a_tuple_that_two_flows_would_leave_with_belongs_to_the_first_and_harms_no_other() {
    // One public address and its private one: from outside both lead to the same tuple on `a`.
    let mut w = world();
    let direct = udp("192.0.2.9:9", "198.51.100.10:53").build();
    assert_eq!(w.send("wan", direct).len(), 2, "the packet and a question for the way back");
    // By the appliance comes a packet that claims to be from the same host.
    let twin = udp("192.0.2.9:9", "10.0.1.10:53").build();
    w.send("c", twin);
    assert_eq!(w.fate(), dropped(Drop::TupleInUse));
    assert_eq!(w.engine.flow_count(), 1);
    // A flow after the refused one gets a slot of its own.
    let next = udp("192.0.2.9:9", "10.0.1.11:53").build();
    w.send("c", next);
    assert_eq!(w.engine.flow_count(), 2);
    assert!(is_accounted(&w));
}
