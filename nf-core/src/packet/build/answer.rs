//! Answers of a host: echo reply and TCP reset.

use super::{Envelope, is_from_one_to_one};
use crate::packet::checksum::{self, L4Checksum};
use crate::packet::field::set_u16;
use crate::packet::headers::{Fragment, Headers, IpHeaders, Transport};
use crate::packet::icmp;
use crate::packet::icmpv6;
use crate::packet::ipv4::Ipv4;
use crate::packet::tcp::{self, Tcp, TcpFlags};
use crate::tuple::Protocol;

/// The reply to an ICMP or ICMPv6 echo request, from the address it went to, with the same data.
///
/// `None` if the frame is no echo request or one that is not to be answered: a fragment, one with a
/// wrong checksum, or to or from an address that does not name one host.
#[must_use]
pub fn echo_reply(request: &[u8]) -> Option<Vec<u8>> {
    let headers = Headers::parse(request).ok()?;
    let ip = answerable(&headers, request)?;
    let Transport::Echo { request: true, .. } = ip.transport else { return None };
    let (protocol, reply_type) = if ip.is_ipv4() {
        (Protocol::Icmp, icmp::ECHO_REPLY)
    } else {
        (Protocol::Icmpv6, icmpv6::ECHO_REPLY)
    };
    let mut message = ip.transport_bytes(request).to_vec();
    message[icmp::field::TYPE] = reply_type;
    set_u16(&mut message, icmp::field::CHECKSUM, 0);
    let mut envelope = Envelope::answering(&headers, ip, ip.dst);
    envelope.traffic_class = ip.traffic_class;
    if ip.is_ipv4() {
        // A reply is as large as its request, so it may be fragmented where that one might.
        let request = Ipv4::new_checked(&request[ip.l3_offset..]).ok()?;
        envelope.dont_fragment = request.dont_fragment();
        envelope.identification = request.identification();
    }
    Some(envelope.seal(protocol, message))
}

/// The reset that answers a TCP segment for which there is no connection.
///
/// `None` if the frame is not TCP or not to be answered: a reset itself, a fragment, one with a
/// wrong checksum, or to or from an address that does not name one host.
#[must_use]
pub fn tcp_reset(segment: &[u8]) -> Option<Vec<u8>> {
    let headers = Headers::parse(segment).ok()?;
    let ip = answerable(&headers, segment)?;
    let Transport::Tcp { src_port, dst_port, flags, seq, ack, .. } = ip.transport else {
        return None;
    };
    if flags.contains(TcpFlags::RST) {
        return None;
    }
    // RFC 9293, section 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
    // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on,
    // <SEQ=SEG.ACK><CTL=RST>".
    let seq_len = Tcp::new_checked(ip.transport_bytes(segment)).ok()?.seq_len();
    let (seq, ack, flags) = if flags.contains(TcpFlags::ACK) {
        (ack, 0, TcpFlags::RST)
    } else {
        (0, seq.wrapping_add(seq_len), TcpFlags::RST | TcpFlags::ACK)
    };
    let reset = tcp::header(dst_port, src_port, seq, ack, flags);
    Some(Envelope::answering(&headers, ip, ip.dst).seal(Protocol::Tcp, reset.to_vec()))
}

/// The IP packet of `frame`, if a host may answer it at all.
fn answerable<'a>(headers: &'a Headers, frame: &[u8]) -> Option<&'a IpHeaders> {
    let ip = headers.ip()?;
    let answerable = is_from_one_to_one(headers, ip)
        && ip.fragment == Fragment::None
        && checksum::verify(ip, frame) != L4Checksum::Wrong;
    answerable.then_some(ip)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::*;
    use crate::packet::build::TcpSegment;
    use crate::packet::{Frame, MacAddr};

    const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 443);

    fn syn() -> Frame<TcpSegment> {
        Frame::tcp(CLIENT, SERVER).flags(TcpFlags::SYN).seq(0x0102_0304).ack(77)
    }

    #[test]
    fn a_reset_for_a_syn_acknowledges_it() {
        let expected = [
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x6e, 0xce, 192, 0, 2, 1, 10, 0, 0,
            1, // IPv4
            0x01, 0xbb, 0x9c, 0x40, 0, 0, 0, 0, 1, 2, 3, 5, 0x50, 0x14, 0, 0, 0x41, 0xcc, 0, 0,
        ];
        assert_eq!(tcp_reset(&syn().build()).unwrap(), expected);
    }

    #[test]
    fn a_reset_for_a_segment_with_ack_takes_the_number_it_expects() {
        let segment = Frame::tcp(CLIENT, SERVER)
            .flags(TcpFlags::ACK | TcpFlags::PSH)
            .seq(9)
            .ack(0x0a0b_0c0d)
            .payload(*b"lost");
        let expected =
            [1, 0xbb, 0x9c, 0x40, 10, 11, 12, 13, 0, 0, 0, 0, 0x50, 4, 0, 0, 0x2f, 0xcb, 0, 0];
        assert_eq!(tcp_reset(&segment.build()).unwrap()[34..], expected);
    }

    #[test]
    fn data_and_fin_count_into_what_a_reset_acknowledges() {
        let segment =
            Frame::tcp(CLIENT, SERVER).flags(TcpFlags::FIN).seq(u32::MAX - 1).payload([0; 10]);
        let reset = tcp_reset(&segment.build()).unwrap();
        let headers = Headers::parse(&reset).unwrap();
        let Transport::Tcp { seq, ack, flags, .. } = headers.ip().unwrap().transport else {
            panic!("no TCP: {headers:?}")
        };
        assert_eq!((seq, ack, flags), (0, 9, TcpFlags::RST | TcpFlags::ACK));
    }

    #[test]
    fn nothing_resets_a_reset_a_stray_or_a_corrupt_segment() {
        let reset = syn().flags(TcpFlags::RST | TcpFlags::ACK).build();
        assert_eq!(tcp_reset(&reset), None);
        let loopback = Frame::tcp(([127, 0, 0, 1], 1), SERVER).build();
        assert_eq!(tcp_reset(&loopback), None);
        let multicast = Frame::tcp(CLIENT, ([224, 0, 0, 1], 443)).build();
        assert_eq!(tcp_reset(&multicast), None);
        let broadcast = syn().macs(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::BROADCAST).build();
        assert_eq!(tcp_reset(&broadcast), None);
        let mut corrupt = syn().build();
        corrupt[40] ^= 1;
        assert_eq!(tcp_reset(&corrupt), None);
        assert_eq!(tcp_reset(&Frame::udp(CLIENT, SERVER).build()), None);
        assert!(tcp_reset(&syn().build()).is_some());
        assert!(tcp_reset(&syn().partial_checksum().build()).is_some());
    }

    #[test]
    fn an_ipv6_segment_is_reset_from_where_it_went_to() {
        let client: SocketAddr = "[2001:db8::1]:40000".parse().unwrap();
        let server: SocketAddr = "[2001:db8::2]:443".parse().unwrap();
        let reset = tcp_reset(&Frame::tcp(client, server).ack(5).build()).unwrap();
        let expected = Frame::tcp(server, client)
            .macs(MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1]))
            .flags(TcpFlags::RST)
            .seq(5)
            .window(0);
        assert_eq!(reset, expected.build());
    }

    #[test]
    fn an_echo_reply_is_its_request_turned_round() {
        let (host, gateway) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 254));
        let request = Frame::echo_request(host, gateway, 0x1234, 7)
            .ttl(3)
            .traffic_class(0xb8)
            .identification(99)
            .may_fragment()
            .payload(*b"abcdefg");
        let reply = Frame::echo_reply(gateway, host, 0x1234, 7)
            .macs(MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1]))
            .traffic_class(0xb8)
            .identification(99)
            .may_fragment()
            .payload(*b"abcdefg");
        assert_eq!(echo_reply(&request.build()).unwrap(), reply.build());
    }

    #[test]
    fn an_icmpv6_echo_is_answered_too() {
        let host = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        let gateway = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
        let request = Frame::echo_request(host, gateway, 1, 2).payload(*b"abc");
        let reply = Frame::echo_reply(gateway, host, 1, 2)
            .macs(MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1]))
            .payload(*b"abc");
        assert_eq!(echo_reply(&request.build()).unwrap(), reply.build());
    }

    #[test]
    fn only_a_sound_request_gets_an_echo_reply() {
        let (host, gateway) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 254));
        let reply = Frame::echo_reply(host, gateway, 1, 1).build();
        assert_eq!(echo_reply(&reply), None);
        let group = Frame::echo_request(host, Ipv4Addr::new(224, 0, 0, 1), 1, 1).build();
        assert_eq!(echo_reply(&group), None);
        let land = Frame::echo_request(gateway, gateway, 1, 1).build();
        assert_eq!(echo_reply(&land), None);
        let mut corrupt = Frame::echo_request(host, gateway, 1, 1).payload([0; 4]).build();
        corrupt[43] ^= 0x80;
        assert_eq!(echo_reply(&corrupt), None);
    }

    #[test]
    fn fragments_get_no_answer() {
        let mut segment = syn().build();
        let mut request = Frame::echo_request([10, 0, 0, 1], [10, 0, 0, 254], 1, 1).build();
        for frame in [&mut segment, &mut request] {
            frame[20] = 0x20;
            let mut ip = Ipv4::new_checked(&mut frame[14..]).unwrap();
            ip.fill_checksum();
        }
        assert_eq!(tcp_reset(&segment), None);
        assert_eq!(echo_reply(&request), None);
    }
}
