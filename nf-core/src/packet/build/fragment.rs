//! IPv4 packets cut into the fragments that a link takes.

use crate::packet::field::{set_u16, u16_at};
use crate::packet::headers::Headers;
use crate::packet::ipv4::{self, Ipv4};

/// The option that ends the list, and the one that only fills it up (RFC 791, section 3.1).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
/// RFC 791: "The copied flag indicates that this option is copied into all fragments on
/// fragmentation."
const COPIED: u8 = 0x80;

/// Cuts an IPv4 packet into fragments of at most `mtu` bytes each from the IP header on, in their
/// order and without padding. The packet may be a fragment itself. Their headers are the packet's
/// but for lengths, offsets, flags and checksum; later ones have only those options that are to be
/// copied (RFC 791, section 3.2).
///
/// `None` of what needs no cutting or must not be cut: anything but IPv4, a packet that fits, one
/// with "don't fragment", a malformed one, a fragment past the end of any packet. Nor is there an MTU too small for eight bytes behind
/// the header: RFC 791 has every link take 68.
#[must_use]
pub fn fragment(frame: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let ip = *Headers::parse(frame).ok()?.ip()?;
    let whole = Ipv4::new_checked(frame.get(ip.l3_offset..ip.end())?).ok()?;
    if !ip.is_ipv4() || whole.dont_fragment() || ip.total_len <= mtu {
        return None;
    }
    let (ethernet, packet) = frame.split_at(ip.l3_offset);
    let first_header = &packet[..whole.header_len()];
    let later_header = header_of_later(first_header);
    let flags_offset = u16_at(packet, ipv4::field::FLAGS_OFFSET);
    let start = usize::from(flags_offset & ipv4::OFFSET) * 8;
    if start + ip.total_len > usize::from(u16::MAX) {
        return None;
    }
    let mut rest = whole.payload();
    let mut parts = Vec::new();
    let mut cut = 0_u16;
    while !rest.is_empty() {
        let header = if cut == 0 { first_header } else { &later_header };
        let room = mtu.checked_sub(header.len()).map(|room| room / 8 * 8).filter(|it| *it > 0)?;
        let fits = rest.len() + header.len() <= mtu;
        let (data, behind) = rest.split_at(if fits { rest.len() } else { room });
        rest = behind;
        let mut part = [ethernet, header, data].concat();
        let more = if rest.is_empty() { 0 } else { ipv4::MORE_FRAGMENTS };
        let network = &mut part[ip.l3_offset..];
        set_u16(network, ipv4::field::TOTAL_LENGTH, (header.len() + data.len()) as u16);
        set_u16(network, ipv4::field::FLAGS_OFFSET, (flags_offset + cut) | more);
        Ipv4::new_checked(network).ok()?.fill_checksum();
        parts.push(part);
        cut += (data.len() / 8) as u16;
    }
    Some(parts)
}

/// The header of all fragments but the first one.
fn header_of_later(header: &[u8]) -> Vec<u8> {
    let (fixed, mut options) = header.split_at(ipv4::MIN_HEADER_LEN);
    let mut later = fixed.to_vec();
    while let [kind, rest @ ..] = options {
        let length = match *kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => 1,
            // Type and length are part of it; one that lies ends the list.
            _ => match rest.first().map(|length| usize::from(*length)) {
                Some(length) if (2..=options.len()).contains(&length) => length,
                _ => break,
            },
        };
        let (option, behind) = options.split_at(length);
        if kind & COPIED != 0 {
            later.extend(option);
        }
        options = behind;
    }
    later.resize(later.len().next_multiple_of(4), END_OF_OPTIONS);
    later[ipv4::field::VERSION_IHL] = 0x40 | (later.len() / 4) as u8;
    later
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Fragment, Frame, Part, checksum};

    fn datagram(payload: usize) -> Frame<crate::packet::build::UdpDatagram> {
        let payload: Vec<u8> = (0..payload).map(|n| (n % 251) as u8).collect();
        Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2))
            .identification(0x1234)
            .may_fragment()
            .payload(payload)
    }

    /// Where each part begins and ends and whether it is the last one.
    fn places(parts: &[Vec<u8>]) -> Vec<(u16, u16, bool)> {
        let place = |frame: &Vec<u8>| {
            let ip = *Headers::parse(frame).unwrap().ip().unwrap();
            assert!(checksum::ipv4_header_is_correct(&ip, frame));
            let id = match ip.fragment {
                Fragment::First { id } | Fragment::Later { id, .. } => id,
                Fragment::None => panic!("a whole packet"),
            };
            assert_eq!(id, 0x1234);
            assert_eq!(frame.len(), ip.end(), "no padding");
            let part = Part::parse(&ip, frame).unwrap();
            (part.start, part.end, part.is_last)
        };
        parts.iter().map(place).collect()
    }

    fn data(parts: &[Vec<u8>]) -> Vec<u8> {
        parts.iter().flat_map(|it| &it[14 + usize::from(it[14] & 15) * 4..]).copied().collect()
    }

    #[test]
    fn fragments_are_as_large_as_the_link_takes_in_units_of_eight() {
        let mut whole = datagram(3000).build();
        whole.extend([0xee; 9]);
        let parts = fragment(&whole, 1499).unwrap();
        assert_eq!(places(&parts), [(0, 1472, false), (1472, 2944, false), (2944, 3008, true)]);
        assert_eq!(data(&parts), whole[34..14 + 20 + 3008]);
        assert!(
            parts.iter().all(|part| part[..14] == whole[..14] && part[22..24] == whole[22..24])
        );
    }

    #[test]
    fn a_last_fragment_may_be_as_large_as_the_link_takes_whatever_its_length() {
        // 1,480 bytes and 1,475 more.
        let parts = fragment(&datagram(1480 + 1475 - 8).build(), 1500).unwrap();
        assert_eq!(places(&parts), [(0, 1480, false), (1480, 2955, true)]);
    }

    #[test]
    fn a_fragment_is_cut_at_its_own_place() {
        let parts = fragment(&datagram(3000).build(), 1500).unwrap();
        let smaller = fragment(&parts[1], 800).unwrap();
        assert_eq!(places(&smaller), [(1480, 2256, false), (2256, 2960, false)]);
        let last = fragment(&parts[2], 44).unwrap();
        assert_eq!(places(&last), [(2960, 2984, false), (2984, 3008, true)]);
    }

    #[test]
    fn only_options_that_are_to_be_copied_are_in_later_fragments() {
        let mut whole = datagram(100).build();
        // No operation, a record of the route with room for one hop, strict routing by one hop.
        let options = [1, 7, 7, 4, 0, 0, 0, 0, 137, 7, 8, 10, 0, 0, 9, 0];
        whole.splice(34..34, options);
        whole[14] = 0x49;
        set_u16(&mut whole[14..], ipv4::field::TOTAL_LENGTH, 20 + 16 + 108);
        Ipv4::new_checked(&mut whole[14..]).unwrap().fill_checksum();
        let parts = fragment(&whole, 100).unwrap();
        assert_eq!(places(&parts), [(0, 64, false), (64, 108, true)]);
        assert_eq!(parts[0][34..50], options);
        assert_eq!(parts[1][14], 0x47);
        assert_eq!(parts[1][34..42], [137, 7, 8, 10, 0, 0, 9, 0]);
        assert_eq!(data(&parts), whole[50..]);

        // An option that reaches beyond the header ends the list.
        whole[35] = 137;
        whole[36] = 60;
        Ipv4::new_checked(&mut whole[14..]).unwrap().fill_checksum();
        assert_eq!(fragment(&whole, 100).unwrap()[1][14], 0x45);
    }

    #[test]
    fn what_fits_or_must_not_be_cut_is_not() {
        assert_eq!(fragment(&datagram(100).build(), 128), None);
        assert!(fragment(&datagram(101).build(), 128).is_some());
        let unwilling = Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2)).payload([0; 101]);
        assert_eq!(fragment(&unwilling.build(), 128), None);
        let [src, dst] = [1, 2].map(|it| (std::net::Ipv6Addr::from(it), 1));
        assert_eq!(fragment(&Frame::udp(src, dst).payload([0; 200]).build(), 128), None);
        assert_eq!(fragment(&datagram(100).build(), 27), None, "no room for eight bytes");
        assert_eq!(fragment(&datagram(100).build()[..60], 50), None, "cut short");
        let mut past_the_end = datagram(100).build();
        past_the_end[20..22].copy_from_slice(&[0x1f, 0xf0]);
        assert_eq!(fragment(&past_the_end, 50), None, "past the longest packet");
    }
}
