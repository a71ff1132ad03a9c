//! Fragments as they are on the wire: which part of its datagram one carries, and what all parts of
//! a datagram have in common (RFC 791, section 3.2; RFC 8200, section 4.5).

use super::checksum;
use super::field::{set_u16, set_u32, u16_at};
use super::headers::{Fragment, IpHeaders};
use super::ipv4::{self, Ipv4};
use super::ipv6::{self, Ipv6, extension};
use crate::tuple::Protocol;

/// The stretch of a datagram that one fragment carries. A datagram is counted from its transport
/// header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins, in bytes.
    pub start: u16,
    /// Where it ends, in bytes; always behind its beginning.
    pub end: u16,
    /// Whether the datagram ends there as well.
    pub is_last: bool,
}

impl Part {
    /// What the fragment `frame`, whose summary is `ip`, carries.
    ///
    /// `None` of what is no fragment, and of fragments that no sender makes:
    ///
    /// - One without data.
    /// - One before the last whose length is no multiple of eight bytes: offsets count in eights.
    /// - One that ends past the longest datagram there is, 65,535 bytes: the "ping of death".
    /// - One that begins amid a TCP header. RFC 1858, section 3.2.2: "IF FO=1 and PROTOCOL=TCP then
    ///   DROP PACKET". It would overwrite the flags of a first fragment that was let through.
    #[must_use]
    pub fn parse(ip: &IpHeaders, frame: &[u8]) -> Option<Self> {
        let start = match ip.fragment {
            Fragment::None => return None,
            Fragment::First { .. } => 0,
            Fragment::Later { offset, .. } => offset,
        };
        let length = ip.end().checked_sub(ip.l4_offset)?;
        let is_last = !has_more(ip, frame)?;
        let amid_tcp = start == 8 && ip.protocol == Protocol::Tcp.number();
        if length == 0 || amid_tcp || (!is_last && !length.is_multiple_of(8)) {
            return None;
        }
        // IPv4's total length counts the header, IPv6's payload length does not, and the fragment
        // header is no part of the datagram.
        let header = if ip.is_ipv4() { ip.l4_offset - ip.l3_offset } else { 0 };
        let end = usize::from(start) + length;
        u16::try_from(header + end).ok()?;
        Some(Self { start, end: end as u16, is_last })
    }
}

/// Whether the fragment says that more follow behind it.
fn has_more(ip: &IpHeaders, frame: &[u8]) -> Option<bool> {
    let packet = frame.get(ip.l3_offset..)?;
    if ip.is_ipv4() {
        return Some(Ipv4::new_checked(packet).ok()?.more_fragments());
    }
    let header = packet.get(fragment_header(ip)?)?;
    Some(u16_at(header, extension::FRAGMENT_OFFSET) & extension::MORE_FRAGMENTS != 0)
}

/// Whether a fragment header is the only extension header of the IPv6 packet `frame`, whose summary
/// is `ip`.
#[must_use]
pub fn is_alone(ip: &IpHeaders, frame: &[u8]) -> bool {
    let packet = frame.get(ip.l3_offset..).unwrap_or_default();
    ip.l4_offset == ip.l3_offset + ipv6::HEADER_LEN + extension::UNIT
        && Ipv6::new_checked(packet).is_ok_and(|packet| packet.next_header() == ipv6::FRAGMENT)
}

/// Where the fragment header stands that is the last one before the transport, from the start of
/// the IPv6 header.
fn fragment_header(ip: &IpHeaders) -> Option<std::ops::Range<usize>> {
    let end = ip.l4_offset.checked_sub(ip.l3_offset)?;
    Some(end.checked_sub(extension::UNIT)?..end)
}

/// Gives a packet another identification, of which IPv4 has the lower 16 bits; its header checksum
/// stays as right as it was. An IPv6 packet must have a fragment header that [`is_alone`].
pub fn set_identification(frame: &mut [u8], ip: &IpHeaders, identification: u32) {
    let Some(packet) = frame.get_mut(ip.l3_offset..) else { return };
    if !ip.is_ipv4() {
        let header = fragment_header(ip).and_then(|range| packet.get_mut(range));
        if let Some(header) = header {
            set_u32(header, extension::FRAGMENT_ID, identification);
        }
        return;
    }
    if packet.len() < ipv4::MIN_HEADER_LEN {
        return;
    }
    let new = (identification as u16).to_be_bytes();
    let delta = checksum::diff(&packet[ipv4::field::IDENTIFICATION], &new);
    packet[ipv4::field::IDENTIFICATION].copy_from_slice(&new);
    let check = u16_at(packet, ipv4::field::CHECKSUM);
    set_u16(packet, ipv4::field::CHECKSUM, checksum::update(check, delta));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::packet::{Frame, Headers};

    /// An IPv4 datagram of `protocol` with these flags and this offset, and `length` bytes of it.
    fn ipv4(protocol: u8, flags_offset: u16, length: usize) -> Vec<u8> {
        let mut frame =
            Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2)).payload(vec![7; length - 8]).build();
        frame[23] = protocol;
        set_u16(&mut frame[14..], ipv4::field::FLAGS_OFFSET, flags_offset);
        if let Ok(mut packet) = Ipv4::new_checked(&mut frame[14..]) {
            packet.fill_checksum();
        }
        frame
    }

    /// An IPv6 datagram with these flags and this offset, and `length` bytes of it.
    fn ipv6(flags_offset: u16, length: usize) -> Vec<u8> {
        let [src, dst] = [1, 2].map(|last| (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last), last));
        let mut frame = Frame::udp(src, dst).payload(vec![7; length - 8]).build();
        let [high, low] = flags_offset.to_be_bytes();
        frame.splice(54..54, [17, 0, high, low, 1, 2, 3, 4]);
        frame[20] = ipv6::FRAGMENT;
        set_u16(&mut frame[14..], ipv6::field::PAYLOAD_LENGTH, (length + 8) as u16);
        frame
    }

    fn part(frame: &[u8]) -> Option<(u16, u16, bool)> {
        let headers = Headers::parse(frame).unwrap();
        let part = Part::parse(headers.ip().unwrap(), frame)?;
        Some((part.start, part.end, part.is_last))
    }

    #[test]
    fn a_fragment_says_what_it_carries() {
        assert_eq!(part(&ipv4(17, 0x2000, 64)), Some((0, 64, false)));
        assert_eq!(part(&ipv4(17, 0x2008, 64)), Some((64, 128, false)));
        assert_eq!(part(&ipv4(17, 0x0010, 61)), Some((128, 189, true)));
        assert_eq!(part(&ipv6(1, 64)), Some((0, 64, false)));
        assert_eq!(part(&ipv6(64 | 1, 64)), Some((64, 128, false)));
        assert_eq!(part(&ipv6(128, 61)), Some((128, 189, true)));
        assert_eq!(part(&ipv4(17, 0, 64)), None, "a whole packet");
        assert_eq!(part(&ipv6(0, 64)), None, "an atomic fragment");
    }

    #[test]
    fn padding_is_no_part_of_it() {
        let mut padded = ipv4(17, 0x0010, 13);
        padded.resize(60, 0xee);
        assert_eq!(part(&padded), Some((128, 141, true)));
    }

    #[test]
    fn what_no_sender_makes_is_told() {
        assert_eq!(part(&ipv4(17, 0x2008, 61)), None, "not a multiple of eight");
        assert_eq!(part(&ipv6(64 | 1, 61)), None, "not a multiple of eight");
        assert_eq!(part(&ipv4(6, 0x0001, 61)), None, "amid a TCP header");
        assert_eq!(part(&ipv4(17, 0x0001, 61)), Some((8, 69, true)), "UDP's is over by then");
        // 65,504 bytes and 20 of header leave eleven of 65,535.
        assert_eq!(part(&ipv4(17, 8188, 11)), Some((65_504, 65_515, true)));
        assert_eq!(part(&ipv4(17, 8188, 12)), None, "past the longest packet");
        assert_eq!(part(&ipv6(65_520, 15)), Some((65_520, 65_535, true)));
        assert_eq!(part(&ipv6(65_520, 16)), None, "past the longest packet");
        let mut empty = ipv4(17, 0x0010, 8);
        set_u16(&mut empty[14..], ipv4::field::TOTAL_LENGTH, 20);
        assert_eq!(part(&empty), None, "without data");
    }

    #[test]
    fn another_identification_leaves_the_checksum_right_and_all_else_alone() {
        let mut frame = ipv4(17, 0x2008, 64);
        let before = frame.clone();
        let ip = *Headers::parse(&frame).unwrap().ip().unwrap();
        set_identification(&mut frame, &ip, 0xabcd_1234);
        assert_eq!(frame[18..20], [0x12, 0x34]);
        assert!(checksum::ipv4_header_is_correct(&ip, &frame));
        assert_eq!((&frame[..18], &frame[20..24]), (&before[..18], &before[20..24]));
        assert_eq!(frame[26..], before[26..]);

        let mut frame = ipv6(64 | 1, 64);
        let before = frame.clone();
        let ip = *Headers::parse(&frame).unwrap().ip().unwrap();
        set_identification(&mut frame, &ip, 0xabcd_1234);
        assert_eq!(frame[58..62], [0xab, 0xcd, 0x12, 0x34]);
        assert_eq!((&frame[..58], &frame[62..]), (&before[..58], &before[62..]));
    }

    #[test]
    fn a_fragment_header_is_alone_or_not() {
        let alone = |frame: &[u8]| is_alone(Headers::parse(frame).unwrap().ip().unwrap(), frame);
        assert!(alone(&ipv6(64 | 1, 64)));
        assert!(alone(&ipv6(0, 64)), "an atomic fragment");
        let mut with_options = ipv6(1, 64);
        with_options.splice(62..62, [17, 0, 1, 4, 0, 0, 0, 0]);
        with_options[54] = 60;
        set_u16(&mut with_options[14..], ipv6::field::PAYLOAD_LENGTH, 80);
        assert!(!alone(&with_options));
        let mut options = ipv6(1, 64);
        options[20] = 60;
        assert!(!alone(&options), "eight bytes of options");
    }
}
