//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and what a transport
//! checksum field holds.
//!
//! Sums are one's complement sums of 16-bit words read big-endian, kept in 32 bits with end-around
//! carry; checksums are `u16` as the field reads big-endian. Zero has two forms in one's
//! complement, 0x0000 and 0xffff. The kernel's `csum_fold`, `csum_add` and `csum_replace_by_diff`
//! are followed to the letter, so that both sides write the same one.

use std::net::IpAddr;

use super::field::{Field, array, set_u16, u16_at};
use super::headers::{Fragment, IpHeaders, Transport};
use super::{icmp, ipv4::Ipv4, tcp, udp};
use crate::tuple::Protocol;

/// The one's complement sum of `bytes`; an odd last byte counts as if a zero followed it.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    // 2^16 is congruent to 1, so words of 32 bits add up to the same sum; 64 bits take the
    // carries of far more bytes than a slice can have.
    let mut words = bytes.chunks_exact(4);
    let mut total: u64 =
        words.by_ref().map(|word| u64::from(u32::from_be_bytes(array(word, 0..4)))).sum();
    let mut last = [0; 4];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_be_bytes(last));
    add(total as u32, (total >> 32) as u32)
}

/// Adds two sums: 32 bits with end-around carry.
#[must_use]
pub const fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u32
}

/// Folds a sum to 16 bits, without complementing it.
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum + (sum >> 16)) as u16
}

/// The difference `new` less `old` of two stretches of bytes. Both start at an even offset of what
/// the checksum covers.
#[must_use]
pub fn diff(old: &[u8], new: &[u8]) -> u32 {
    add(sum(new), !sum(old))
}

/// The checksum after what it covers changed by `delta` (see [`diff`]).
///
/// RFC 1624, equation 3: "HC' = ~(~HC + ~m + m')". As the complement of a 16-bit field in 32 bits
/// is never zero, neither is the sum, and the result is never 0xffff: it is the same whichever
/// zero `delta` has. A wrong checksum stays wrong by as much.
#[must_use]
pub const fn update(check: u16, delta: u32) -> u16 {
    !fold(add(delta, !(check as u32)))
}

/// The same for a field that holds the sum of the pseudo-header, not complemented, because an
/// interface further on will add the rest (`CHECKSUM_PARTIAL`): `delta` is the change of the
/// pseudo-header alone.
#[must_use]
pub const fn update_partial(check: u16, delta: u32) -> u16 {
    fold(add(delta, check as u32))
}

/// The form in which a computed checksum goes into UDP's field. RFC 768: "If the computed checksum
/// is zero, it is transmitted as all ones".
#[must_use]
pub const fn for_udp(check: u16) -> u16 {
    if check == 0 { 0xffff } else { check }
}

/// The sum of the pseudo-header: RFC 9293, section 3.1, for IPv4, RFC 8200, section 8.1, for IPv6.
/// The two lay it out differently and sum up to the same. `length` is that of the transport header
/// and what follows it, in bytes.
#[must_use]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, length: u32) -> u32 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    let addresses = add(address(src), address(dst));
    add(addresses, add(u32::from(protocol), length))
}

/// The checksum of a transport segment (header, with a checksum field of zero, and what follows).
#[must_use]
pub fn transport(src: IpAddr, dst: IpAddr, protocol: Protocol, segment: &[u8]) -> u16 {
    let check = !fold(add(pseudo_sum(src, dst, protocol, segment.len()), sum(segment)));
    if protocol == Protocol::Udp { for_udp(check) } else { check }
}

/// The part of the sum that the segment does not hold; ICMP's checksum covers no pseudo-header.
fn pseudo_sum(src: IpAddr, dst: IpAddr, protocol: Protocol, length: usize) -> u32 {
    if protocol == Protocol::Icmp {
        return 0;
    }
    // An IP packet is far below 4 GiB.
    pseudo_header(src, dst, protocol.number(), length as u32)
}

/// Where the checksum stands in the transport header.
#[must_use]
pub(super) const fn field_of(protocol: Protocol) -> Field {
    match protocol {
        Protocol::Tcp => tcp::field::CHECKSUM,
        Protocol::Udp => udp::field::CHECKSUM,
        Protocol::Icmp | Protocol::Icmpv6 => icmp::field::CHECKSUM,
    }
}

/// What a transport checksum field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L4Checksum {
    /// The checksum.
    Correct,
    /// Zero, which in UDP over IPv4 says that there is none.
    Absent,
    /// The folded sum of the pseudo-header, not complemented: a sender with checksum offload left
    /// the rest to an interface that the packet never came by, as on a veth. [`complete`] does it.
    PseudoHeaderOnly,
    /// Something else: the packet was damaged on its way and must not be forwarded.
    Wrong,
    /// The packet cannot tell: it is a fragment, or of a protocol with no checksum known here.
    Unchecked,
}

/// Finds out what the transport checksum of `frame`, whose summary is `ip`, holds. The IPv4
/// header's own checksum is [`ipv4_header_is_correct`]'s.
#[must_use]
pub fn verify(ip: &IpHeaders, frame: &[u8]) -> L4Checksum {
    let Some((protocol, segment)) = covered(ip, frame) else { return L4Checksum::Unchecked };
    let field = field_of(protocol);
    if segment.len() < field.end {
        return L4Checksum::Wrong;
    }
    let check = u16_at(segment, field);
    if protocol == Protocol::Udp && check == 0 {
        // RFC 8200, section 8.1: "IPv6 receivers must discard UDP packets containing a zero
        // checksum".
        return if ip.is_ipv4() { L4Checksum::Absent } else { L4Checksum::Wrong };
    }
    let pseudo = pseudo_sum(ip.src, ip.dst, protocol, segment.len());
    if fold(add(pseudo, sum(segment))) == 0xffff {
        L4Checksum::Correct
    } else if is_partial(protocol, check, pseudo) {
        L4Checksum::PseudoHeaderOnly
    } else {
        L4Checksum::Wrong
    }
}

/// Computes the checksum of a frame in which [`verify`] found
/// [`L4Checksum::PseudoHeaderOnly`]; any other is left as it is, for a wrong checksum must never be
/// made to look right. Returns whether it was such a frame.
pub fn complete(ip: &IpHeaders, frame: &mut [u8]) -> bool {
    let Some((protocol, segment)) = covered(ip, frame) else { return false };
    let field = field_of(protocol);
    if segment.len() < field.end {
        return false;
    }
    let pseudo = pseudo_sum(ip.src, ip.dst, protocol, segment.len());
    if !is_partial(protocol, u16_at(segment, field.clone()), pseudo) {
        return false;
    }
    let mut check = !fold(add(pseudo, add(sum(segment), !sum(&segment[field.clone()]))));
    if protocol == Protocol::Udp {
        check = for_udp(check);
    }
    set_u16(&mut frame[ip.l4_offset..], field, check);
    true
}

/// Computes the UDP checksum of a frame in which [`verify`] found [`L4Checksum::Absent`]; any other is
/// left as it is.
pub fn supply(ip: &IpHeaders, frame: &mut [u8]) {
    let Some((Protocol::Udp, segment)) = covered(ip, frame) else { return };
    let field = field_of(Protocol::Udp);
    if segment.len() < field.end || u16_at(segment, field.clone()) != 0 {
        return;
    }
    let check = transport(ip.src, ip.dst, Protocol::Udp, segment);
    set_u16(&mut frame[ip.l4_offset..], field, check);
}

/// Whether the header checksum of `frame`, whose summary is `ip`, is right; IPv6 has none to be
/// wrong.
#[must_use]
pub fn ipv4_header_is_correct(ip: &IpHeaders, frame: &[u8]) -> bool {
    let packet = frame.get(ip.l3_offset..).unwrap_or_default();
    !ip.is_ipv4() || Ipv4::new_checked(packet).is_ok_and(|packet| packet.checksum_is_correct())
}

/// Only TCP and UDP leave their checksums to interfaces.
fn is_partial(protocol: Protocol, check: u16, pseudo: u32) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp) && check == fold(pseudo)
}

/// The bytes that the transport checksum covers, if it can be computed.
fn covered<'a>(ip: &IpHeaders, frame: &'a [u8]) -> Option<(Protocol, &'a [u8])> {
    if ip.fragment != Fragment::None {
        return None;
    }
    let bytes = ip.transport_bytes(frame);
    match ip.transport {
        Transport::Tcp { .. } => Some((Protocol::Tcp, bytes)),
        Transport::Udp { length, .. } => {
            Some((Protocol::Udp, bytes.get(..length).unwrap_or_default()))
        }
        Transport::Echo { .. }
        | Transport::IcmpError { .. }
        | Transport::Ndp { .. }
        | Transport::OtherIcmp { .. } => {
            Some((if ip.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 }, bytes))
        }
        Transport::Other(_) | Transport::NotPresent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::packet::{Frame, Headers};

    /// The definition, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0_u16;
        for word in bytes.chunks(2) {
            let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
            let (added, carry) = sum.overflowing_add(word);
            sum = added + u16::from(carry);
        }
        sum
    }

    fn verified(frame: &[u8]) -> L4Checksum {
        verify(Headers::parse(frame).unwrap().ip().unwrap(), frame)
    }

    fn completed(frame: &[u8]) -> (bool, Vec<u8>) {
        let mut frame = frame.to_vec();
        let headers = Headers::parse(&frame).unwrap();
        let done = complete(headers.ip().unwrap(), &mut frame);
        (done, frame)
    }

    const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 443);
    const CLIENT6: (Ipv6Addr, u16) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 40_000);
    const SERVER6: (Ipv6Addr, u16) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2), 443);

    #[test]
    fn a_udp_checksum_that_is_absent_is_supplied_and_no_other_is_touched() {
        let right = Frame::udp(CLIENT, SERVER).payload(*b"odd").build();
        for (check, expected) in [([0, 0], &right[40..42]), ([0, 1], &[0, 1])] {
            let mut frame = right.clone();
            frame[40..42].copy_from_slice(&check);
            let headers = Headers::parse(&frame).unwrap();
            supply(headers.ip().unwrap(), &mut frame);
            assert_eq!(frame[40..42], *expected);
        }
        let mut tcp = Frame::tcp(CLIENT, SERVER).build();
        tcp[50..52].fill(0);
        let before = tcp.clone();
        let headers = Headers::parse(&tcp).unwrap();
        supply(headers.ip().unwrap(), &mut tcp);
        assert_eq!(tcp, before);
    }

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(fold(sum(&bytes[..7])), fold(sum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0])));
    }

    #[test]
    fn the_example_of_rfc_1624_updates_to_zero_and_not_to_all_ones() {
        // Section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285; the right HC' is 0x0000.
        let delta = diff(&[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(update(0xdd2f, delta), 0x0000);
    }

    #[test]
    fn a_sum_of_a_whole_64_kib_of_ones_does_not_overflow() {
        let ones = vec![0xff; 65_535];
        assert_eq!(fold(sum(&ones)), reference(&ones));
        assert_eq!(add(u32::MAX, u32::MAX), u32::MAX);
        assert_eq!(add(u32::MAX, 1), 1);
    }

    #[test]
    fn a_zero_difference_changes_nothing_in_either_form() {
        for zero in [0, 0xffff, 0xffff_0000, u32::MAX] {
            assert_eq!(update(0x1234, zero), 0x1234);
            assert_eq!(update(0x0000, zero), 0x0000);
            // All ones is not what this arithmetic writes, so it becomes the other zero.
            assert_eq!(update(0xffff, zero), 0x0000);
        }
    }

    #[test]
    fn a_partial_checksum_follows_the_addresses() {
        let before = Frame::tcp(CLIENT, SERVER).payload([1; 9]).partial_checksum().build();
        let after = Frame::tcp(([198, 51, 100, 7], 40_000), SERVER)
            .payload([1; 9])
            .partial_checksum()
            .build();
        let delta = diff(&before[26..30], &after[26..30]);
        let field = 34 + 16..34 + 18;
        let updated = update_partial(u16_at(&before, field.clone()), delta);
        assert_eq!(updated, u16_at(&after, field));
    }

    #[test]
    fn udp_never_sends_a_computed_zero() {
        // A payload that brings the sum to all ones.
        let zero = Frame::udp(CLIENT, SERVER).payload([0, 0]).build();
        let check = u16_at(&zero, 40..42);
        let frame = Frame::udp(CLIENT, SERVER).payload(check.to_be_bytes()).build();
        assert_eq!(frame[40..42], [0xff, 0xff]);
        assert_eq!(verified(&frame), L4Checksum::Correct);
        let tcp = Frame::tcp(CLIENT, SERVER).payload([0, 0]).build();
        let check = u16_at(&tcp, 50..52);
        let frame = Frame::tcp(CLIENT, SERVER).payload(check.to_be_bytes()).build();
        assert_eq!(frame[50..52], [0, 0], "in TCP zero is a checksum like any other");
        assert_eq!(verified(&frame), L4Checksum::Correct);
    }

    #[test]
    fn udp_without_checksum_is_right_in_ipv4_and_wrong_in_ipv6() {
        let frame = Frame::udp(CLIENT, SERVER).payload([1]).no_checksum().build();
        assert_eq!(verified(&frame), L4Checksum::Absent);
        assert_eq!(completed(&frame), (false, frame));
        let frame = Frame::udp(CLIENT6, SERVER6).payload([1]).no_checksum().build();
        assert_eq!(verified(&frame), L4Checksum::Wrong);
        assert_eq!(completed(&frame), (false, frame));
    }

    #[test]
    fn what_an_offloading_sender_left_is_completed() {
        let tcp = |a: (IpAddr, u16), b: (IpAddr, u16)| Frame::tcp(a, b).payload(*b"hello");
        let udp = |a: (IpAddr, u16), b: (IpAddr, u16)| Frame::udp(a, b).payload(*b"hello");
        let v4 = ((CLIENT.0.into(), CLIENT.1), (SERVER.0.into(), SERVER.1));
        let v6 = ((CLIENT6.0.into(), CLIENT6.1), (SERVER6.0.into(), SERVER6.1));
        for (a, b) in [v4, v6] {
            for (partial, whole) in [
                (tcp(a, b).partial_checksum().build(), tcp(a, b).build()),
                (udp(a, b).partial_checksum().build(), udp(a, b).build()),
            ] {
                assert_eq!(verified(&partial), L4Checksum::PseudoHeaderOnly);
                assert_eq!(completed(&partial), (true, whole.clone()));
                assert_eq!(verified(&whole), L4Checksum::Correct);
                assert_eq!(completed(&whole), (false, whole));
            }
        }
    }

    #[test]
    fn a_wrong_checksum_is_found_and_never_blessed() {
        let frames = [
            Frame::tcp(CLIENT, SERVER).payload([1; 3]).build(),
            Frame::udp(CLIENT6, SERVER6).payload([1; 3]).build(),
            Frame::echo_request(CLIENT.0, SERVER.0, 1, 1).payload([1; 3]).build(),
            Frame::echo_request(CLIENT6.0, SERVER6.0, 1, 1).payload([1; 3]).build(),
        ];
        for mut frame in frames {
            assert_eq!(verified(&frame), L4Checksum::Correct);
            *frame.last_mut().unwrap() ^= 1;
            assert_eq!(verified(&frame), L4Checksum::Wrong);
            assert_eq!(completed(&frame), (false, frame));
        }
    }

    #[test]
    fn only_tcp_and_udp_may_leave_a_checksum_to_others() {
        let mut frame = Frame::echo_request(CLIENT6.0, SERVER6.0, 1, 1).payload([1; 3]).build();
        let pseudo = pseudo_header(CLIENT6.0.into(), SERVER6.0.into(), 58, 11);
        set_u16(&mut frame, 56..58, fold(pseudo));
        assert_eq!(verified(&frame), L4Checksum::Wrong);
    }

    #[test]
    fn fragments_and_unknown_protocols_cannot_be_verified() {
        let mut fragment = Frame::udp(CLIENT, SERVER).payload([1; 8]).build();
        fragment[20] = 0x20;
        assert_eq!(verified(&fragment), L4Checksum::Unchecked);
        let mut sctp = Frame::udp(CLIENT, SERVER).payload([1; 8]).build();
        sctp[23] = 132;
        assert_eq!(verified(&sctp), L4Checksum::Unchecked);
    }

    #[test]
    fn a_summary_of_another_frame_is_no_cause_for_panic() {
        let long = Frame::tcp(CLIENT, SERVER).payload([1; 100]).build();
        let ip = *Headers::parse(&long).unwrap().ip().unwrap();
        let mut short = long[..50].to_vec();
        assert_eq!(verify(&ip, &short), L4Checksum::Wrong);
        assert!(!complete(&ip, &mut short));
        assert!(!ipv4_header_is_correct(&ip, &[]));
    }

    #[test]
    fn the_ipv4_header_has_a_checksum_of_its_own() {
        let mut frame = Frame::udp(CLIENT, SERVER).build();
        let ip = *Headers::parse(&frame).unwrap().ip().unwrap();
        assert!(ipv4_header_is_correct(&ip, &frame));
        frame[22] -= 1;
        assert!(!ipv4_header_is_correct(&ip, &frame));
        let frame = Frame::udp(CLIENT6, SERVER6).build();
        let ip = *Headers::parse(&frame).unwrap().ip().unwrap();
        assert!(ipv4_header_is_correct(&ip, &frame), "IPv6 has none");
    }

    #[test]
    fn the_pseudo_header_is_laid_out_as_the_rfcs_have_it() {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1));
        let laid_out = [10, 0, 0, 1, 192, 0, 2, 1, 0, 17, 0x12, 0x34];
        assert_eq!(fold(pseudo_header(src.into(), dst.into(), 17, 0x1234)), reference(&laid_out));
        let (src, dst) = (CLIENT6.0, SERVER6.0);
        let tail = [0, 1, 0x23, 0x45, 0, 0, 0, 58];
        let laid_out = [&src.octets()[..], &dst.octets(), &tail].concat();
        let sum = pseudo_header(src.into(), dst.into(), 58, 0x0001_2345);
        assert_eq!(fold(sum), reference(&laid_out));
    }

    proptest! {
        #[test]
        fn the_sum_is_the_definitions(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(fold(sum(&bytes)), reference(&bytes));
        }

        #[test]
        fn an_update_is_what_a_new_computation_gives(
            mut bytes in proptest::collection::vec(any::<u8>(), 8..200),
            at in any::<prop::sample::Index>(),
            new in any::<[u8; 4]>(),
        ) {
            let before = !reference(&bytes);
            let at = at.index(bytes.len() - 4) & !1;
            let delta = diff(&bytes[at..at + 4], &new);
            bytes[at..at + 4].copy_from_slice(&new);
            let after = update(before, delta);
            prop_assert_ne!(after, 0xffff);
            // The two differ only where the covered bytes are all zero, whose checksum is 0xffff.
            prop_assert_eq!(after, if reference(&bytes) == 0 { 0 } else { !reference(&bytes) });
        }

        #[test]
        fn an_update_does_not_depend_on_the_form_of_its_difference(
            check: u16, delta: u32, extra in 0_u32..3,
        ) {
            let same = (0..extra).fold(delta, |sum, _| add(sum, u32::MAX));
            prop_assert_eq!(update(check, same), update(check, delta));
            prop_assert_eq!(update(check, u32::from(fold(delta))), update(check, delta));
        }

        #[test]
        fn a_wrong_checksum_stays_wrong_by_as_much(check: u16, error in 1_u16..0xffff, delta: u32) {
            let off = fold(add(u32::from(check), u32::from(error)));
            let expected = fold(add(u32::from(update(check, delta)), u32::from(error)));
            let difference = diff(&expected.to_be_bytes(), &update(off, delta).to_be_bytes());
            prop_assert!(matches!(fold(difference), 0 | 0xffff));
        }
    }
}
