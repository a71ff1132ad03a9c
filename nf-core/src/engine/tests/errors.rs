//! ICMP errors about flows whose addresses were rewritten: each side hears of the packet it knows.

use std::net::IpAddr;

use super::*;
use crate::packet::IcmpErrorKind;
use crate::packet::build;
use crate::testing::reference_checksum;

const ROUTER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xfe]);
const EXPIRED: IcmpErrorKind = IcmpErrorKind::TimeExceeded { code: 0 };
const TOO_BIG: IcmpErrorKind = IcmpErrorKind::PacketTooBig { mtu: 1400 };

/// A world that knows the router outside.
fn routed() -> World {
    let mut w = world();
    w.send("a", udp("10.0.1.10:9", "192.0.2.9:9").macs(A, w.mac("a")).build());
    w.send("a", udp("[fd00:a:0:1::10]:9", "[2001:db8:f::9]:9").macs(A, w.mac("a")).build());
    let wan = w.mac("wan");
    let known = build::arp_reply(ROUTER, [203, 0, 113, 1].into(), wan, [203, 0, 113, 2].into());
    assert_eq!(w.send("wan", known).len(), 1);
    let told = Some((wan, "2001:db8::2".parse().unwrap()));
    let address = "2001:db8::1".parse().unwrap();
    assert_eq!(w.send("wan", build::neighbour_advertisement(ROUTER, address, true, told)).len(), 1);
    w
}

/// The ICMP error about `packet` from `from`, as it is after one hop, between these MAC addresses.
fn error_after_a_hop(
    packet: &[u8],
    kind: IcmpErrorKind,
    from: &str,
    src: MacAddr,
    dst: MacAddr,
) -> Vec<u8> {
    let mut error = build::icmp_error(packet, kind, from.parse::<IpAddr>().unwrap()).unwrap();
    error[..6].copy_from_slice(dst.as_bytes());
    error[6..12].copy_from_slice(src.as_bytes());
    if error[12] == 8 {
        error[22] -= 1;
        error[24..26].fill(0);
        let check = reference_checksum(&error[14..34]);
        error[24..26].copy_from_slice(&check.to_be_bytes());
    } else {
        error[21] -= 1;
    }
    error
}

/// What a router, or the far end, at `from` says about the packet that left by `wan`; the message
/// that then leaves by `a` must be about the packet as the instance sent it, one hop further.
fn error_from_outside_is_translated(
    w: &mut World,
    sent: Vec<u8>,
    known: &[u8],
    kind: IcmpErrorKind,
    from: &str,
) {
    let there = w.send("a", sent);
    let [(port, outside)] = &there[..] else { panic!("{there:?}") };
    assert_eq!(port, "wan");
    let error = build::icmp_error(outside, kind, from.parse().unwrap()).unwrap();
    let told = error_after_a_hop(known, kind, from, w.mac("a"), A);
    assert_eq!(w.send("wan", error), out("a", told));
    assert_eq!(w.fate(), FORWARDED);
}

#[test]
fn an_error_from_outside_is_about_the_packet_the_instance_sent() {
    let mut w = routed();
    let (src, dst) = ("10.0.1.10:4000", "192.0.2.80:443");
    for kind in [EXPIRED, TOO_BIG] {
        for from in ["203.0.113.77", "192.0.2.80"] {
            let syn = tcp(src, dst).flags(SYN).macs(A, w.mac("a"));
            let known = syn.clone().ttl(63).build();
            error_from_outside_is_translated(&mut w, syn.build(), &known, kind, from);
            let query = udp(src, dst).macs(A, w.mac("a"));
            let known = query.clone().ttl(63).build();
            error_from_outside_is_translated(&mut w, query.build(), &known, kind, from);
            let request = ping("10.0.1.10", "192.0.2.80", 600).macs(A, w.mac("a"));
            let known = request.clone().ttl(63).build();
            error_from_outside_is_translated(&mut w, request.build(), &known, kind, from);
        }
    }
    assert!(is_accounted(&w));
}

#[test]
fn an_ipv6_error_from_outside_is_about_the_packet_the_instance_sent() {
    let mut w = routed();
    let (src, dst) = ("[fd00:a:0:1::10]:4000", "[2001:db8:f::80]:443");
    for kind in [EXPIRED, TOO_BIG] {
        for from in ["2001:db8:77::1", "2001:db8:f::80"] {
            let syn = tcp(src, dst).flags(SYN).macs(A, w.mac("a"));
            let known = syn.clone().ttl(63).build();
            error_from_outside_is_translated(&mut w, syn.build(), &known, kind, from);
            let query = udp(src, dst).macs(A, w.mac("a"));
            let known = query.clone().ttl(63).build();
            error_from_outside_is_translated(&mut w, query.build(), &known, kind, from);
            let request = ping("fd00:a:0:1::10", "2001:db8:f::80", 600).macs(A, w.mac("a"));
            let known = request.clone().ttl(63).build();
            error_from_outside_is_translated(&mut w, request.build(), &known, kind, from);
        }
    }
    assert!(is_accounted(&w));
}

/// What the instance says about a packet from outside comes from its public address and is about
/// the packet that was sent to that.
#[test]
fn an_error_from_inside_comes_from_the_address_that_the_outside_knows() {
    let unreachable = IcmpErrorKind::Unreachable { code: 3 };
    let unreachable6 = IcmpErrorKind::Unreachable { code: 4 };
    let cases = [
        ("192.0.2.80:5", "198.51.100.10:53", "10.0.1.10:53", unreachable),
        ("[2001:db8:f::80]:5", "[2001:db8:e::10]:53", "[fd00:a:0:1::10]:53", unreachable6),
    ];
    for (src, public, private, kind) in cases {
        let mut w = routed();
        let query = udp(src, public).macs(ROUTER, w.mac("wan"));
        let inside = udp(src, private).macs(w.mac("a"), A).ttl(63).build();
        assert_eq!(w.send("wan", query.build()), out("a", inside.clone()));
        let error = build::icmp_error(&inside, kind, at(private).ip()).unwrap();
        let known = query.ttl(63).build();
        let from = at(public).ip().to_string();
        let told = error_after_a_hop(&known, kind, &from, w.mac("wan"), ROUTER);
        assert_eq!(w.send("a", error), out("wan", told));
    }
}

#[test]
fn eight_bytes_of_the_quoted_transport_are_enough() {
    let mut w = routed();
    let syn = tcp("10.0.1.10:4000", "192.0.2.80:443").flags(SYN).macs(A, w.mac("a"));
    let outside = w.send("a", syn.build()).remove(0).1;
    let mut error = build::icmp_error(&outside, EXPIRED, [203, 0, 113, 77].into()).unwrap();
    error.truncate(14 + 20 + 8 + 20 + 8);
    error[16..18].copy_from_slice(&56_u16.to_be_bytes());
    for (field, covered) in [(24, 14..34), (36, 34..70)] {
        error[field..field + 2].fill(0);
        let check = reference_checksum(&error[covered]);
        error[field..field + 2].copy_from_slice(&check.to_be_bytes());
    }
    let sent = w.send("wan", error);
    let [(port, told)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(port, "a");
    assert_eq!(told[30..34], [10, 0, 1, 10]);
    assert_eq!(told[42..], syn.ttl(63).build()[14..42]);
}

#[test]
fn an_error_about_no_flow_or_with_no_hop_left_goes_nowhere() {
    let mut w = routed();
    let stranger = udp("198.51.100.10:1", "192.0.2.80:1").build();
    let error = build::icmp_error(&stranger, EXPIRED, [203, 0, 113, 77].into()).unwrap();
    assert_eq!(w.send("wan", error), nothing());
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));

    // About a flow, but by a port that the flow never took.
    let query = udp("10.0.1.10:4000", "192.0.2.80:53").macs(A, w.mac("a")).build();
    let outside = w.send("a", query).remove(0).1;
    let error = build::icmp_error(&outside, EXPIRED, [10, 0, 2, 9].into()).unwrap();
    assert_eq!(w.send("lan", error), nothing());
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));

    let mut error = build::icmp_error(&outside, EXPIRED, [203, 0, 113, 77].into()).unwrap();
    error[22] = 1;
    error[24..26].fill(0);
    let check = reference_checksum(&error[14..34]);
    error[24..26].copy_from_slice(&check.to_be_bytes());
    assert_eq!(w.send("wan", error), nothing());
    assert_eq!(w.fate(), dropped(Drop::TimeToLive));
}

#[test]
fn an_error_to_somebody_other_than_the_sender_of_what_it_quotes_is_not_believed() {
    let mut w = routed();
    let query = udp("10.0.1.10:4000", "192.0.2.80:53").macs(A, w.mac("a")).build();
    let outside = w.send("a", query).remove(0).1;
    let mut error = build::icmp_error(&outside, EXPIRED, [203, 0, 113, 77].into()).unwrap();
    error[33] ^= 1;
    error[24..26].fill(0);
    let check = reference_checksum(&error[14..34]);
    error[24..26].copy_from_slice(&check.to_be_bytes());
    assert_eq!(w.send("wan", error), nothing());
    assert_eq!(w.fate(), dropped(Drop::Unsolicited));
}
