//! Checksums by their definition (RFC 1071): 16-bit words, added one by one. Slow, and not a line
//! of it shared with what it is to judge.

/// The checksum of these bytes: the complement of the one's complement sum of their 16-bit words.
/// It is zero if they include their own right checksum.
#[must_use]
pub fn reference_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !(sum as u16)
}

/// Whether every checksum of an Ethernet frame is right: IPv4 header, TCP, UDP, ICMP and ICMPv6,
/// and those of a packet that an ICMP error quotes to its end. A frame of anything else has none.
#[must_use]
pub fn checksums_are_right(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00] | [0x86, 0xdd]) => packet(&frame[14..], false),
        _ => true,
    }
}

/// The same from the IP header on. Of a quoted packet, TCP's length may not be told from what is
/// there, so only what is whole is judged.
fn packet(bytes: &[u8], quoted: bool) -> bool {
    let (header_len, total_len, protocol, pseudo) = match bytes.first().map(|byte| byte >> 4) {
        Some(4) if bytes.len() >= 20 => {
            let header_len = usize::from(bytes[0] & 15) * 4;
            let total_len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            (header_len, total_len, bytes[9], bytes[12..20].to_vec())
        }
        Some(6) if bytes.len() >= 40 => {
            let total_len = 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
            (40, total_len, bytes[6], bytes[8..40].to_vec())
        }
        _ => return true,
    };
    if bytes.len() < header_len || total_len < header_len {
        return true;
    }
    let is_v4 = bytes[0] >> 4 == 4;
    if is_v4 && reference_checksum(&bytes[..header_len]) != 0 {
        return false;
    }
    let fragment = is_v4 && u16::from_be_bytes([bytes[6], bytes[7]]) & 0x3fff != 0;
    let Some(segment) = bytes.get(header_len..total_len).filter(|_| !fragment) else {
        return quoted || fragment;
    };
    let with_pseudo = || {
        let mut all = pseudo.clone();
        all.extend((segment.len() as u32).to_be_bytes());
        all.extend([0, 0, 0, protocol]);
        all.extend(segment);
        reference_checksum(&all) == 0
    };
    match (protocol, is_v4, segment) {
        (17, true, [_, _, _, _, _, _, 0, 0, ..]) => true,
        (6 | 17, ..) => with_pseudo(),
        (1, true, _) => {
            let error = matches!(segment.first(), Some(3 | 11 | 12));
            let whole = reference_checksum(segment) == 0;
            whole && (!error || segment.len() < 8 || packet(&segment[8..], true))
        }
        (58, false, _) => {
            let error = matches!(segment.first(), Some(1..=4));
            with_pseudo() && (!error || segment.len() < 8 || packet(&segment[8..], true))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Frame, IcmpErrorKind, build};

    #[test]
    fn the_example_of_rfc_1071_comes_out_right() {
        assert_eq!(reference_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn one_wrong_bit_anywhere_behind_the_ethernet_header_is_found() {
        let v4 = Frame::udp(([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2)).payload(*b"four").build();
        let v6 = Frame::tcp(([0xfd, 0, 0, 0, 0, 0, 0, 1], 1), ([0xfd, 0, 0, 0, 0, 0, 0, 2], 2));
        let quoting = IcmpErrorKind::TimeExceeded { code: 0 };
        let error = build::icmp_error(&v4, quoting, [10, 0, 0, 9].into()).unwrap();
        for frame in [v4, v6.build(), error] {
            assert!(checksums_are_right(&frame));
            for byte in 16..frame.len() {
                // IPv6 covers neither class, label nor hop limit.
                if frame[12] == 0x86 && (byte < 18 || byte == 21) {
                    continue;
                }
                let mut damaged = frame.clone();
                damaged[byte] ^= 0x10;
                // A length or version that no longer fits is no matter of checksums.
                let lengths = [16, 17, 18, 19, 20, 21, 23, 38, 39];
                assert!(!checksums_are_right(&damaged) || lengths.contains(&byte), "byte {byte}");
            }
        }
    }
}
