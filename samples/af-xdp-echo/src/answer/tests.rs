use std::net::SocketAddr;

use nf_core::packet::Frame;
use nf_core::packet::build::{arp_request, neighbour_solicitation};

use super::*;

const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x20]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x30]);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 20);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 30);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, 0x20);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, 0x30);

const HOST: Host = Host { mac: OWN_MAC, ipv4: Some(OWN), ipv6: Some(OWN6) };

/// Peer and own address of both families.
const FAMILIES: [(IpAddr, IpAddr); 2] =
    [(IpAddr::V4(PEER), IpAddr::V4(OWN)), (IpAddr::V6(PEER6), IpAddr::V6(OWN6))];

/// What is answered, and the whole frame that answers it.
fn answered(frame: &[u8]) -> Result<(Request, Vec<u8>), Refusal> {
    let mut frame = frame.to_vec();
    let answer = HOST.answer(&mut frame)?;
    Ok((answer.request, answer.frame.unwrap_or(frame)))
}

fn datagram(from: (IpAddr, u16), to: (IpAddr, u16)) -> Frame<nf_core::packet::build::UdpDatagram> {
    Frame::udp(from, to).macs(PEER_MAC, OWN_MAC).payload(*b"hello")
}

/// Ethernet pads short frames, with whatever.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.extend([0xa5; 9]);
    frame
}

#[test]
fn a_datagram_comes_back_with_addresses_and_ports_turned_round() {
    for (peer, own) in FAMILIES {
        let request = datagram((peer, 40_000), (own, 7)).ttl(3).traffic_class(0xb8);
        let reply = Frame::udp(SocketAddr::new(own, 7), SocketAddr::new(peer, 40_000))
            .macs(OWN_MAC, PEER_MAC)
            .traffic_class(0xb8)
            .payload(*b"hello");
        assert_eq!(answered(&request.build()), Ok((Request::Udp, reply.build())));
        // Padding is not part of what the sum covers.
        let answer = answered(&padded(request.build()));
        assert_eq!(answer, Ok((Request::Udp, padded(reply.build()))));
    }
}

#[test]
fn a_checksum_that_was_left_to_the_interface_is_completed() {
    for (peer, own) in FAMILIES {
        let request = datagram((peer, 40_000), (own, 7)).partial_checksum().build();
        let whole = datagram((peer, 40_000), (own, 7)).build();
        assert_ne!(request, whole);
        assert_eq!(answered(&request), answered(&whole));
    }
}

#[test]
fn a_wrong_checksum_is_never_blessed() {
    for (peer, own) in FAMILIES {
        let frames = [
            datagram((peer, 40_000), (own, 7)).build(),
            Frame::echo_request(peer, own, 1, 1).macs(PEER_MAC, OWN_MAC).payload([1; 9]).build(),
        ];
        for mut frame in frames {
            *frame.last_mut().unwrap() ^= 1;
            assert_eq!(answered(&frame), Err(Refusal::BadChecksum));
        }
    }
    let mut header = datagram((PEER.into(), 40_000), (OWN.into(), 7)).build();
    header[15] ^= 0x10;
    assert_eq!(answered(&header), Err(Refusal::BadChecksum), "the IPv4 header's own");
    let mut asked = neighbour_solicitation(PEER_MAC, PEER6, OWN6);
    *asked.last_mut().unwrap() ^= 1;
    assert_eq!(answered(&asked), Err(Refusal::BadChecksum));
}

#[test]
fn a_datagram_without_checksum_is_right_in_ipv4_only() {
    let frame = datagram((PEER.into(), 40_000), (OWN.into(), 7)).no_checksum().build();
    let (_, reply) = answered(&frame).unwrap();
    assert_eq!(reply[40..42], [0, 0]);
    let frame = datagram((PEER6.into(), 40_000), (OWN6.into(), 7)).no_checksum().build();
    assert_eq!(answered(&frame), Err(Refusal::BadChecksum));
}

#[test]
fn an_echo_request_gets_its_reply() {
    for (peer, own) in FAMILIES {
        let request =
            Frame::echo_request(peer, own, 0x1234, 7).macs(PEER_MAC, OWN_MAC).payload(*b"abc");
        let reply =
            Frame::echo_reply(own, peer, 0x1234, 7).macs(OWN_MAC, PEER_MAC).payload(*b"abc");
        assert_eq!(answered(&request.build()), Ok((Request::IcmpEcho, reply.build())));
    }
}

#[test]
fn who_asks_for_the_own_address_is_told() {
    let reply = build::arp_reply(OWN_MAC, OWN, PEER_MAC, PEER);
    assert_eq!(answered(&arp_request(PEER_MAC, PEER, OWN)), Ok((Request::Arp, reply)));
    let told = build::neighbour_advertisement(OWN_MAC, OWN6, false, Some((PEER_MAC, PEER6)));
    let asked = neighbour_solicitation(PEER_MAC, PEER6, OWN6);
    assert_eq!(answered(&asked), Ok((Request::NeighbourSolicitation, told)));
    // Somebody would like to have the address: all are told that it is taken.
    let told = build::neighbour_advertisement(OWN_MAC, OWN6, false, None);
    let probe = neighbour_solicitation(PEER_MAC, Ipv6Addr::UNSPECIFIED, OWN6);
    assert_eq!(answered(&probe), Ok((Request::NeighbourSolicitation, told)));
}

#[test]
fn what_is_for_another_host_gets_no_answer() {
    let other = Ipv4Addr::new(10, 0, 1, 21);
    let other6 = Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, 0x21);
    let frames = [
        arp_request(PEER_MAC, PEER, other),
        neighbour_solicitation(PEER_MAC, PEER6, other6),
        datagram((PEER.into(), 40_000), (other.into(), 7)).build(),
        datagram((PEER.into(), 40_000), (OWN.into(), 7)).macs(PEER_MAC, PEER_MAC).build(),
        datagram((PEER.into(), 40_000), (OWN.into(), 7)).macs(PEER_MAC, MacAddr::BROADCAST).build(),
    ];
    for frame in frames {
        assert_eq!(answered(&frame), Err(Refusal::OtherHost));
    }
    let none = Host { ipv4: None, ipv6: None, ..HOST };
    assert_eq!(none.answer(&mut arp_request(PEER_MAC, PEER, OWN)), Err(Refusal::OtherHost));
}

#[test]
fn nothing_is_sent_to_who_cannot_have_asked() {
    let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    let nobody = Ipv4Addr::new(224, 0, 0, 1);
    let frames = [
        datagram((PEER.into(), 0), (OWN.into(), 7)).build(),
        datagram((OWN.into(), 7), (OWN.into(), 7)).build(),
        datagram((nobody.into(), 40_000), (OWN.into(), 7)).build(),
        datagram((PEER.into(), 40_000), (OWN.into(), 7)).macs(group, OWN_MAC).build(),
        arp_request(group, PEER, OWN),
    ];
    for frame in frames {
        assert_eq!(answered(&frame), Err(Refusal::Source));
    }
}

#[test]
fn fragments_options_and_answers_get_none() {
    let mut fragment = datagram((PEER.into(), 40_000), (OWN.into(), 7)).build();
    fragment[20] = 0x20;
    Ipv4::new_checked(&mut fragment[14..]).unwrap().fill_checksum();
    assert_eq!(answered(&fragment), Err(Refusal::Fragment));

    // A header of 24 bytes, with four no-operations.
    let mut options = datagram((PEER.into(), 40_000), (OWN.into(), 7)).build();
    options[14] = 0x46;
    options[17] += 4;
    options.splice(34..34, [1; 4]);
    Ipv4::new_checked(&mut options[14..]).unwrap().fill_checksum();
    assert_eq!(answered(&options), Err(Refusal::Options));

    let reply = Frame::echo_reply(PEER, OWN, 1, 1).macs(PEER_MAC, OWN_MAC).build();
    assert_eq!(answered(&reply), Err(Refusal::NotServed));
    let segment = Frame::tcp(SocketAddr::from((PEER, 1)), SocketAddr::from((OWN, 2)));
    let segment = segment.macs(PEER_MAC, OWN_MAC).build();
    assert_eq!(answered(&segment), Err(Refusal::NotServed));
    let told = build::arp_reply(PEER_MAC, PEER, OWN_MAC, OWN);
    assert_eq!(answered(&told), Err(Refusal::NotServed));
    let told = build::neighbour_advertisement(PEER_MAC, PEER6, false, Some((OWN_MAC, OWN6)));
    assert_eq!(answered(&told), Err(Refusal::NotServed));
}

#[test]
fn a_frame_that_is_cut_short_anywhere_does_no_harm() {
    for (peer, own) in FAMILIES {
        let whole = datagram((peer, 40_000), (own, 7)).build();
        for length in 0..whole.len() {
            assert_eq!(answered(&whole[..length]), Err(Refusal::Malformed), "{length} bytes");
        }
    }
}
