use std::net::Ipv6Addr;

use super::*;
use crate::packet::Frame;
use crate::packet::build::{arp_request, neighbour_solicitation};
use crate::packet::malformed::Layer;

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 443);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

fn ip(frame: &[u8]) -> IpHeaders {
    *Headers::parse(frame).unwrap().ip().unwrap()
}

#[test]
fn a_tcp_frame_is_summed_up() {
    let frame = Frame::tcp(CLIENT, SERVER)
        .flags(TcpFlags::SYN)
        .seq(1)
        .ack(2)
        .mss(1460)
        .ttl(7)
        .traffic_class(0xb8)
        .payload([0; 5])
        .build();
    let expected = Headers {
        src_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        dst_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        content: Content::Ip(IpHeaders {
            l3_offset: 14,
            l4_offset: 34,
            total_len: 20 + 24 + 5,
            ttl: 7,
            traffic_class: 0xb8,
            protocol: 6,
            src: [10, 0, 0, 1].into(),
            dst: [192, 0, 2, 1].into(),
            fragment: Fragment::None,
            has_options: false,
            transport: Transport::Tcp {
                src_port: 40_000,
                dst_port: 443,
                flags: TcpFlags::SYN,
                seq: 1,
                ack: 2,
                header_len: 24,
            },
        }),
    };
    assert_eq!(Headers::parse(&frame), Ok(expected));
    let mut padded = frame.clone();
    padded.resize(80, 0xee);
    assert_eq!(Headers::parse(&padded), Ok(expected), "padding is no part of the packet");
    assert_eq!(ip(&frame).transport_bytes(&padded), &frame[34..]);
}

#[test]
fn the_tuple_of_an_echo_has_its_identifier_on_the_asking_side() {
    let tuple = |frame: Vec<u8>| ip(&frame).tuple().unwrap();
    let request = tuple(Frame::echo_request(CLIENT.0, SERVER.0, 77, 1).build());
    assert_eq!(request.to_string(), "icmp 10.0.0.1:77 > 192.0.2.1:0");
    let reply = tuple(Frame::echo_reply(SERVER.0, CLIENT.0, 77, 1).build());
    assert_eq!(reply, request.reversed());
    let request = tuple(Frame::echo_request(CLIENT6, SERVER6, 77, 1).build());
    assert_eq!(request.to_string(), "icmpv6 [2001:db8::1]:77 > [2001:db8::2]:0");
}

#[test]
fn what_belongs_to_no_flow_has_no_tuple() {
    let solicitation = neighbour_solicitation(MacAddr([2, 0, 0, 0, 0, 1]), CLIENT6, SERVER6);
    let ndp = ip(&solicitation);
    assert_eq!(ndp.transport, Transport::Ndp { kind: NdpType::NeighbourSolicitation });
    assert_eq!(ndp.tuple(), None);
    let mut igmp = Frame::udp(CLIENT, SERVER).build();
    igmp[23] = 2;
    assert_eq!((ip(&igmp).transport, ip(&igmp).tuple()), (Transport::Other(2), None));
}

#[test]
fn icmp_of_the_other_family_is_just_another_protocol() {
    let mut frame = Frame::echo_request(CLIENT.0, SERVER.0, 1, 1).build();
    frame[23] = 58;
    assert_eq!(ip(&frame).transport, Transport::Other(58));
    let mut frame = Frame::echo_request(CLIENT6, SERVER6, 1, 1).build();
    frame[20] = 1;
    assert_eq!(ip(&frame).transport, Transport::Other(1));
}

#[test]
fn fragments_show_their_transport_once() {
    let mut frame = Frame::udp(CLIENT, SERVER).identification(9).payload([0; 16]).build();
    // The first of more: its UDP length is that of the whole datagram.
    frame[20..22].copy_from_slice(&[0x20, 0]);
    frame[38..40].copy_from_slice(&2000_u16.to_be_bytes());
    let first = ip(&frame);
    assert_eq!(first.fragment, Fragment::First { id: 9 });
    assert_eq!(first.transport, Transport::Udp { src_port: 40_000, dst_port: 443, length: 2000 });
    frame[21] = 3;
    let later = ip(&frame);
    assert_eq!(later.fragment, Fragment::Later { id: 9, offset: 24 });
    assert_eq!((later.transport, later.tuple()), (Transport::NotPresent, None));
}

#[test]
fn a_tiny_first_fragment_is_refused() {
    let mut frame = Frame::tcp(CLIENT, SERVER).build();
    frame[17] = 20 + 8;
    frame[20] = 0x20;
    let error = Malformed::Truncated { layer: Layer::Tcp, need: 20, have: 8 };
    assert_eq!(Headers::parse(&frame), Err(error));
}

#[test]
fn options_are_stepped_over_and_told() {
    let mut frame = Frame::udp(CLIENT, SERVER).build();
    frame.splice(34..34, [1, 1, 1, 0]);
    frame[14] = 0x46;
    frame[17] += 4;
    let with_options = ip(&frame);
    assert!(with_options.has_options);
    assert_eq!(with_options.l4_offset, 38);
    let expected = Transport::Udp { src_port: 40_000, dst_port: 443, length: 8 };
    assert_eq!(with_options.transport, expected);
}

#[test]
fn the_version_must_be_the_ether_types() {
    let mut frame = Frame::udp(CLIENT, SERVER).build();
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame.resize(60, 0);
    let error = Malformed::Version { layer: Layer::Ipv6, version: 4 };
    assert_eq!(Headers::parse(&frame), Err(error));
}

#[test]
fn a_transport_header_beyond_its_packet_is_refused() {
    let mut icmp = Frame::echo_request(CLIENT.0, SERVER.0, 1, 1).build();
    icmp[17] = 27;
    let error = Malformed::Truncated { layer: Layer::Icmp, need: 8, have: 7 };
    assert_eq!(Headers::parse(&icmp), Err(error));
    let mut udp = Frame::udp(CLIENT, SERVER).build();
    udp[39] = 9;
    let error = Malformed::LengthBeyondData { layer: Layer::Udp, length: 9, have: 8 };
    assert_eq!(Headers::parse(&udp), Err(error));
    // A jumbogram has a payload length of zero.
    let mut jumbo = Frame::udp((CLIENT6, 1), (SERVER6, 2)).build();
    jumbo[19] = 0;
    let error = Malformed::Truncated { layer: Layer::Udp, need: 8, have: 0 };
    assert_eq!(Headers::parse(&jumbo), Err(error));
}

#[test]
fn arp_and_foreign_frames_have_no_ip_headers() {
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let mut frame = arp_request(mac, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let headers = Headers::parse(&frame).unwrap();
    assert_eq!((headers.content, headers.dst_mac), (Content::Arp, MacAddr::BROADCAST));
    assert!(headers.ip().is_none());
    frame[12..14].copy_from_slice(&[0x81, 0]);
    let headers = Headers::parse(&frame).unwrap();
    assert_eq!(headers.content, Content::Other(EtherType(0x8100)));
}

#[test]
fn impossible_sources_are_told() {
    let from = |src: IpAddr, dst: IpAddr| {
        ip(&Frame::udp((src, 1), (dst, 2)).build()).source_is_impossible()
    };
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    for src in ["0.0.0.0", "0.1.2.3", "127.0.0.53", "224.0.0.1", "255.255.255.255", "192.0.2.1"] {
        assert!(from(parse(src), parse("192.0.2.1")), "{src}");
    }
    for src in ["::", "::1", "ff02::1", "::ffff:10.0.0.1", "2001:db8::2"] {
        assert!(from(parse(src), parse("2001:db8::2")), "{src}");
    }
    for src in ["10.0.0.1", "169.254.1.1", "240.0.0.1", "100.64.0.1"] {
        assert!(!from(parse(src), parse("192.0.2.1")), "{src}");
    }
    for src in ["2001:db8::1", "fe80::1", "fd00::1", "64:ff9b::1"] {
        assert!(!from(parse(src), parse("2001:db8::2")), "{src}");
    }
}
