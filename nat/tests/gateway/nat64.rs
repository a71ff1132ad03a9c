//! IPv6 clients and IPv4 servers (RFC 6146): what leaves, what comes back, and what is reported.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use nf_core::action::identification;
use nf_core::fast_path::soft::{Decision, FrameMeta};
use nf_core::packet::{IcmpErrorKind, Quoted, TcpFlags, build};
use nf_core::testing::reference_checksum;
use nf_core::verdict::Punt;

use super::*;

const CLIENT: &str = "fd00:a:0:1::10";
/// 192.0.2.80 as the client names it.
const NAMED: &str = "[64:ff9b::c000:250]:443";

fn client(port: u16) -> SocketAddr {
    (CLIENT.parse::<Ipv6Addr>().unwrap(), port).into()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The MAC addresses of the client and of the router outside.
fn client_mac() -> MacAddr {
    host_mac(ip(CLIENT))
}

fn router_mac() -> MacAddr {
    host_mac(ip("203.0.113.1"))
}

fn syn(port: u16) -> Frame<TcpSegment> {
    Frame::tcp(client(port), at(NAMED)).flags(TcpFlags::SYN).mss(1440).traffic_class(0xb9)
}

/// The IP headers' own fields that a test looks at: TTL and traffic class.
fn ttl_and_class(frame: &[u8]) -> (u8, u8) {
    let headers = Headers::parse(frame).unwrap();
    let ip = headers.ip().unwrap();
    (ip.ttl, ip.traffic_class)
}

fn one((sent, port): (Vec<(String, Vec<u8>)>, &str)) -> Vec<u8> {
    let [(by, frame)] = &sent[..] else { panic!("{sent:02x?}") };
    assert_eq!(by, port);
    frame.clone()
}

/// What the gateway makes of an error about `original` that the router `from` sends.
fn told(w: &mut World, by: &str, original: &[u8], kind: IcmpErrorKind, from: IpAddr) -> Vec<u8> {
    let to = if by == "wan" { "i" } else { "wan" };
    let error = build::icmp_error(original, kind, from).unwrap();
    one((w.send(by, error), to))
}

/// Kind, source and destination of an error, and the tuple of what it quotes.
fn read(frame: &[u8]) -> (IcmpErrorKind, IpAddr, IpAddr, String) {
    let headers = Headers::parse(frame).unwrap();
    let ip = headers.ip().unwrap();
    let nf_core::packet::Transport::IcmpError { kind } = ip.transport else { panic!("{ip:?}") };
    let quoted = Quoted::parse(ip, frame).unwrap();
    (kind, ip.src, ip.dst, quoted.tuple.unwrap().to_string())
}

#[test]
fn an_ipv6_client_reaches_an_ipv4_server_as_the_elastic_address() {
    let mut w = world(5000, 5000);
    let (src, frame) = send_out(&mut w, syn(4000).build()).unwrap();
    assert_eq!(src, at("198.51.100.1:5000"));
    let expected = Frame::tcp(src, at(SERVER))
        .flags(TcpFlags::SYN)
        .mss(1440)
        .traffic_class(0xb9)
        .ttl(63)
        .identification(identification(FlowId(0), 0))
        .may_fragment()
        .macs(w.mac("wan"), router_mac());
    assert_eq!(frame, expected.build());

    let answer = Frame::tcp(at(SERVER), src).flags(TcpFlags::SYN | TcpFlags::ACK).traffic_class(3);
    let back = Frame::tcp(at(NAMED), client(4000))
        .flags(TcpFlags::SYN | TcpFlags::ACK)
        .traffic_class(3)
        .ttl(63)
        .macs(w.mac("i"), client_mac());
    assert_eq!(w.send("wan", answer.build()), [("i".to_owned(), back.build())]);
    assert_eq!(w.fate(), Fate::Fast(Decision::Forward(w.port("i"))));
    assert_eq!(usage(&w), one_open_connection());
}

#[test]
fn the_fast_path_goes_on_where_the_engine_began() {
    let mut w = world(5000, 5000);
    send_out(&mut w, syn(4000).build()).unwrap();
    for nth in 1..=3 {
        let data = Frame::tcp(client(4000), at(NAMED)).payload(vec![7; 1220]).build();
        let frame = one((w.send("i", data), "wan"));
        assert_eq!(w.fate(), Fate::Fast(Decision::Forward(w.port("wan"))));
        let expected = Frame::tcp(at("198.51.100.1:5000"), at(SERVER))
            .payload(vec![7; 1220])
            .ttl(63)
            .identification(identification(FlowId(0), nth))
            .may_fragment()
            .macs(w.mac("wan"), router_mac());
        assert_eq!(frame, expected.build(), "of 1260 bytes");
    }
    let data = Frame::tcp(client(4000), at(NAMED)).payload(vec![7; 1221]).build();
    let frame = one((w.send("i", data), "wan"));
    assert_eq!(frame[20..22], [0x40, 0], "DF, of 1261 bytes");
}

#[test]
fn pings_are_translated_both_ways_by_their_identifier() {
    let mut w = world(5000, 5000);
    let named = ip("64:ff9b::c000:250");
    let ping = Frame::echo_request(ip(CLIENT), named, 77, 3).payload(*b"odd").build();
    let (_, frame) = send_out(&mut w, ping).unwrap();
    let expected = Frame::echo_request(ip(PUBLIC), ip("192.0.2.80"), 5000, 3)
        .payload(*b"odd")
        .ttl(63)
        .identification(identification(FlowId(0), 0))
        .may_fragment()
        .macs(w.mac("wan"), router_mac());
    assert_eq!(frame, expected.build());
    let answer = Frame::echo_reply(ip("192.0.2.80"), ip(PUBLIC), 5000, 3).payload(*b"odd").build();
    let back = Frame::echo_reply(named, ip(CLIENT), 77, 3)
        .payload(*b"odd")
        .ttl(63)
        .macs(w.mac("i"), client_mac());
    assert_eq!(w.send("wan", answer), [("i".to_owned(), back.build())]);
}

fn open_udp(w: &mut World) -> SocketAddr {
    let query = Frame::udp(client(4000), at("[64:ff9b::c000:201]:53")).payload(*b"query");
    send_out(w, query.build()).unwrap().0
}

#[test]
fn a_datagram_without_a_checksum_gets_one() {
    let mut w = world(5000, 5000);
    let src = open_udp(&mut w);
    let answer = Frame::udp(at("192.0.2.1:53"), src).payload(*b"answer").no_checksum().build();
    let back = Frame::udp(at("[64:ff9b::c000:201]:53"), client(4000))
        .payload(*b"answer")
        .ttl(63)
        .macs(w.mac("i"), client_mac());
    assert_eq!(w.send("wan", answer), [("i".to_owned(), back.build())]);
    assert_eq!(w.engine.counters().punts[Punt::Translation as usize], 1);
}

/// Puts options behind an IPv4 header.
fn with_options(mut frame: Vec<u8>, options: &[u8]) -> Vec<u8> {
    frame.splice(34..34, options.iter().copied());
    frame[14] += (options.len() / 4) as u8;
    frame[17] += options.len() as u8;
    frame[24..26].fill(0);
    let header_len = 20 + options.len();
    let check = reference_checksum(&frame[14..14 + header_len]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
    frame
}

#[test]
fn ipv4_options_go_away_and_a_source_route_is_reported() {
    let mut w = world(5000, 5000);
    let src = open_udp(&mut w);
    let answer = Frame::udp(at("192.0.2.1:53"), src).payload(*b"answer").build();
    let back = Frame::udp(at("[64:ff9b::c000:201]:53"), client(4000))
        .payload(*b"answer")
        .ttl(63)
        .macs(w.mac("i"), client_mac());
    let time_stamp = with_options(answer.clone(), &[68, 8, 5, 0, 0, 0, 0, 0]);
    assert_eq!(w.send("wan", time_stamp), [("i".to_owned(), back.build())]);

    let routed = with_options(answer, &[131, 7, 4, 10, 0, 0, 1, 0]);
    let report = one((w.send("wan", routed), "wan"));
    assert_eq!(w.fate(), dropped(Drop::NotServed));
    let (kind, _, dst, _) = read(&report);
    assert_eq!((kind, dst), (IcmpErrorKind::Unreachable { code: 5 }, ip("192.0.2.1")));
}

#[test]
fn a_header_with_a_wrong_checksum_is_not_made_to_look_right() {
    let mut w = world(5000, 5000);
    let src = open_udp(&mut w);
    let mut answer = Frame::udp(at("192.0.2.1:53"), src).payload(*b"answer").build();
    answer[24] ^= 1;
    assert_eq!(w.send("wan", answer), []);
    assert_eq!(w.fate(), dropped(Drop::BadChecksum));
}

#[test]
fn what_is_too_big_is_told_in_the_senders_own_terms() {
    let mut w = world(5000, 5000);
    let src = open_udp(&mut w);
    // 1480 bytes of IPv4 are 1500 of IPv6.
    let answer = |length| Frame::udp(at("192.0.2.1:53"), src).payload(vec![1; length]).build();
    assert_eq!(one((w.send("wan", answer(1452)), "i")).len(), 14 + 1500);
    let report = one((w.send("wan", answer(1453)), "wan"));
    assert_eq!(w.fate(), dropped(Drop::TooBig));
    assert_eq!(read(&report).0, IcmpErrorKind::PacketTooBig { mtu: 1480 });
    // The other way they become shorter, so what came in leaves.
    let query = Frame::udp(client(4000), at("[64:ff9b::c000:201]:53")).payload(vec![1; 1452]);
    assert_eq!(one((w.send("i", query.build()), "wan")).len(), 14 + 1480);
    let jumbo = Frame::udp(client(4000), at("[64:ff9b::c000:201]:53")).payload(vec![1; 1473]);
    let report = one((w.send("i", jumbo.build()), "i"));
    assert_eq!(read(&report).0, IcmpErrorKind::PacketTooBig { mtu: 1520 });
}

#[test]
fn time_that_runs_out_at_the_gateway_is_told_by_the_gateway() {
    let mut w = world(5000, 5000);
    let probe = Frame::udp(client(4000), at("[64:ff9b::c000:201]:33434")).ttl(1);
    let report = one((w.send("i", probe.build()), "i"));
    let (kind, src, dst, _) = read(&report);
    assert_eq!(kind, IcmpErrorKind::TimeExceeded { code: 0 });
    assert_eq!((src, dst), (ip("fd00:a:0:1::1"), ip(CLIENT)));
}

#[test]
fn errors_of_ipv4_routers_reach_the_ipv6_client() {
    let mut w = world(5000, 5000);
    let query = Frame::udp(client(4000), at("[64:ff9b::c000:201]:53")).traffic_class(0x2e);
    let (_, sent) = send_out(&mut w, query.payload(*b"query").build()).unwrap();
    let router = ip("198.18.0.7");
    let named = "udp [fd00:a:0:1::10]:4000 > [64:ff9b::c000:201]:53";

    let kind = IcmpErrorKind::TimeExceeded { code: 0 };
    let frame = told(&mut w, "wan", &sent, kind, router);
    let from = ip("64:ff9b::c612:7");
    assert_eq!(read(&frame), (kind, from, ip(CLIENT), named.to_owned()));
    assert_eq!(frame[..12], [*client_mac().as_bytes(), *w.mac("i").as_bytes()].concat());
    assert_eq!(ttl_and_class(&frame), (63, 0xc0), "as the router's, less one");

    // The quoted packet is the client's own, byte by byte, but for a hop that it had gone.
    let own = Frame::udp(client(4000), at("[64:ff9b::c000:201]:53"))
        .traffic_class(0x2e)
        .payload(*b"query")
        .ttl(63)
        .build();
    assert_eq!(frame[62..], own[14..]);

    let far = ip("192.0.2.1");
    let (refused, as_ipv6) =
        (IcmpErrorKind::Unreachable { code: 3 }, IcmpErrorKind::Unreachable { code: 4 });
    let frame = told(&mut w, "wan", &sent, refused, far);
    let from = ip("64:ff9b::c000:201");
    assert_eq!(read(&frame), (as_ipv6, from, ip(CLIENT), named.to_owned()));

    let kind = IcmpErrorKind::PacketTooBig { mtu: 1400 };
    let frame = told(&mut w, "wan", &sent, kind, router);
    assert_eq!(read(&frame).0, IcmpErrorKind::PacketTooBig { mtu: 1420 });

    let error = build::icmp_error(&sent, IcmpErrorKind::Unreachable { code: 14 }, router).unwrap();
    assert_eq!(w.send("wan", error), []);
    assert_eq!(w.fate(), dropped(Drop::NotServed), "ICMPv6 has nothing like it");
}

#[test]
fn errors_of_ipv6_hosts_reach_the_ipv4_server() {
    let mut w = world(5000, 5000);
    let src = open_udp(&mut w);
    let answer = Frame::udp(at("192.0.2.1:53"), src).payload(*b"answer").build();
    let delivered = one((w.send("wan", answer.clone()), "i"));
    let named = "udp 192.0.2.1:53 > 198.51.100.1:5000".to_owned();

    let refused = IcmpErrorKind::Unreachable { code: 4 };
    let frame = told(&mut w, "i", &delivered, refused, ip(CLIENT));
    let expected = (IcmpErrorKind::Unreachable { code: 3 }, ip(PUBLIC), ip("192.0.2.1"), named);
    assert_eq!(read(&frame), expected);
    // All but TTL, identification and header checksum is as the server wrote it.
    assert_eq!(frame[42..46], answer[14..18]);
    assert_eq!(frame[54..], answer[26..]);
    assert_eq!(frame[50], 63);

    let kind = IcmpErrorKind::PacketTooBig { mtu: 1280 };
    let frame = told(&mut w, "i", &delivered, kind, ip(CLIENT));
    assert_eq!(read(&frame).0, IcmpErrorKind::PacketTooBig { mtu: 1260 });
}

#[test]
fn an_error_about_a_ping_quotes_the_ping() {
    let mut w = world(5000, 5000);
    let named = ip("64:ff9b::c000:250");
    let ping = Frame::echo_request(ip(CLIENT), named, 77, 3).payload(*b"odd").build();
    let (_, sent) = send_out(&mut w, ping).unwrap();
    let frame =
        told(&mut w, "wan", &sent, IcmpErrorKind::Unreachable { code: 1 }, ip("198.18.0.7"));
    let own = Frame::echo_request(ip(CLIENT), named, 77, 3).payload(*b"odd").ttl(63).build();
    assert_eq!(frame[62..], own[14..]);
    assert_eq!(read(&frame).0, IcmpErrorKind::Unreachable { code: 0 });
}

#[test]
fn what_follows_a_quoted_packet_by_rfc_4884_is_not_taken_for_a_part_of_it() {
    let mut w = world(5000, 5000);
    let big = Frame::udp(client(4000), at("[64:ff9b::c000:201]:53")).payload(vec![1; 200]);
    let (_, sent) = send_out(&mut w, big.build()).unwrap();
    let kind = IcmpErrorKind::TimeExceeded { code: 0 };
    let mut error = build::icmp_error(&sent, kind, ip("198.18.0.7")).unwrap();
    // 128 bytes of the packet, and then an MPLS label.
    error.truncate(42 + 128);
    error.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0x10, 0x40]);
    error[39] = 128 / 4;
    error[16..18].copy_from_slice(&(28 + 140_u16).to_be_bytes());
    for (at, range) in [(24, 14..34), (36, 34..error.len())] {
        error[at..at + 2].fill(0);
        let check = reference_checksum(&error[range]);
        error[at..at + 2].copy_from_slice(&check.to_be_bytes());
    }
    let frame = one((w.send("wan", error), "i"));
    assert_eq!(frame.len(), 62 + 128 + 20, "the quoted packet with its longer header");
    assert!(frame[62 + 48..].iter().all(|byte| *byte == 1));
}

#[test]
fn a_flow_of_two_families_outlives_restarts_and_new_documents() {
    let mut w = world(5000, 5999);
    let src = open_udp(&mut w);
    assert_eq!(w.restart(), 1);
    let document = format!("{DOCUMENT}\nport_range = [5000, 5999]\nudp_idle_timeout_seconds = 77");
    w.reload(&document);
    let answer = Frame::udp(at("192.0.2.1:53"), src).payload(*b"answer").build();
    one((w.send("wan", answer.clone()), "i"));
    assert_eq!(w.fate(), Fate::Fast(Decision::Forward(w.port("i"))));
    assert_eq!(usage(&w).leases, 1);

    w.reload(&format!("{document}\nnat64_prefixes = [\"2001:db8:64::/96\"]"));
    assert_eq!(w.send("wan", answer), []);
    assert_eq!(w.engine.flow_count(), 0);
    assert_eq!(usage(&w).leases, 0);
}

#[test]
fn a_flow_of_two_families_ends_when_it_is_idle() {
    let mut w = world(5000, 5000);
    open_udp(&mut w);
    w.pass(Duration::from_secs(119));
    assert_eq!((w.engine.flow_count(), w.path.len()), (1, 2));
    w.pass(Duration::from_secs(2));
    assert_eq!((w.engine.flow_count(), w.path.len()), (0, 0));
}

#[test]
fn every_prefix_of_a_gateway_is_served_and_other_ipv6_goes_on_as_ipv6() {
    let prefixes = "\nnat64_prefixes = [\"2001:db8:64::/48\", \"2001:db8:122:344::/64\"]";
    let mut w = World::among_hosts(&format!("{DOCUMENT}{prefixes}"), functions);
    for dst in ["[2001:db8:64:c000:2:100::]:53", "[2001:db8:122:344:c0:2:100:0]:53"] {
        let query = Frame::udp(client(4000), at(dst)).build();
        let (src, frame) = send_out(&mut w, query).unwrap();
        assert_eq!(src.ip(), ip(PUBLIC));
        assert_eq!(frame[30..34], [192, 0, 2, 1]);
        let back = Frame::udp(at("192.0.2.1:53"), src).build();
        let back = one((w.send("wan", back), "i"));
        assert_eq!(Headers::parse(&back).unwrap().ip().unwrap().src, at(dst).ip());
    }
    let (src, _) = send_out(&mut w, Frame::udp(client(4000), at(NAMED)).build()).unwrap();
    assert_eq!(src.ip(), ip("2001:db8:e::1"));
}

#[test]
fn nobody_is_reached_that_no_router_leads_to() {
    let mut w = world(5000, 5999);
    for (dst, reason) in [
        ("64:ff9b::7f00:1", Drop::NoRoute),
        ("64:ff9b::a9fe:a9fe", Drop::NoRoute),
        ("64:ff9b::e000:1", Drop::NoRoute),
        ("64:ff9b::ffff:ffff", Drop::NoRoute),
        // The gateway's own addresses.
        ("64:ff9b::c633:6401", Drop::Unsolicited),
    ] {
        let query = Frame::udp(client(4000), SocketAddr::new(ip(dst), 53)).build();
        assert_eq!(send_out(&mut w, query), None);
        assert_eq!(w.fate(), dropped(reason), "{dst}");
    }
    assert_eq!(usage(&w).leases, 0);
    // Private addresses are the routes' to decide on.
    let query = Frame::udp(client(4000), at("[64:ff9b::a01:203]:53")).build();
    assert!(send_out(&mut w, query).is_some());
}

#[test]
fn a_gateway_without_an_ipv4_address_translates_nothing() {
    let document = DOCUMENT.replace("\"eipalloc-1\", ", "");
    let mut w = World::among_hosts(&document, functions);
    assert_eq!(send_out(&mut w, syn(4000).build()), None);
    assert_eq!(w.fate(), dropped(Drop::NoPublicAddress));
}

#[test]
fn the_last_port_is_found_in_stock_for_a_client_of_the_other_family() {
    let mut w = world(5000, 5015);
    // A class of IPv4 has taken all that is left.
    for n in 1..=3 {
        send_out(&mut w, udp(n, "192.0.2.1:53").build()).unwrap();
    }
    assert!(w.path.stocked() > 0);
    for n in 4..=16 {
        let query = Frame::udp(client(n), at("[64:ff9b::c000:201]:53")).build();
        assert!(send_out(&mut w, query).is_some(), "flow {n}");
    }
    assert_eq!(usage(&w).leases, 16);
}

#[test]
fn a_super_packet_is_cut_after_it_is_translated() {
    let mut w = world(5000, 5000);
    let first = Frame::tcp(client(4000), at(NAMED)).flags(TcpFlags::SYN).build();
    send_out(&mut w, first).unwrap();
    let frame = Frame::tcp(client(4000), at(NAMED)).payload(vec![9; 3000]).build();
    let meta = FrameMeta { segment_size: 1440, ..FrameMeta::default() };
    let World { engine, path, now, .. } = &mut w;
    let port = path.entries().map(|(key, _)| key).find(|key| !key.tuple.is_ipv4()).unwrap().port;
    let verdict = engine.packet(*now, port, Punt::Unresolved, meta, &frame, path);
    assert_eq!(verdict, Verdict::Forwarded);
    let sent = path.take_transmits();
    let lengths: Vec<_> = sent.iter().map(|it| it.frame.len()).collect();
    assert_eq!(lengths, [14 + 40 + 1440, 14 + 40 + 1440, 14 + 40 + 120]);
    for (it, nth) in sent.iter().zip(1..) {
        let id = identification(FlowId(0), nth);
        assert_eq!(it.frame[18..20], id.to_be_bytes());
        assert!(nf_core::testing::checksums_are_right(&it.frame));
    }
    let answers = w.path.entries().find(|(key, _)| !key.tuple.is_ipv4()).unwrap().1.usage;
    assert_eq!(answers.packets, 4);
}

#[test]
fn a_route_for_the_prefix_alone_leads_to_the_gateway() {
    let document = DOCUMENT
        .replace(
            "{ destination_ipv6_cidr_block = \"::/0\", nat_gateway_id = \"nat-1\" }",
            "{ destination_ipv6_cidr_block = \"2001:db8:64::/96\", nat_gateway_id = \"nat-1\" }",
        )
        .replace("fd00:a:", "2001:db8:");
    let document = format!("{document}\nnat64_prefixes = [\"2001:db8:64::/96\"]");
    let mut w = World::among_hosts(&document, functions);
    let client = at("[2001:db8:0:1::10]:4000");
    let query = Frame::udp(client, at("[2001:db8:64::c000:201]:53")).payload(*b"query");
    let (src, _) = send_out(&mut w, query.build()).unwrap();
    assert_eq!(src.ip().to_string(), PUBLIC);
}
