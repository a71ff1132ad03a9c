//! IPv4 packets in fragments, made and put together again (RFC 791).

use std::collections::BTreeMap;

use nf_core::packet::{Ipv4, ethernet};

use super::end::Packet;

/// Where the flags and the offset stand in the IPv4 header, and what they mean.
const FLAGS: usize = 6;
const MORE: u16 = 0x2000;

/// The packet in a frame, in fragments with at most `size` bytes of its payload each. The header has
/// no options.
pub fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let start = ethernet::HEADER_LEN;
    let (head, payload) = frame.split_at(start + nf_core::packet::ipv4::MIN_HEADER_LEN);
    // Offsets count units of eight bytes.
    let size = size / 8 * 8;
    let count = payload.len().div_ceil(size);
    let part = |(number, bytes): (usize, &[u8])| {
        let mut part = [head, bytes].concat();
        let more = if number + 1 < count { MORE } else { 0 };
        let flags = more | (number * size / 8) as u16;
        let header = &mut part[start..];
        header[2..4].copy_from_slice(&((head.len() - start + bytes.len()) as u16).to_be_bytes());
        header[FLAGS..FLAGS + 2].copy_from_slice(&flags.to_be_bytes());
        if let Ok(mut header) = Ipv4::new_checked(header) {
            header.fill_checksum();
        }
        part
    };
    payload.chunks(size).enumerate().map(part).collect()
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
        let header = packet.frame.get(packet.ip.l3_offset..packet.ip.end())?;
        let flags = u16::from_be_bytes([*header.get(FLAGS)?, *header.get(FLAGS + 1)?]);
        let offset = usize::from(flags & 0x1fff) * 8;
        let payload = Ipv4::new_checked(header).ok()?.payload().to_owned();
        if flags & MORE == 0 {
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

#[cfg(test)]
mod tests {
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
}
