//! Packets in fragments: every one of them byte by byte, in any order, and what becomes of those
//! that are wrong, late, too many or somebody else's.

use std::net::IpAddr;

use super::*;
use crate::fast_path::Direction;
use crate::fragment::{LIFETIME, Limits};
use crate::packet::{IcmpErrorKind, build};
use crate::testing::{MTU, host_mac, identification_of, in_fragments};

const INSIDE: [(&str, &str); 2] =
    [("10.0.1.10:4000", "10.0.1.11:53"), ("[fd00:a:0:1::10]:4000", "[fd00:a:0:1::11]:53")];

/// Three bytes of it are enough to see it out of its place.
fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

/// A packet of every protocol, of `length` bytes of data, with these MAC addresses and hops.
fn packets(src: &str, dst: &str, length: usize, macs: [MacAddr; 2], ttl: u8) -> [Vec<u8>; 3] {
    let [from, to] = macs;
    let (udp, tcp) = (udp(src, dst), tcp(src, dst));
    let echo = ping(&at(src).ip().to_string(), &at(dst).ip().to_string(), 77);
    [
        udp.payload(data(length)).macs(from, to).ttl(ttl).build(),
        tcp.payload(data(length)).macs(from, to).ttl(ttl).build(),
        echo.payload(data(length)).macs(from, to).ttl(ttl).build(),
    ]
}

/// In three fragments.
fn three(frame: &[u8], identification: u32) -> [Vec<u8>; 3] {
    in_fragments(frame, 800, identification).try_into().unwrap()
}

/// A datagram from `a` to `b`, as it comes and as it leaves.
fn from_a_to_b(w: &World, identification: u32) -> [[Vec<u8>; 3]; 2] {
    let (src, dst) = INSIDE[0];
    let [whole, ..] = packets(src, dst, 2000, [A, w.mac("a")], 64);
    let [there, ..] = packets(src, dst, 2000, [w.mac("b"), B], 63);
    [three(&whole, identification), three(&there, identification)]
}

fn all_by(port: &str, frames: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    frames.iter().map(|frame| (port.to_owned(), frame.clone())).collect()
}

#[test]
fn fragments_go_on_one_by_one_both_ways_in_both_families_whatever_they_carry() {
    let mut w = world();
    for (src, dst) in INSIDE {
        let there = packets(src, dst, 2000, [A, w.mac("a")], 64);
        let arrives = packets(src, dst, 2000, [w.mac("b"), B], 63);
        let mut back = packets(dst, src, 2000, [B, w.mac("b")], 64);
        let mut returns = packets(dst, src, 2000, [w.mac("a"), A], 63);
        let reply = |macs: [MacAddr; 2], ttl| {
            let [from, to] = macs;
            let frame = Frame::echo_reply(at(dst).ip(), at(src).ip(), 77, 1);
            frame.payload(data(2000)).macs(from, to).ttl(ttl).build()
        };
        back[2] = reply([B, w.mac("b")], 64);
        returns[2] = reply([w.mac("a"), A], 63);
        let ways = [("a", there, "b", arrives), ("b", back, "a", returns)];
        for (from, sent, to, expected) in ways {
            for (n, (sent, expected)) in sent.iter().zip(expected).enumerate() {
                let id = 0x1200 + n as u32;
                for (part, expected) in three(sent, id).into_iter().zip(three(&expected, id)) {
                    assert_eq!(w.send(from, part), out(to, expected));
                    assert_eq!(w.fate(), FORWARDED);
                }
            }
        }
    }
    assert_eq!(w.engine.flow_count(), 6);
    assert!(w.engine.fragments().is_empty() && is_accounted(&w));
}

#[test]
fn fragments_come_in_any_order_and_those_before_the_first_wait_for_it() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
        let mut w = world();
        let [parts, expected] = from_a_to_b(&w, 9);
        let mut sent = Vec::new();
        for n in order {
            let before_first = !sent.iter().any(|(_, it)| *it == expected[0]);
            sent.extend(w.send("a", parts[n].clone()));
            let waits = before_first && n != 0;
            assert_eq!(w.fate(), if waits { QUEUED } else { FORWARDED }, "{order:?}");
        }
        // The first leads; the others follow in the order they came.
        let later = order.iter().filter(|n| **n != 0);
        let order: Vec<_> = [&0].into_iter().chain(later).map(|n| expected[*n].clone()).collect();
        assert_eq!(sent, all_by("b", &order));
        assert!(w.engine.fragments().is_empty() && is_accounted(&w));
        assert_eq!(w.engine.counters().packets_waiting(), 0);
    }
}

#[test]
fn every_fragment_counts_for_its_flow() {
    let mut w = world();
    let [parts, _] = from_a_to_b(&w, 9);
    let bytes = parts.iter().map(|part| part.len() as u64 - 14).sum();
    for part in parts.iter().rev() {
        w.send("a", part.clone());
    }
    let view = only_flow(&mut w);
    assert_eq!((view.forward.packets, view.forward.bytes), (3, bytes));
    assert_eq!(view.reverse.packets, 0);
}

/// From `a` to the outside, its Elastic IP address in the place of its own.
#[test]
fn where_addresses_change_all_fragments_of_a_datagram_get_one_identification_of_ours() {
    let mut w = World::among_hosts(DOCUMENT, no_functions);
    let ways = [
        ("10.0.1.10:4000", "198.51.100.10:4000", "192.0.2.80:53", "203.0.113.1"),
        ("[fd00:a:0:1::10]:4000", "[2001:db8:e::10]:4000", "[2001:db8:f::80]:53", "2001:db8::1"),
    ];
    for (private, public, server, router) in ways {
        let router = host_mac(router.parse::<IpAddr>().unwrap());
        let wan = w.mac("wan");
        let sent = packets(private, server, 2000, [A, w.mac("a")], 64);
        let expected = packets(public, server, 2000, [wan, router], 63);
        let mut seen = Vec::new();
        for (sent, expected) in sent.iter().zip(expected) {
            let [first, middle, last] = three(sent, 0x1234);
            // The last before the first, the middle behind it.
            assert_eq!(w.send("a", last), nothing());
            let mut left = w.send("a", first);
            left.extend(w.send("a", middle));
            let own = identification_of(&left[0].1);
            let [first, middle, last] = three(&expected, own);
            assert_eq!(left, all_by("wan", &[first, last, middle]));
            seen.push(own);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3, "one for each datagram, though all came with the same");

        let answers = packets(server, public, 2000, [router, wan], 64);
        let expected = packets(server, private, 2000, [w.mac("a"), A], 63);
        for (answer, expected) in answers.iter().zip(expected).take(2) {
            let left: Vec<_> =
                three(answer, 7).into_iter().flat_map(|part| w.send("wan", part)).collect();
            let own = identification_of(&left[0].1);
            assert_eq!(left, all_by("a", &three(&expected, own)));
        }
    }
    assert!(is_accounted(&w));
}

#[test]
fn duplicates_do_no_harm() {
    let mut w = world();
    let [[first, middle, last], expected] = from_a_to_b(&w, 9);
    assert_eq!(w.send("a", middle.clone()), nothing());
    assert_eq!(w.send("a", middle.clone()), nothing());
    assert_eq!(w.fate(), dropped(Drop::FragmentDuplicate));
    assert_eq!(w.send("a", first.clone()), all_by("b", &expected[..2]));
    assert_eq!(w.send("a", middle), out("b", expected[1].clone()));
    assert_eq!(w.send("a", first), out("b", expected[0].clone()));
    assert_eq!(w.send("a", last), out("b", expected[2].clone()));
    assert_eq!(w.engine.flow_count(), 1);
    assert!(is_accounted(&w));
}

/// RFC 5722.
#[test]
fn an_overlap_ends_the_datagram_in_both_families() {
    for (src, dst) in INSIDE {
        let mut w = world();
        let [whole, ..] = packets(src, dst, 2000, [A, w.mac("a")], 64);
        let [first, middle, last] = three(&whole, 9);
        let shifted = in_fragments(&whole, 792, 9).swap_remove(1);
        assert_eq!(w.send("a", first.clone()).len(), 1);
        for part in [shifted, middle, last, first] {
            assert_eq!(w.send("a", part), nothing());
            assert_eq!(w.fate(), dropped(Drop::FragmentOverlap));
        }
        // Its identification is free again some seconds later.
        w.pass(LIFETIME);
        for part in three(&whole, 9) {
            assert_eq!(w.send("a", part).len(), 1);
        }
        assert!(is_accounted(&w));
    }
}

#[test]
fn two_first_fragments_that_contradict_each_other_end_the_datagram() {
    let mut w = world();
    let [[first, middle, _], _] = from_a_to_b(&w, 9);
    let [other, ..] = packets("10.0.1.10:4001", "10.0.1.11:53", 2000, [A, w.mac("a")], 64);
    assert_eq!(w.send("a", first).len(), 1);
    for part in [three(&other, 9)[0].clone(), middle] {
        assert_eq!(w.send("a", part), nothing());
        assert_eq!(w.fate(), dropped(Drop::FragmentOverlap));
    }
    assert_eq!(w.engine.flow_count(), 1, "the second opened none");
}

#[test]
fn a_later_fragment_opens_no_flow_and_is_dropped_when_no_first_one_comes() {
    let mut w = world();
    let [[_, middle, last], _] = from_a_to_b(&w, 9);
    for part in [middle, last] {
        assert_eq!(w.send("a", part), nothing());
        assert_eq!(w.fate(), QUEUED);
    }
    assert_eq!((w.engine.flow_count(), w.engine.counters().packets_waiting()), (0, 2));
    assert!(is_accounted(&w));
    assert_eq!(w.pass(LIFETIME), nothing());
    assert_eq!(w.dropped(Drop::FragmentTimeout), 2);
    assert!(is_empty(&mut w) && is_accounted(&w));
}

#[test]
fn what_the_first_fragment_may_not_the_others_may_not() {
    let mut w = world();
    // No route leads there.
    let [whole, ..] = packets("10.0.1.10:1", "172.16.0.1:1", 2000, [A, w.mac("a")], 64);
    let [first, middle, last] = three(&whole, 9);
    assert_eq!(w.send("a", last), nothing());
    assert_eq!(w.send("a", first), nothing());
    assert_eq!(w.fate(), dropped(Drop::Blackhole));
    assert_eq!(w.dropped(Drop::FragmentRefused), 1, "the one that waited");
    assert_eq!(w.send("a", middle), nothing());
    assert_eq!(w.fate(), dropped(Drop::FragmentRefused));
    w.pass(LIFETIME);
    assert!(is_empty(&mut w) && is_accounted(&w));
}

#[test]
fn every_fragment_has_to_come_from_who_it_says() {
    let mut w = world();
    let [[first, middle, last], expected] = from_a_to_b(&w, 9);
    assert_eq!(w.send("a", first), out("b", expected[0].clone()));
    let mut forged = middle.clone();
    forged[6..12].copy_from_slice(B.as_bytes());
    assert_eq!(w.send("a", forged), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    // By another port it is another datagram, though that tenant has the same addresses.
    let mut of_other = middle.clone();
    of_other[6..12].copy_from_slice(OTHER.as_bytes());
    assert_eq!(w.send("other", of_other), nothing());
    assert_eq!(w.fate(), QUEUED);
    assert_eq!(w.send("b", last.clone()), nothing());
    assert_eq!(w.fate(), dropped(Drop::SourceCheck));
    assert_eq!(w.send("a", middle), out("b", expected[1].clone()));
    assert_eq!(w.send("a", last), out("b", expected[2].clone()));
}

#[test]
fn nothing_follows_a_flow_that_has_ended() {
    let mut w = world();
    let [[first, middle, _], _] = from_a_to_b(&w, 9);
    assert_eq!(w.send("a", first).len(), 1);
    let closed = DOCUMENT.replace("cidr_ipv4 = \"0.0.0.0/0\"", "cidr_ipv4 = \"10.9.0.0/16\"");
    w.reload(&closed);
    assert_eq!((w.engine.flow_count(), ended(&w, FlowEnd::Policy)), (0, 1));
    assert_eq!(w.send("a", middle), nothing());
    assert_eq!(w.fate(), dropped(Drop::FragmentRefused));
}

#[test]
fn nothing_waits_at_a_port_that_is_gone_or_another_ones() {
    let mut w = world();
    let [[first, middle, last], _] = from_a_to_b(&w, 9);
    w.send("a", middle.clone());
    let moved = DOCUMENT.replace("port = \"a\"", "port = \"a2\"");
    w.reload(&moved.replace("port = \"b\"", "port = \"a\"").replace("\"a2\"", "\"b\""));
    assert_eq!(w.dropped(Drop::PortGone), 1, "`a` and `b` have changed places");
    w.reload(DOCUMENT);
    w.send("a", last);
    w.unplug("a");
    assert_eq!(w.dropped(Drop::PortGone), 2);
    w.plug("a");
    let sent = w.send("a", first);
    assert_eq!(sent.len(), 1, "without those that waited: {sent:?}");
    assert!(is_accounted(&w));
}

#[test]
fn a_fragment_with_no_hop_left_goes_nowhere_and_only_the_first_is_told_of() {
    let mut w = world();
    let (src, dst) = INSIDE[0];
    let [whole, ..] = packets(src, dst, 2000, [A, w.mac("a")], 64);
    let [dying, ..] = packets(src, dst, 2000, [A, w.mac("a")], 1);
    assert_eq!(w.send("a", three(&whole, 9)[0].clone()).len(), 1);
    assert_eq!(w.send("a", three(&dying, 9)[1].clone()), nothing());
    assert_eq!(w.fate(), dropped(Drop::TimeToLive));
    let first = three(&dying, 10)[0].clone();
    let kind = IcmpErrorKind::TimeExceeded { code: 0 };
    let told = build::icmp_error(&first, kind, [10, 0, 1, 1].into()).unwrap();
    let sent = w.send("a", first);
    assert_eq!((sent.len(), &sent[0].1[14..]), (1, &told[14..]));
}

#[test]
fn fragments_wait_for_their_next_hop_in_their_order() {
    let mut w = world();
    let [whole, ..] = packets("10.0.1.10:1", "10.0.2.7:1", 2000, [A, w.mac("a")], 64);
    let parts = three(&whole, 9);
    // A question for the next hop, then nothing.
    assert_eq!(w.send("a", parts[2].clone()), nothing());
    assert_eq!(w.send("a", parts[0].clone()).len(), 1);
    assert_eq!(w.send("a", parts[1].clone()), nothing());
    assert_eq!((w.fate(), w.engine.counters().packets_waiting()), (QUEUED, 3));
    let lan = w.mac("lan");
    let known = build::arp_reply(HOST, [10, 0, 2, 7].into(), lan, [10, 0, 2, 1].into());
    let [expected, ..] = packets("10.0.1.10:1", "10.0.2.7:1", 2000, [lan, HOST], 63);
    let [first, middle, last] = three(&expected, 9);
    assert_eq!(w.send("lan", known), all_by("lan", &[first, last, middle]));
    assert_eq!(w.engine.counters().packets_waiting(), 0);
    assert!(is_accounted(&w));
}

#[test]
fn fragments_that_no_sender_makes_are_dropped() {
    let mut w = world();
    let (src, dst) = INSIDE[0];
    let [_, tcp, echo] = packets(src, dst, 2000, [A, w.mac("a")], 64);
    let amid_tcp = in_fragments(&tcp, 8, 1).swap_remove(1);
    // A last fragment that ends where no packet does.
    let mut ping_of_death = in_fragments(&echo, 1024, 2).swap_remove(1);
    ping_of_death[20..22].copy_from_slice(&[0x1f, 0xff]);
    set_ipv4_checksum(&mut ping_of_death);
    let mut odd = in_fragments(&echo, 1024, 3).swap_remove(0);
    odd.truncate(odd.len() - 1);
    odd[16..18].copy_from_slice(&1043_u16.to_be_bytes());
    set_ipv4_checksum(&mut odd);
    for frame in [amid_tcp, ping_of_death, odd] {
        assert_eq!(w.send("a", frame), nothing());
        assert_eq!(w.fate(), dropped(Drop::FragmentInvalid));
    }
    // RFC 1858: the flags in the second fragment.
    assert_eq!(w.send("a", in_fragments(&tcp, 16, 4).swap_remove(0)), nothing());
    assert_eq!(w.fate(), dropped(Drop::Malformed));
    assert_eq!((w.engine.flow_count(), w.engine.fragments().len()), (0, 0));
}

fn set_ipv4_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let check = crate::testing::reference_checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

#[test]
fn a_fragment_of_what_has_no_flow_is_dropped() {
    let mut w = world();
    let (src, dst) = INSIDE[0];
    let [whole, ..] = packets(src, dst, 2000, [A, w.mac("a")], 64);
    let mut sctp = three(&whole, 1);
    for part in &mut sctp {
        part[23] = 132;
        set_ipv4_checksum(part);
        assert_eq!(w.send("a", part.clone()), nothing());
        assert_eq!(w.fate(), dropped(Drop::Protocol));
    }
    // To the gateway itself, which puts nothing together.
    let request = ping("10.0.1.10", "10.0.1.1", 1).payload(data(2000)).macs(A, w.mac("a"));
    let [first, ..] = three(&request.build(), 2);
    assert_eq!(w.send("a", first), nothing());
    assert_eq!(w.fate(), dropped(Drop::NotServed));
    // An ICMP error nobody can verify the checksum of.
    let quoted = udp("10.0.1.11:1", "10.0.1.10:1").payload(data(2000)).build();
    let kind = IcmpErrorKind::Unreachable { code: 3 };
    let mut error = build::icmp_error(&quoted, kind, [10, 0, 1, 10].into()).unwrap();
    error[..6].copy_from_slice(w.mac("a").as_bytes());
    error[6..12].copy_from_slice(A.as_bytes());
    assert_eq!(w.send("a", in_fragments(&error, 400, 3).swap_remove(0)), nothing());
    assert_eq!(w.fate(), dropped(Drop::NotServed));
}

#[test]
fn an_ipv6_fragment_has_no_extension_header_but_its_own() {
    let mut w = world();
    let (src, dst) = INSIDE[1];
    let [whole, ..] = packets(src, dst, 2000, [A, w.mac("a")], 64);
    for mut part in three(&whole, 9) {
        // Hop-by-hop options in front.
        part.splice(54..54, [44, 0, 1, 4, 0, 0, 0, 0]);
        part[20] = 0;
        let length = (part.len() - 54) as u16;
        part[18..20].copy_from_slice(&length.to_be_bytes());
        assert_eq!(w.send("a", part), nothing());
        assert_eq!(w.fate(), dropped(Drop::ExtensionHeader));
    }
    assert!(w.engine.fragments().is_empty());
    let unsummed = udp(src, dst).payload(data(2000)).macs(A, w.mac("a")).no_checksum().build();
    assert_eq!(w.send("a", three(&unsummed, 10)[0].clone()), nothing());
    assert_eq!(w.fate(), dropped(Drop::BadChecksum));
}

/// RFC 6946.
#[test]
fn an_atomic_fragment_is_a_packet_like_any_other() {
    let mut w = world();
    let (src, dst) = INSIDE[1];
    let whole = udp(src, dst).macs(A, w.mac("a")).build();
    let there = udp(src, dst).macs(w.mac("b"), B).ttl(63).build();
    for _ in 0..2 {
        let [atomic, expected] =
            [&whole, &there].map(|frame| in_fragments(frame, 800, 7).swap_remove(0));
        assert_eq!(w.send("a", atomic), out("b", expected));
        assert_eq!(w.fate(), FORWARDED);
    }
    assert!(w.engine.fragments().is_empty());
    let mut damaged = in_fragments(&whole, 800, 7).swap_remove(0);
    damaged[70] ^= 1;
    assert_eq!(w.send("a", damaged), nothing());
    assert_eq!(w.fate(), dropped(Drop::BadChecksum), "it is whole, so it can be verified");
}

/// RFC 791 and RFC 1812, section 4.2.2.7.
#[test]
fn an_ipv4_packet_that_is_too_large_goes_on_in_fragments_if_it_may() {
    let mut w = World::among_hosts(DOCUMENT, no_functions);
    let (src, dst, server) = ("10.0.1.10:4000", "10.0.1.11:53", "192.0.2.80:53");
    // First by the engine, then by way of the flow's entry.
    for _ in 0..2 {
        let whole = || udp(src, dst).payload(data(3000)).identification(7).may_fragment();
        let expected = whole().macs(w.mac("b"), B).ttl(63).build();
        let parts = in_fragments(&expected, 1480, 7);
        let large = whole().macs(A, w.mac("a")).build();
        assert_eq!(w.send("a", large), all_by("b", &parts));
        assert_eq!(w.fate(), FORWARDED);
    }
    let router = host_mac([203, 0, 113, 1].into());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let whole = udp(src, server).payload(data(3000)).identification(7).may_fragment();
        let left = w.send("a", whole.macs(A, w.mac("a")).build());
        let own = identification_of(&left[0].1);
        let expected = udp("198.51.100.10:4000", server).payload(data(3000)).ttl(63);
        let expected = expected.macs(w.mac("wan"), router).build();
        assert_eq!(left, all_by("wan", &in_fragments(&expected, 1480, own)));
        seen.push(own);
    }
    assert_ne!(seen[0], seen[1], "one of ours for each");
    assert_eq!(w.engine.counters().fragmented, 4);
    assert!(is_accounted(&w));
}

#[test]
fn a_fragment_that_is_too_large_is_cut_further() {
    let mut w = world();
    let (src, dst) = INSIDE[0];
    let whole = udp(src, dst).payload(data(4000)).macs(A, w.mac("a")).build();
    let there = udp(src, dst).payload(data(4000)).macs(w.mac("b"), B).ttl(63).build();
    let mut left = Vec::new();
    for part in in_fragments(&whole, 2000, 7).into_iter().rev() {
        left.extend(w.send("a", part));
    }
    // The last eight bytes and those before them waited for the first.
    let of = |start: usize, length: usize| {
        in_fragments(&there, length, 7).into_iter().nth(start / length).unwrap()
    };
    let lens: Vec<_> = left.iter().map(|(_, frame)| frame.len() - 34).collect();
    assert_eq!(lens, [1480, 520, 8, 1480, 520]);
    assert_eq!(left[0].1, of(0, 1480));
    assert_eq!(left[2].1, of(4000, 2000));
    let bytes = |frame: &Vec<u8>| {
        let offset = usize::from(u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff) * 8;
        (offset, frame[34..].to_vec())
    };
    let mut datagram = vec![0; 4008];
    for (offset, part) in left.iter().map(|(_, frame)| bytes(frame)) {
        datagram[offset..offset + part.len()].copy_from_slice(&part);
    }
    assert_eq!(datagram, there[34..]);
    assert!(is_accounted(&w));
}

#[test]
fn a_packet_that_is_too_large_and_may_not_be_cut_is_told_of() {
    let mut w = world();
    let (src, dst) = INSIDE[0];
    let large = udp(src, dst).payload(data(3000)).macs(A, w.mac("a")).build();
    // IPv4 with "don't fragment", as a whole and as a first fragment; IPv6, which no router cuts.
    let mut first = in_fragments(&large, 2000, 7).swap_remove(0);
    first[20] |= 0x40;
    set_ipv4_checksum(&mut first);
    let (src, dst) = INSIDE[1];
    let large6 = udp(src, dst).payload(data(3000)).macs(A, w.mac("a")).build();
    let first6 = in_fragments(&large6, 2000, 7).swap_remove(0);
    let routers: [IpAddr; 2] = ["10.0.1.1".parse().unwrap(), "fd00:a:0:1::1".parse().unwrap()];
    let cases =
        [(large, routers[0]), (first, routers[0]), (large6, routers[1]), (first6, routers[1])];
    for (n, (frame, router)) in cases.into_iter().enumerate() {
        let kind = IcmpErrorKind::PacketTooBig { mtu: u32::from(MTU) };
        let told = build::icmp_error(&frame, kind, router).unwrap();
        let sent = w.send("a", frame);
        assert_eq!(w.fate(), dropped(Drop::TooBig), "case {n}");
        assert_eq!((sent.len(), &sent[0].1[14..]), (1, &told[14..]), "case {n}");
    }
    assert_eq!(w.engine.counters().fragmented, 0);
}

#[test]
fn a_flood_of_fragments_grows_nothing_past_its_bounds_and_others_go_on() {
    let mut w = world();
    let [[first, middle, last], expected] = from_a_to_b(&w, 0xffff);
    assert_eq!(w.send("a", first), out("b", expected[0].clone()));
    let [whole, ..] = packets("10.0.1.11:1", "10.0.1.10:1", 2000, [B, w.mac("b")], 64);
    for id in 0..5000 {
        let [first, middle, last] = three(&whole, id);
        // Never a whole datagram; of some the first fragment, of some none.
        w.send("b", if id % 3 == 0 { first } else { last });
        w.send("b", middle);
        let fragments = w.engine.fragments();
        assert!(fragments.len() <= Limits::DEFAULT.datagrams_of_port + 1);
        assert!(fragments.waiting_bytes() <= Limits::DEFAULT.bytes_of_port);
    }
    assert!(w.dropped(Drop::FragmentTableFull) > 3000, "{}", w.dropped(Drop::FragmentTableFull));
    assert!(is_accounted(&w));
    assert_eq!(w.send("a", middle), out("b", expected[1].clone()));
    assert_eq!(w.send("a", last), out("b", expected[2].clone()));
    // What is new passes even by the port that is flooded.
    let parts = three(&whole, 6000);
    assert_eq!(w.send("b", parts[2].clone()), nothing());
    assert_eq!(w.send("b", parts[0].clone()).len(), 2);
    assert_eq!(w.send("b", parts[1].clone()).len(), 1);
    w.pass(LIFETIME);
    assert!(w.engine.fragments().is_empty());
    assert_eq!(w.engine.counters().packets_waiting(), 0);
    assert!(is_accounted(&w));
}

#[test]
fn a_syn_in_fragments_opens_anew_what_was_closed() {
    let mut w = world();
    let gw = w.mac("a");
    let syn = |seq| tcp("10.0.1.10:1", "10.0.1.11:80").flags(SYN).seq(seq).macs(A, gw);
    assert_eq!(w.send("a", syn(1).build()).len(), 1);
    let reset = tcp("10.0.1.11:80", "10.0.1.10:1").flags(RST).macs(B, w.mac("b"));
    assert_eq!(w.send("b", reset.build()).len(), 1);
    for part in three(&syn(2).payload(data(2000)).build(), 5) {
        assert_eq!(w.send("a", part).len(), 1);
    }
    assert_eq!((ended(&w, FlowEnd::Reopened), w.engine.flow_count()), (1, 1));
    assert_eq!(only_flow(&mut w).forward.packets, 3);
}

#[test]
fn a_first_fragment_takes_over_the_flow_that_whole_packets_have() {
    let mut w = world();
    let (src, dst) = INSIDE[0];
    w.send("a", udp(src, dst).macs(A, w.mac("a")).build());
    let [parts, expected] = from_a_to_b(&w, 9);
    for (part, expected) in parts.into_iter().zip(expected) {
        assert_eq!(w.send("a", part), out("b", expected));
    }
    w.send("a", udp(src, dst).macs(A, w.mac("a")).build());
    assert!(was_fast(&w, "b"));
    let view = only_flow(&mut w);
    assert_eq!((view.forward.packets, view.flow.key(Direction::Forward).port), (5, w.port("a")));
}
