//! Packets that leave with the other address family: what becomes of their headers (RFC 7915).
//!
//! The IP header is made anew, the transport header stays but for ports, checksum and, of echoes,
//! the type. `datapath/bpf/translate.h` does the same with what it has computed before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{Action, ETHERNET_LEN, Offsets, replace, set_macs};
use crate::action::ChecksumField;
use crate::adjacency::Adjacency;
use crate::id::FlowId;
use crate::packet::{checksum, icmp, ipv4, ipv6};
use crate::tuple::{Protocol, Tuple};

/// What an IPv6 header is longer than one of IPv4 without options, in bytes.
const GROWTH: usize = ipv6::HEADER_LEN - ipv4::MIN_HEADER_LEN;

/// RFC 7915, section 5.1: the DF bit is zero "if the size of the translated IPv4 packet is less than
/// or equal to 1260 bytes". It came over a link that takes 1280, so what does not fit into a smaller
/// one is to be fragmented there, not to be reported.
const MAY_BE_FRAGMENTED: usize = 1260;

/// A frame whose headers can become longer or shorter.
pub trait ResizableFrame: AsRef<[u8]> + AsMut<[u8]> {
    /// Puts `new` in the place of the bytes at `old`, which are at most 20 fewer.
    fn put(&mut self, old: Range<usize>, new: &[u8]);
}

impl ResizableFrame for Vec<u8> {
    fn put(&mut self, old: Range<usize>, new: &[u8]) {
        self.splice(old, new.iter().copied());
    }
}

/// What the translation has to know of a packet beyond its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Where its transport header stands.
    pub offsets: Offsets,
    /// What its transport checksum field holds.
    pub field: ChecksumField,
    /// Bytes of the largest IP packet that the frame becomes on the wire, as it came.
    pub on_the_wire: usize,
    /// Goes into the IPv4 header.
    pub identification: u16,
}

/// The identification of the IPv4 packet that a flow sends after so many others (RFC 7915, section
/// 5.1: it is "set according to a Fragment Identification generator at the translator"). It counts,
/// so that fragments of packets of one flow are told apart; each flow begins elsewhere, because those
/// to one destination have the same addresses.
#[must_use]
pub const fn identification(flow: FlowId, packets: u64) -> u16 {
    // The golden ratio again: numbers next to each other are far apart afterwards.
    (flow.0 as u16).wrapping_mul(0x9e37).wrapping_add(packets as u16)
}

impl Action {
    /// Whether packets that come with these addresses leave with the other family's.
    #[must_use]
    pub const fn translates(&self, came: &Tuple) -> bool {
        self.rewrite.is_ipv4() != came.is_ipv4()
    }

    /// What an IP packet of `length` bytes that comes with these addresses, and has no IPv4 options,
    /// has when it leaves.
    #[must_use]
    pub const fn length_after(&self, came: &Tuple, length: usize) -> usize {
        match (came.is_ipv4(), self.rewrite.is_ipv4()) {
            (true, false) => length + GROWTH,
            (false, true) => length.saturating_sub(GROWTH),
            _ => length,
        }
    }

    /// Rewrites `frame` as [`Self::apply`] does, into a packet of the other family.
    ///
    /// The caller has established what it has for that one, and that: the IPv4 header's own checksum
    /// is right (RFC 7915 has it end here, and a wrong one must not get lost); there is a UDP
    /// checksum; the packet is no fragment; and it is not longer than an IPv4 packet can be.
    pub fn translate(
        &self,
        adjacency: &Adjacency,
        frame: &mut impl ResizableFrame,
        crossing: &Crossing,
    ) {
        let translated = match (self.rewrite.src.ip(), self.rewrite.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv6_to_ipv4(frame, crossing, src, dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv4_to_ipv6(frame, crossing, src, dst),
            _ => None,
        };
        if translated.is_some() {
            set_macs(frame.as_mut(), adjacency);
        }
    }

    /// RFC 7915, section 5.1.
    fn ipv6_to_ipv4(
        &self,
        frame: &mut impl ResizableFrame,
        crossing: &Crossing,
        src: Ipv4Addr,
        dst: Ipv4Addr,
    ) -> Option<()> {
        let old = *frame.as_ref().get(ETHERNET_LEN..)?.first_chunk::<{ ipv6::HEADER_LEN }>()?;
        let old = ipv6::Ipv6::new_quoted(old).ok()?;
        let payload_len = old.total_len() - ipv6::HEADER_LEN;
        let addresses = [old.src().octets(), old.dst().octets()];
        let pseudo = match self.rewrite.protocol {
            Protocol::Icmp => {
                let (src, dst) = (old.src().into(), old.dst().into());
                !checksum::pseudo_header(src, dst, Protocol::Icmpv6.number(), payload_len as u32)
            }
            _ => checksum::diff(
                addresses.as_flattened(),
                [src.octets(), dst.octets()].as_flattened(),
            ),
        };
        self.translate_transport(frame.as_mut(), crossing, pseudo)?;
        let header = ipv4::Header {
            traffic_class: old.traffic_class(),
            // It is at most 65,535, as the caller has established.
            total_len: (ipv4::MIN_HEADER_LEN + payload_len) as u16,
            identification: crossing.identification,
            dont_fragment: crossing.on_the_wire > MAY_BE_FRAGMENTED + GROWTH,
            ttl: old.hop_limit().saturating_sub(1),
            protocol: self.rewrite.protocol.number(),
            src,
            dst,
        };
        put_header(frame, crossing, [0x08, 0x00], &header.bytes());
        Some(())
    }

    /// RFC 7915, section 4.1.
    fn ipv4_to_ipv6(
        &self,
        frame: &mut impl ResizableFrame,
        crossing: &Crossing,
        src: Ipv6Addr,
        dst: Ipv6Addr,
    ) -> Option<()> {
        let old = *frame.as_ref().get(ETHERNET_LEN..)?.first_chunk::<{ ipv4::MIN_HEADER_LEN }>()?;
        let total_len = usize::from(u16::from_be_bytes([old[2], old[3]]));
        let payload_len = (ETHERNET_LEN + total_len).checked_sub(crossing.offsets.transport)?;
        let pseudo = match self.rewrite.protocol {
            Protocol::Icmpv6 => {
                let protocol = Protocol::Icmpv6.number();
                checksum::pseudo_header(src.into(), dst.into(), protocol, payload_len as u32)
            }
            _ => checksum::diff(&old[12..20], [src.octets(), dst.octets()].as_flattened()),
        };
        self.translate_transport(frame.as_mut(), crossing, pseudo)?;
        let header = ipv6::Header {
            traffic_class: old[1],
            payload_len: payload_len as u16,
            protocol: self.rewrite.protocol.number(),
            hop_limit: old[8].saturating_sub(1),
            src,
            dst,
        };
        put_header(frame, crossing, [0x86, 0xdd], &header.bytes());
        Some(())
    }

    /// Ports, or type and identifier, and the checksum.
    fn translate_transport(
        &self,
        frame: &mut [u8],
        crossing: &Crossing,
        pseudo: u32,
    ) -> Option<()> {
        let at = crossing.offsets.transport;
        let mut covered = self.rewrite_ports(frame, crossing.offsets)?;
        if self.rewrite.protocol.is_echo() {
            let other = icmp::echo_type_of_other_family(*frame.get(at)?);
            covered = checksum::add(covered, replace(frame, at..at + 1, &[other])?);
        }
        self.fix_transport_checksum(frame, crossing.offsets, crossing.field, pseudo, covered);
        Some(())
    }
}

/// Puts the new header in the place of the old one, whose options go with it.
fn put_header(
    frame: &mut impl ResizableFrame,
    crossing: &Crossing,
    ether_type: [u8; 2],
    header: &[u8],
) {
    frame.put(ETHERNET_LEN..crossing.offsets.transport, header);
    if let Some(field) = frame.as_mut().get_mut(ETHERNET_LEN - 2..ETHERNET_LEN) {
        field.copy_from_slice(&ether_type);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{AdjacencyId, PortId};
    use crate::packet::{Frame, Headers, MacAddr};
    use crate::testing::checksums_are_right;

    const V6: [&str; 2] = ["[2001:db8:a::5]:4000", "[64:ff9b::c000:221]:53"];
    const V4: [&str; 2] = ["203.0.113.9:1024", "192.0.2.33:53"];

    fn tuple(protocol: Protocol, [src, dst]: [&str; 2]) -> Tuple {
        Tuple { protocol, src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    fn macs() -> Adjacency {
        let port = PortId::new(1).unwrap();
        let (src_mac, dst_mac) =
            (MacAddr::new([2, 0, 0, 0, 0, 1]), MacAddr::new([2, 0, 0, 0, 0, 2]));
        Adjacency { port, dst_mac, src_mac, mtu: 1500 }
    }

    fn translate(rewrite: Tuple, frame: &mut Vec<u8>, identification: u16) {
        let headers = Headers::parse(frame).unwrap();
        let ip = headers.ip().unwrap();
        let crossing = Crossing {
            offsets: Offsets { transport: ip.l4_offset },
            field: ChecksumField::Complete,
            on_the_wire: ip.total_len,
            identification,
        };
        Action { rewrite, adjacency: AdjacencyId(0) }.translate(&macs(), frame, &crossing);
    }

    #[test]
    fn the_headers_are_those_of_rfc_7915_byte_by_byte() {
        let [src, dst] = V6.map(|it| it.parse::<std::net::SocketAddr>().unwrap());
        let mut frame = Frame::udp(src, dst).traffic_class(0xb9).payload(*b"query").ttl(9).build();
        frame[15] |= 0x0f; // A flow label,
        frame.extend([0xee; 3]); // and padding.
        translate(tuple(Protocol::Udp, V4), &mut frame, 0x1234);
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0, // Ethernet
            0x45, 0xb9, 0, 33, 0x12, 0x34, 0, 0, 8, 17, 0xa1, 0xb4, 203, 0, 113, 9, 192, 0, 2, 33,
            4, 0, 0, 53, 0, 13, frame[40], frame[41], b'q', b'u', b'e', b'r', b'y', 0xee, 0xee,
            0xee,
        ];
        assert_eq!(frame, expected);
        assert!(checksums_are_right(&frame));

        translate(tuple(Protocol::Udp, V6), &mut frame, 0);
        assert_eq!(frame[12..24], [0x86, 0xdd, 0x6b, 0x90, 0, 0, 0, 13, 17, 7, 0x20, 0x01]);
        assert!(checksums_are_right(&frame));
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let [src, dst] = V6.map(|it| it.parse::<std::net::SocketAddr>().unwrap());
        let mut frame = Frame::tcp(src, dst).payload([7; 9]).build();
        frame[70] ^= 1;
        translate(tuple(Protocol::Tcp, V4), &mut frame, 0);
        assert!(!checksums_are_right(&frame));
    }

    #[test]
    fn flows_to_one_destination_begin_at_different_identifications() {
        let first: std::collections::BTreeSet<_> =
            (0..=u16::MAX).map(|flow| identification(FlowId(flow.into()), 0)).collect();
        assert_eq!(first.len(), 1 << 16);
        assert_eq!(identification(FlowId(7), 1), identification(FlowId(7), 0).wrapping_add(1));
    }

    proptest! {
        #[test]
        fn a_packet_that_goes_there_and_back_is_itself(
            kind in 0..4_u8,
            payload in prop::collection::vec(any::<u8>(), 0..100),
            class: u8,
            ttl in 3..=255_u8,
            identification: u16,
        ) {
            let [src, dst] = V6.map(|it| it.parse::<std::net::SocketAddr>().unwrap());
            let original = |ttl| match kind {
                0 => Frame::tcp(src, dst).payload(payload.clone()).traffic_class(class).ttl(ttl).build(),
                1 => Frame::udp(src, dst).payload(payload.clone()).traffic_class(class).ttl(ttl).build(),
                2 => Frame::echo_request(src.ip(), dst.ip(), 77, 1)
                    .payload(payload.clone()).traffic_class(class).ttl(ttl).build(),
                _ => Frame::echo_reply(src.ip(), dst.ip(), 77, 1)
                    .payload(payload.clone()).traffic_class(class).ttl(ttl).build(),
            };
            let mut frame = original(ttl);
            let before = Headers::parse(&frame).unwrap().ip().unwrap().tuple().unwrap();
            let there = match kind {
                0 => tuple(Protocol::Tcp, V4),
                1 => tuple(Protocol::Udp, V4),
                2 => tuple(Protocol::Icmp, ["203.0.113.9:1024", "192.0.2.33:0"]),
                _ => tuple(Protocol::Icmp, ["203.0.113.9:0", "192.0.2.33:1024"]),
            };
            translate(there, &mut frame, identification);
            prop_assert!(checksums_are_right(&frame));
            prop_assert_eq!(Headers::parse(&frame).unwrap().ip().unwrap().tuple(), Some(there));
            translate(before, &mut frame, 0);
            prop_assert_eq!(&frame[12..], &original(ttl - 2)[12..]);
        }
    }
}
