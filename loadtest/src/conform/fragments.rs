//! Packets in fragments, made and put together again (RFC 791; RFC 8200, section 4.5).

use std::collections::BTreeMap;

use nf_core::packet::{EtherType, Ethernet, Ipv4, ethernet, ipv4, ipv6};

use super::end::Packet;

/// Where the flags and the offset stand in the IPv4 header, and what they mean.
const FLAGS: usize = 6;
const MORE: u16 = 0x2000;

/// IPv6's fragment header: its number and length; where offset and flags stand in it.
const FRAGMENT_HEADER: u8 = 44;
const FRAGMENT_HEADER_LEN: usize = 8;
const OFFSET: usize = 2;

/// The packet in a frame, in fragments with at most `size` bytes of its payload each. The header has
/// no options or extensions.
pub fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let start = ethernet::HEADER_LEN;
    let is_ipv6 = Ethernet::new_checked(frame).is_ok_and(|it| it.ether_type() == EtherType::IPV6);
    let header = if is_ipv6 { ipv6::HEADER_LEN } else { ipv4::MIN_HEADER_LEN };
    let (head, payload) = frame.split_at(start + header);
    // Offsets count units of eight bytes.
    let size = size / 8 * 8;
    let count = payload.len().div_ceil(size);
    let part = |(number, bytes): (usize, &[u8])| {
        let (offset, more) = (number * size, number + 1 < count);
        let part = if is_ipv6 { part_of_ipv6 } else { part_of_ipv4 };
        part(head, bytes, offset, more)
    };
    payload.chunks(size).enumerate().map(part).collect()
}

fn part_of_ipv4(head: &[u8], bytes: &[u8], offset: usize, more: bool) -> Vec<u8> {
    let start = ethernet::HEADER_LEN;
    let mut part = [head, bytes].concat();
    let flags = (offset / 8) as u16 | if more { MORE } else { 0 };
    let length = (part.len() - start) as u16;
    let header = &mut part[start..];
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[FLAGS..FLAGS + 2].copy_from_slice(&flags.to_be_bytes());
    if let Ok(mut header) = Ipv4::new_checked(header) {
        header.fill_checksum();
    }
    part
}

fn part_of_ipv6(head: &[u8], bytes: &[u8], offset: usize, more: bool) -> Vec<u8> {
    let start = ethernet::HEADER_LEN;
    let [place, flags] = (offset as u16 | u16::from(more)).to_be_bytes();
    let next = head[start + 6];
    // The identification is the same for all of a packet; here, for all to a host.
    let extension = [next, 0, place, flags, 0, 0, 0, head[start + ipv6::HEADER_LEN - 1]];
    let mut part = [head, &extension, bytes].concat();
    let length = (FRAGMENT_HEADER_LEN + bytes.len()) as u16;
    part[start + 4..start + 6].copy_from_slice(&length.to_be_bytes());
    part[start + 6] = FRAGMENT_HEADER;
    part
}

/// Fragments of one packet, on their way to a whole.
#[derive(Debug, Default)]
pub struct Gathered {
    parts: BTreeMap<usize, Vec<u8>>,
    length: Option<usize>,
}

impl Gathered {
    /// Takes a fragment; the whole payload of the packet, once it is there.
    pub fn take(&mut self, packet: &Packet) -> Option<Vec<u8>> {
        let (offset, more) = place(packet)?;
        let payload = packet.transport_bytes().to_owned();
        if !more {
            self.length = Some(offset + payload.len());
        }
        self.parts.insert(offset, payload);
        let mut whole = Vec::new();
        for (offset, part) in &self.parts {
            if *offset != whole.len() {
                return None;
            }
            whole.extend(part);
        }
        (Some(whole.len()) == self.length).then_some(whole)
    }
}

/// Where a packet's payload belongs in bytes, and whether more follows.
fn place(packet: &Packet) -> Option<(usize, bool)> {
    let header = packet.bytes();
    let field = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    if packet.ip.is_ipv4() {
        let flags = field(FLAGS)?;
        return Some((usize::from(flags & 0x1fff) * 8, flags & MORE != 0));
    }
    if header.get(6) != Some(&FRAGMENT_HEADER) {
        return Some((0, false));
    }
    let place = field(ipv6::HEADER_LEN + OFFSET)?;
    Some((usize::from(place & 0xfff8), place & 1 != 0))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use nf_core::packet::{Fragment, Frame};

    use super::*;

    fn packet(frame: &[u8]) -> Packet {
        Packet::parse(frame).unwrap()
    }

    #[test]
    fn fragments_are_packets_of_their_own_and_a_whole_in_any_order() {
        let payload: Vec<u8> = (0..100).collect();
        let frame = Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2))
            .payload(payload.clone())
            .identification(77)
            .may_fragment()
            .build();
        let parts = fragments(&frame, 45);
        let places: Vec<_> = parts.iter().map(|part| packet(part).ip.fragment).collect();
        assert_eq!(
            places,
            [
                Fragment::First { id: 77 },
                Fragment::Later { id: 77, offset: 40 },
                Fragment::Later { id: 77, offset: 80 },
            ]
        );
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut gathered = Gathered::default();
            let mut wholes = order.map(|number: usize| gathered.take(&packet(&parts[number])));
            let whole = wholes[2].take().unwrap();
            assert_eq!(&whole[8..], payload);
            assert_eq!(wholes, [None, None, None], "and no sooner");
        }
    }

    #[test]
    fn fragments_of_ipv6_have_a_header_of_their_own() {
        let payload: Vec<u8> = (0..100).collect();
        let [from, to] = [1, 2].map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let frame = Frame::udp((from, 1), (to, 2)).payload(payload.clone()).build();
        let parts = fragments(&frame, 45);
        let places: Vec<_> = parts.iter().map(|part| packet(part).ip.fragment).collect();
        let Fragment::First { id } = places[0] else { panic!("{places:?}") };
        assert_eq!(
            places[1..],
            [Fragment::Later { id, offset: 40 }, Fragment::Later { id, offset: 80 }]
        );
        let mut gathered = Gathered::default();
        assert_eq!(gathered.take(&packet(&parts[2])), None);
        assert_eq!(gathered.take(&packet(&parts[0])), None);
        let whole = gathered.take(&packet(&parts[1])).unwrap();
        assert_eq!(&whole[8..], payload);
        let whole = Gathered::default().take(&packet(&frame)).unwrap();
        assert_eq!(&whole[8..], payload, "what is not fragmented is a whole");
    }
}
