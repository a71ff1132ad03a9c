//! What may not pass: sources that are not the sender's, damaged packets, and what no flow is made
//! of.

use super::*;
use crate::fast_path::soft::{Decision, FrameMeta};
use crate::packet::Headers;
use crate::packet::checksum;
use crate::testing::{checksums_are_right, reference_checksum};
use crate::verdict::FastDrop;

#[test]
fn an_instance_sends_from_its_own_addresses_and_its_own_mac_address_only() {
    let mut w = world();
    let gw = w.mac("a");
    let cases = [
        udp("10.0.1.99:1", "10.0.1.11:1").macs(A, gw).build(),
        udp("10.0.1.11:1", "10.0.1.10:1").macs(A, gw).build(),
        udp("198.51.100.10:1", "10.0.1.11:1").macs(A, gw).build(),
        udp("[fd00:a:0:1::11]:1", "[fd00:a:0:1::10]:1").macs(A, gw).build(),
        udp("10.0.1.10:1", "10.0.1.11:1").macs(B, gw).build(),
        udp("127.0.0.1:1", "10.0.1.11:1").macs(A, gw).build(),
        udp("0.0.0.0:1", "10.0.1.11:1").macs(A, gw).build(),
        udp("224.0.0.1:1", "10.0.1.11:1").macs(A, gw).build(),
        udp("10.0.1.11:1", "10.0.1.11:1").macs(A, gw).build(),
    ];
    for (n, frame) in cases.iter().enumerate() {
        assert_eq!(w.send("a", frame.clone()), nothing(), "case {n}");
        assert_eq!(w.fate(), dropped(Drop::SourceCheck), "case {n}");
    }
    assert_eq!(w.dropped(Drop::SourceCheck), cases.len() as u64);
}

#[test]
fn a_host_on_a_segment_sends_from_no_address_that_is_somebody_elses() {
    let mut w = world();
    let cases = [
        ("10.0.2.1:1", "the router's"),
        ("10.0.2.3:1", "a reserved one"),
        ("10.0.2.255:1", "the last one"),
        ("10.0.1.10:1", "an instance's of another subnet"),
        ("192.0.2.1:1", "one of the outside"),
    ];
    for (src, whose) in cases {
        let frame = udp(src, "10.0.1.11:1").build();
        assert_eq!(w.send("lan", frame), nothing(), "{whose}");
        assert_eq!(w.fate(), dropped(Drop::SourceCheck), "{whose}");
    }
    let declared_there = udp("10.0.2.50:1", "10.0.1.11:1").build();
    w.send("lan", declared_there);
    assert_eq!(w.fate(), FORWARDED);
}

#[test]
fn nobody_outside_claims_to_be_one_of_us() {
    let mut w = world();
    let frame = udp("198.51.100.10:1", "198.51.100.10:2").build();
    assert_eq!(w.send("wan", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
}

#[test]
fn a_port_that_nothing_speaks_of_gets_nothing_through() {
    let mut w = world();
    w.plug("stray");
    let frame = udp("10.0.1.10:1", "10.0.1.11:1").build();
    assert_eq!(w.send("stray", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::UnknownPort));
}

#[test]
fn a_damaged_packet_is_dropped_and_never_blessed_with_a_fresh_checksum() {
    let mut w = world();
    let damage = |frame: Vec<u8>, at: usize| {
        let mut frame = frame;
        frame[at] ^= 0x01;
        frame
    };
    let v4 = udp("10.0.1.10:1", "10.0.1.11:1").macs(A, w.mac("a")).build();
    let v6 = tcp("[fd00:a:0:1::10]:1", "[fd00:a:0:1::11]:1").macs(A, w.mac("a")).build();
    let echo = ping("10.0.1.10", "10.0.1.11", 1).macs(A, w.mac("a")).build();
    // Payload, sequence number, payload, and the identification in the IPv4 header.
    for (frame, at) in [(v4.clone(), 43), (v6, 58), (echo, 45), (v4, 18)] {
        let frame = damage(frame, at);
        assert!(!checksums_are_right(&frame));
        assert_eq!(w.send("a", frame), nothing());
        assert_eq!(w.fate(), dropped(Drop::BadChecksum));
    }
    assert_eq!(w.engine.flow_count(), 0);
}

#[test]
fn a_checksum_left_to_the_interface_is_completed() {
    let mut w = world();
    for (src, dst) in [("10.0.1.10:1", "10.0.1.11:1"), ("[fd00:a:0:1::10]:1", "[fd00:a:0:1::11]:1")]
    {
        let frame = udp(src, dst).macs(A, w.mac("a")).partial_checksum().build();
        let there = udp(src, dst).macs(w.mac("b"), B).ttl(63).build();
        assert_eq!(w.send("a", frame), out("b", there));
    }
}

#[test]
fn a_udp_packet_without_a_checksum_keeps_none_in_ipv4_and_is_refused_in_ipv6() {
    let mut w = world();
    let frame = udp("10.0.1.10:1", "10.0.1.11:1").macs(A, w.mac("a")).no_checksum().build();
    let there = udp("10.0.1.10:1", "10.0.1.11:1").macs(w.mac("b"), B).ttl(63).no_checksum();
    assert_eq!(w.send("a", frame), out("b", there.build()));
    let (src, dst) = ("[fd00:a:0:1::10]:1", "[fd00:a:0:1::11]:1");
    let frame = udp(src, dst).macs(A, w.mac("a")).no_checksum().build();
    assert_eq!(w.send("a", frame), nothing());
    assert_eq!(w.fate(), dropped(Drop::BadChecksum));
}

#[test]
fn every_truncation_of_a_packet_is_dropped() {
    let mut w = world();
    let whole = tcp("10.0.1.10:1", "10.0.1.11:1").macs(A, w.mac("a")).payload([7; 20]).build();
    for len in 0..whole.len() {
        assert_eq!(w.send("a", &whole[..len]), nothing(), "{len} bytes");
        let malformed = Fate::Fast(Decision::Drop(FastDrop::Malformed));
        assert_eq!(w.fate(), malformed, "{len} bytes");
    }
    // One that the lean parse of the fast path lets pass: a TCP header length of less than five.
    let mut lying = whole;
    lying[14 + 20 + 12] = 0x40;
    assert_eq!(w.send("a", lying), nothing());
    assert_eq!(w.fate(), dropped(Drop::Malformed));
}

#[test]
fn flags_that_contradict_each_other_open_nothing() {
    let mut w = world();
    for flags in [0x03, 0x06, 0x07] {
        let frame =
            tcp("10.0.1.10:1", "10.0.1.11:1").flags(TcpFlags(flags)).macs(A, w.mac("a")).build();
        assert_eq!(w.send("a", frame), nothing());
        assert_eq!(w.fate(), dropped(Drop::Malformed));
    }
}

/// Puts extension headers in front of the transport of an IPv6 frame.
fn extend(mut frame: Vec<u8>, first: u8, headers: &[u8]) -> Vec<u8> {
    let payload_len = u16::from_be_bytes([frame[18], frame[19]]) + headers.len() as u16;
    frame[18..20].copy_from_slice(&payload_len.to_be_bytes());
    frame[20] = first;
    frame.splice(54..54, headers.iter().copied());
    frame
}

#[test]
fn extension_headers_are_dropped() {
    let mut w = world();
    let v6 = udp("[fd00:a:0:1::10]:1", "[fd00:a:0:1::11]:1").macs(A, w.mac("a")).build();
    for kind in [0, 60, 43] {
        let frame = extend(v6.clone(), kind, &[17, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(w.send("a", frame), nothing());
        assert_eq!(w.fate(), dropped(Drop::ExtensionHeader), "header {kind}");
    }
}

#[test]
fn other_protocols_and_control_messages_are_not_served() {
    let mut w = world();
    let mut sctp = udp("10.0.1.10:1", "10.0.1.11:1").macs(A, w.mac("a")).build();
    sctp[23] = 132;
    assert_eq!(w.send("a", sctp), nothing());
    assert_eq!(w.fate(), Fate::Fast(Decision::Drop(FastDrop::Protocol)));

    // A timestamp request (RFC 792).
    let mut timestamp = ping("10.0.1.10", "10.0.1.11", 1).macs(A, w.mac("a")).build();
    timestamp[34] = 13;
    timestamp[36..38].fill(0);
    let check = reference_checksum(&timestamp[34..]);
    timestamp[36..38].copy_from_slice(&check.to_be_bytes());
    assert_eq!(w.send("a", timestamp), nothing());
    assert_eq!(w.fate(), dropped(Drop::NotServed));

    let broadcast = udp("10.0.1.10:68", "255.255.255.255:67").macs(A, MacAddr::BROADCAST).build();
    assert_eq!(w.send("a", broadcast), nothing());
    assert_eq!(w.fate(), Fate::Fast(Decision::Drop(FastDrop::Multicast)));
    assert!(is_accounted(&w));
}

#[test]
fn a_super_packet_leaves_user_space_as_the_segments_it_stands_for() {
    let mut w = world();
    let whole = tcp("10.0.1.10:1", "10.0.1.11:1").macs(A, w.mac("a")).payload([7; 3000]).build();
    let meta = FrameMeta { segment_size: 1400, ..FrameMeta::default() };
    let sent = w.deliver(w.port("a"), whole, meta);
    let lens: Vec<_> = sent.iter().map(|it| it.frame.len() - 54).collect();
    assert_eq!(lens, [1400, 1400, 200]);
    let summary = |frame: &[u8]| *Headers::parse(frame).unwrap().ip().unwrap();
    assert!(sent.iter().all(|it| {
        checksum::verify(&summary(&it.frame), &it.frame) == checksum::L4Checksum::Correct
    }));
    assert_eq!(only_flow(&mut w).forward.packets, 3);
}
