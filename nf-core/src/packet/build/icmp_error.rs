//! ICMP and ICMPv6 errors about a packet.

use std::net::IpAddr;

use super::{Addresses, Envelope, is_from_one_to_one};
use crate::packet::headers::{Fragment, Headers, IpHeaders};
use crate::packet::icmp::{self, IcmpErrorKind};
use crate::packet::icmpv6;
use crate::packet::mac::MacAddr;
use crate::packet::{ipv4, ipv6};
use crate::tuple::Protocol;

/// RFC 1812, section 4.3.2.3: "as much of the original datagram as possible without the length of
/// the ICMP datagram exceeding 576 bytes".
const IPV4_LIMIT: usize = 576;

/// RFC 4443, section 2.4 (c): "as much of the IPv6 offending (invoking) packet [...] as possible
/// without making the error message packet exceed the minimum IPv6 MTU".
const IPV6_LIMIT: usize = 1280;

/// RFC 1812, section 4.3.2.5: ICMP errors "SHOULD have their IP Precedence field set to 6 or 7";
/// DSCP CS6 is precedence 6.
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// The error about `original`, from `from`, an address of the gateway, to whoever sent it.
///
/// `None` where no error may be sent (RFC 1122, section 3.2.2; RFC 4443, section 2.4): about an
/// ICMP error or redirect, a fragment that is not the first, multicast or broadcast, and a source
/// that does not name one host. Also if `original` is no IP packet of `from`'s family.
#[must_use]
pub fn icmp_error(original: &[u8], kind: IcmpErrorKind, from: IpAddr) -> Option<Vec<u8>> {
    let headers = Headers::parse(original).ok()?;
    let ip = headers.ip()?;
    let is_later_fragment = matches!(ip.fragment, Fragment::Later { .. });
    if from.is_ipv4() != ip.is_ipv4()
        || !is_from_one_to_one(&headers, ip)
        || is_later_fragment
        || is_error(ip, original)
    {
        return None;
    }
    let mut envelope = Envelope::answering(&headers, ip, from);
    if ip.is_ipv4() {
        envelope.traffic_class = INTERNETWORK_CONTROL;
    }
    Some(sealed(&envelope, kind, &original[ip.l3_offset..ip.end()]))
}

/// The error that takes the place of one of the other family: `ip` is the other's header, `quoted`
/// the packet that it is about, in the new family. The Ethernet addresses are left to the caller.
///
/// It may not be fragmented, as no error of ours: RFC 7915, section 5.1, would have it otherwise, yet
/// there is no link that 576 bytes are too many for.
pub(crate) fn translated_icmp_error(
    ip: &IpHeaders,
    kind: IcmpErrorKind,
    (from, to): (IpAddr, IpAddr),
    quoted: &[u8],
) -> Vec<u8> {
    let nobody = MacAddr::default();
    let mut envelope = Envelope::new(nobody, nobody, Addresses::new(from, to));
    envelope.ttl = ip.ttl.saturating_sub(1);
    envelope.traffic_class = ip.traffic_class;
    sealed(&envelope, kind, quoted)
}

fn sealed(envelope: &Envelope, kind: IcmpErrorKind, quoted: &[u8]) -> Vec<u8> {
    let (protocol, header, room) = if envelope.is_ipv4() {
        (Protocol::Icmp, icmp::error_header(kind), IPV4_LIMIT - ipv4::MIN_HEADER_LEN)
    } else {
        (Protocol::Icmpv6, icmpv6::error_header(kind), IPV6_LIMIT - ipv6::HEADER_LEN)
    };
    let mut message = header.to_vec();
    message.extend(quoted);
    message.truncate(room);
    envelope.seal(protocol, message)
}

fn is_error(ip: &IpHeaders, frame: &[u8]) -> bool {
    let Some(&icmp_type) = ip.transport_bytes(frame).first() else { return false };
    match (Protocol::from_number(ip.protocol), ip.is_ipv4()) {
        (Some(Protocol::Icmp), true) => icmp::is_error(icmp_type),
        (Some(Protocol::Icmpv6), false) => icmpv6::is_error(icmp_type),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::packet::build::{echo_reply, neighbour_solicitation};
    use crate::packet::{Frame, L4Checksum, MacAddr, Quoted, TcpFlags, checksum};

    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 254));
    const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe));
    const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1);
    const EXPIRED: IcmpErrorKind = IcmpErrorKind::TimeExceeded { code: 0 };

    fn probe() -> Vec<u8> {
        Frame::udp(([10, 0, 0, 1], 40_000), ([192, 0, 2, 1], 33_434))
            .ttl(1)
            .identification(7)
            .payload(*b"ping")
            .build()
    }

    #[test]
    fn time_exceeded_quotes_the_packet_as_it_came() {
        let expected = [
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
            0x45, 0xc0, 0, 60, 0, 0, 0x40, 0, 64, 1, 0x25, 0x03, 10, 0, 0, 254, 10, 0, 0, 1, 11, 0,
            0xc1, 0x1f, 0, 0, 0, 0, // time exceeded in transit
            0x45, 0, 0, 32, 0, 7, 0x40, 0, 1, 17, 0xad, 0xc4, 10, 0, 0, 1, 192, 0, 2, 1, 0x9c,
            0x40, 0x82, 0x9a, 0, 12, 0x36, 0x28, b'p', b'i', b'n', b'g',
        ];
        assert_eq!(icmp_error(&probe(), EXPIRED, GATEWAY).unwrap(), expected);
        let mut padded = probe();
        padded.resize(60, 0xee);
        assert_eq!(icmp_error(&padded, EXPIRED, GATEWAY).unwrap(), expected, "without padding");
    }

    #[test]
    fn too_big_tells_the_mtu_and_fits_into_the_least_packet_there_is() {
        let kind = IcmpErrorKind::PacketTooBig { mtu: 1400 };
        let big = Frame::tcp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).payload([7; 1460]).build();
        let error = icmp_error(&big, kind, GATEWAY).unwrap();
        assert_eq!(error.len(), 14 + 576);
        assert_eq!(error[34..42], [3, 4, error[36], error[37], 0, 0, 0x05, 0x78]);
        assert_eq!(error[42..], big[14..14 + 576 - 28]);

        let big = Frame::tcp((CLIENT6, 1), (SERVER6, 2)).payload([7; 1440]).build();
        let error = icmp_error(&big, kind, GATEWAY6).unwrap();
        assert_eq!(error.len(), 14 + 1280);
        assert_eq!(error[54..62], [2, 0, error[56], error[57], 0, 0, 0x05, 0x78]);
        assert_eq!(error[62..], big[14..14 + 1280 - 48]);
    }

    #[test]
    fn the_error_is_sound_and_leads_back_to_the_flow() {
        let probe6 = Frame::udp((CLIENT6, 40_000), (SERVER6, 33_434)).ttl(1).build();
        for (probe, gateway) in [(probe(), GATEWAY), (probe6, GATEWAY6)] {
            let error = icmp_error(&probe, EXPIRED, gateway).unwrap();
            let headers = Headers::parse(&error).unwrap();
            let ip = headers.ip().unwrap();
            assert_eq!(checksum::verify(ip, &error), L4Checksum::Correct);
            assert!(checksum::ipv4_header_is_correct(ip, &error));
            assert_eq!((ip.src, ip.ttl), (gateway, 64));
            let quoted = Quoted::parse(ip, &error).unwrap();
            let original = *Headers::parse(&probe).unwrap().ip().unwrap();
            assert_eq!(quoted.tuple, original.tuple());
            assert_eq!(ip.dst, original.src);
        }
    }

    #[test]
    fn no_error_answers_an_error() {
        let error = icmp_error(&probe(), EXPIRED, GATEWAY).unwrap();
        assert_eq!(icmp_error(&error, EXPIRED, GATEWAY), None);
        let probe = Frame::udp((CLIENT6, 1), (SERVER6, 2)).build();
        let error = icmp_error(&probe, EXPIRED, GATEWAY6).unwrap();
        assert_eq!(icmp_error(&error, EXPIRED, GATEWAY6), None);
    }

    #[test]
    fn errors_do_answer_queries() {
        let request =
            Frame::echo_request(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), 1, 1);
        assert!(icmp_error(&request.build(), EXPIRED, GATEWAY).is_some());
        let reply = echo_reply(&request.build()).unwrap();
        assert!(icmp_error(&reply, EXPIRED, GATEWAY).is_some());
    }

    #[test]
    fn a_later_fragment_is_told_nothing_and_the_first_one_is() {
        let fragment = |high: u8, low: u8| {
            let mut frame = probe();
            frame[20..22].copy_from_slice(&[high, low]);
            icmp_error(&frame, EXPIRED, GATEWAY)
        };
        assert_eq!(fragment(0x00, 0x01), None);
        assert_eq!(fragment(0x20, 0xb9), None);
        assert!(fragment(0x20, 0x00).is_some());
    }

    #[test]
    fn groups_and_impossible_sources_are_told_nothing() {
        let udp = |src: [u8; 4], dst: [u8; 4]| Frame::udp((src, 1), (dst, 2));
        let told = |frame: Vec<u8>| icmp_error(&frame, EXPIRED, GATEWAY).is_some();
        assert!(told(udp([10, 0, 0, 1], [192, 0, 2, 1]).build()));
        for dst in [[224, 0, 0, 251], [255, 255, 255, 255], [0, 0, 0, 0], [127, 0, 0, 1]] {
            assert!(!told(udp([10, 0, 0, 1], dst).build()), "to {dst:?}");
        }
        for src in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [192, 0, 2, 1]] {
            assert!(!told(udp(src, [192, 0, 2, 1]).build()), "from {src:?}");
        }
        let unicast = MacAddr([2, 0, 0, 0, 0, 1]);
        let group = MacAddr([1, 0, 0x5e, 0, 0, 1]);
        let frame = udp([10, 0, 0, 1], [192, 0, 2, 1]);
        assert!(!told(frame.clone().macs(unicast, group).build()));
        assert!(!told(frame.macs(group, unicast).build()));
    }

    #[test]
    fn an_error_speaks_its_own_family_only_and_nothing_but_ip() {
        assert_eq!(icmp_error(&probe(), EXPIRED, GATEWAY6), None);
        assert_eq!(icmp_error(&[0; 60], EXPIRED, GATEWAY), None);
        assert_eq!(icmp_error(&[], EXPIRED, GATEWAY), None);
        let solicitation = neighbour_solicitation(MacAddr([2, 0, 0, 0, 0, 1]), CLIENT6, SERVER6);
        assert_eq!(icmp_error(&solicitation, EXPIRED, GATEWAY6), None);
    }

    #[test]
    fn a_reset_may_expire_on_its_way_too() {
        let reset = Frame::tcp(([10, 0, 0, 1], 1), ([192, 0, 2, 1], 2)).flags(TcpFlags::RST);
        assert!(icmp_error(&reset.build(), EXPIRED, GATEWAY).is_some());
    }
}
