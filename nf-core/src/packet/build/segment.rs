//! Super-packets cut into the segments that a network interface would make of them.

use std::ops::Range;

use crate::packet::checksum::{self, L4Checksum};
use crate::packet::field::{set_u16, set_u32};
use crate::packet::headers::{Fragment, Headers, IpHeaders, Transport};
use crate::packet::ipv4::{self, Ipv4};
use crate::packet::tcp::{self, TcpFlags};
use crate::packet::{ipv6, udp};
use crate::tuple::Protocol;

/// Cuts a TCP or UDP super-packet into frames whose payloads have `gso_size` bytes, the last one
/// perhaps fewer, with all lengths and checksums right and no padding.
///
/// Every segment has the headers of the whole, but: TCP's sequence number advances, FIN and PSH are
/// on the last one only and CWR on the first (RFC 3168, section 6.1.2, has it answer one ECE once),
/// and the IPv4 identification counts up.
///
/// A payload of at most `gso_size` makes one frame, and so do SYN and RST, which must not be
/// repeated, and a `gso_size` of zero. What cannot be cut at all comes back as it is: other
/// protocols, fragments, malformed frames, and those with a wrong checksum, which must not be made
/// to look right.
#[must_use]
pub fn segment(frame: &[u8], gso_size: usize) -> Vec<Vec<u8>> {
    let Some(whole) = Whole::parse(frame) else { return vec![frame.to_vec()] };
    let size = if whole.is_divisible() && gso_size > 0 { gso_size } else { usize::MAX };
    let chunks = whole.payload.len().div_ceil(size).max(1);
    (0..chunks)
        .map(|index| {
            let start = index * size;
            let end = start.saturating_add(size).min(whole.payload.len());
            whole.cut(index, start..end)
        })
        .collect()
}

/// A super-packet.
struct Whole<'a> {
    ip: IpHeaders,
    /// Ethernet, IP and transport header.
    headers: &'a [u8],
    payload: &'a [u8],
    transport: Segmented,
    /// Of IPv4; zero in IPv6.
    identification: u16,
}

enum Segmented {
    Tcp { seq: u32, flags: TcpFlags },
    Udp { has_checksum: bool },
}

impl<'a> Whole<'a> {
    /// `None` if the frame is not one that may be cut.
    fn parse(frame: &'a [u8]) -> Option<Self> {
        let ip = *Headers::parse(frame).ok()?.ip()?;
        let found = checksum::verify(&ip, frame);
        if ip.fragment != Fragment::None
            || found == L4Checksum::Wrong
            || !checksum::ipv4_header_is_correct(&ip, frame)
        {
            return None;
        }
        let (header_len, transport) = match ip.transport {
            Transport::Tcp { header_len, seq, flags, .. } => {
                (header_len, Segmented::Tcp { seq, flags })
            }
            // Bytes behind the datagram belong to none of its segments.
            Transport::Udp { length, .. } if ip.l4_offset + length == ip.end() => {
                (udp::HEADER_LEN, Segmented::Udp { has_checksum: found != L4Checksum::Absent })
            }
            _ => return None,
        };
        let (headers, payload) =
            frame.get(..ip.end())?.split_at_checked(ip.l4_offset + header_len)?;
        let identification = if ip.is_ipv4() {
            Ipv4::new_checked(&frame[ip.l3_offset..]).ok()?.identification()
        } else {
            0
        };
        Some(Self { ip, headers, payload, transport, identification })
    }

    fn is_divisible(&self) -> bool {
        match self.transport {
            Segmented::Tcp { flags, .. } => !flags.intersects(TcpFlags::SYN | TcpFlags::RST),
            Segmented::Udp { .. } => true,
        }
    }

    /// The segment that carries `range` of the payload, behind `index` others.
    fn cut(&self, index: usize, range: Range<usize>) -> Vec<u8> {
        let is_last = range.end == self.payload.len();
        // An IP packet is far below 4 GiB.
        let sent = range.start as u32;
        let mut frame = [self.headers, &self.payload[range]].concat();
        let (network, segment) =
            frame[self.ip.l3_offset..].split_at_mut(self.ip.l4_offset - self.ip.l3_offset);
        self.set_network(network, segment.len(), index);
        let (protocol, has_checksum) = match self.transport {
            Segmented::Tcp { seq, flags } => {
                set_u32(segment, tcp::field::SEQ, seq.wrapping_add(sent));
                let mut flags = flags;
                if index > 0 {
                    flags = flags.without(TcpFlags::CWR);
                }
                if !is_last {
                    flags = flags.without(TcpFlags::FIN | TcpFlags::PSH);
                }
                segment[tcp::field::FLAGS] = flags.0;
                (Protocol::Tcp, true)
            }
            Segmented::Udp { has_checksum } => {
                let length = segment.len() as u16;
                set_u16(segment, udp::field::LENGTH, length);
                (Protocol::Udp, has_checksum)
            }
        };
        if has_checksum {
            let field = checksum::field_of(protocol);
            set_u16(segment, field.clone(), 0);
            let check = checksum::transport(self.ip.src, self.ip.dst, protocol, segment);
            set_u16(segment, field, check);
        }
        frame
    }

    /// Fixes the lengths, the identification and the header checksum of the IP header and what
    /// extends it.
    fn set_network(&self, network: &mut [u8], segment_len: usize, index: usize) {
        let total_len = network.len() + segment_len;
        if self.ip.is_ipv4() {
            set_u16(network, ipv4::field::TOTAL_LENGTH, total_len as u16);
            let identification = self.identification.wrapping_add(index as u16);
            set_u16(network, ipv4::field::IDENTIFICATION, identification);
            set_u16(network, ipv4::field::CHECKSUM, 0);
            let check = !checksum::fold(checksum::sum(network));
            set_u16(network, ipv4::field::CHECKSUM, check);
        } else {
            let payload_len = total_len - ipv6::HEADER_LEN;
            set_u16(network, ipv6::field::PAYLOAD_LENGTH, payload_len as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::packet::Frame;
    use crate::packet::build::{TcpSegment, UdpDatagram};

    const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 443);

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| i as u8).collect()
    }

    fn tcp() -> Frame<TcpSegment> {
        Frame::tcp(CLIENT, SERVER).seq(u32::MAX - 99).ack(5).options(&[1, 1, 8, 10]).ttl(9)
    }

    fn udp() -> Frame<UdpDatagram> {
        Frame::udp(CLIENT, SERVER).identification(u16::MAX)
    }

    #[test]
    fn tcp_segments_are_what_a_sender_would_have_sent() {
        let all = TcpFlags::FIN | TcpFlags::PSH | TcpFlags::ACK | TcpFlags::CWR | TcpFlags::ECE;
        let data = bytes(250);
        let whole = tcp().identification(7).flags(all).payload(&data[..]);
        let expected = [
            tcp()
                .identification(7)
                .flags(TcpFlags::ACK | TcpFlags::CWR | TcpFlags::ECE)
                .payload(&data[..100]),
            tcp()
                .identification(8)
                .seq(0)
                .flags(TcpFlags::ACK | TcpFlags::ECE)
                .payload(&data[100..200]),
            tcp()
                .identification(9)
                .seq(100)
                .flags(TcpFlags::FIN | TcpFlags::PSH | TcpFlags::ACK | TcpFlags::ECE)
                .payload(&data[200..]),
        ]
        .map(|frame| frame.build());
        assert_eq!(segment(&whole.build(), 100), expected);
        assert_eq!(segment(&whole.partial_checksum().build(), 100), expected);
    }

    #[test]
    fn udp_segments_are_datagrams_of_their_own() {
        let data = bytes(200);
        let expected = [
            udp().payload(&data[..100]).build(),
            udp().identification(0).payload(&data[100..]).build(),
        ];
        assert_eq!(segment(&udp().payload(&data[..]).build(), 100), expected);
        let partial = udp().payload(&data[..]).partial_checksum().build();
        assert_eq!(segment(&partial, 100), expected);
    }

    #[test]
    fn datagrams_without_checksum_stay_without() {
        let data = bytes(30);
        let segments = segment(&udp().payload(&data[..]).no_checksum().build(), 20);
        let expected = [
            udp().payload(&data[..20]).no_checksum().build(),
            udp().identification(0).payload(&data[20..]).no_checksum().build(),
        ];
        assert_eq!(segments, expected);
    }

    #[test]
    fn ipv6_is_cut_behind_its_extension_headers() {
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        let data = bytes(150);
        let plain =
            |data: &[u8]| Frame::udp((address(1), 1), (address(2), 2)).payload(data).build();
        let with_options = |data: &[u8]| {
            let mut frame = plain(data);
            frame.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
            frame[20] = 60;
            frame[19] += 8;
            frame
        };
        let expected = [plain(&data[..100]), plain(&data[100..])];
        assert_eq!(segment(&plain(&data), 100), expected);
        let expected = [with_options(&data[..100]), with_options(&data[100..])];
        assert_eq!(segment(&with_options(&data), 100), expected);
    }

    #[test]
    fn a_payload_that_fits_makes_one_frame_with_its_checksum_complete() {
        let whole = tcp().payload(bytes(100));
        for size in [100, 101, usize::MAX, 0] {
            let partial = whole.clone().partial_checksum().build();
            assert_eq!(segment(&partial, size), [whole.build()], "{size}");
        }
        let empty = tcp().partial_checksum().build();
        assert_eq!(segment(&empty, 100), [tcp().build()]);
    }

    #[test]
    fn a_syn_with_data_is_not_repeated() {
        let syn = tcp().flags(TcpFlags::SYN).payload(bytes(300));
        assert_eq!(segment(&syn.clone().partial_checksum().build(), 100), [syn.build()]);
    }

    #[test]
    fn what_cannot_be_cut_comes_back_as_it_is() {
        let mut corrupt = tcp().payload(bytes(300)).build();
        corrupt[100] ^= 1;
        let mut corrupt_header = tcp().payload(bytes(300)).build();
        corrupt_header[22] ^= 1;
        let mut fragment = udp().may_fragment().payload(bytes(300)).build();
        fragment[20] = 0x20;
        let echo = Frame::echo_request([10, 0, 0, 1], [10, 0, 0, 2], 1, 1).payload(bytes(300));
        for frame in [corrupt, corrupt_header, fragment, echo.build(), bytes(90), vec![]] {
            assert_eq!(segment(&frame, 100), [frame]);
        }
    }
}
