//! The header in front of every frame of a packet socket with `PACKET_VNET_HDR`: what the frame's
//! sender left undone, be it the transport checksum or the cutting into segments.
//!
//! Layout and numbers are those of `struct virtio_net_hdr` (virtio 1.2, section 5.1.6, legacy
//! form: ten bytes, the host's byte order). Two local stacks joined by a veth pair hand each other
//! 64 KiB super-packets with unfinished checksums; passing the header on lets them stay that way.

use nf_core::action::{ChecksumField, ETHERNET_LEN};
use nf_core::fast_path::soft::FrameMeta;
use nf_core::packet::checksum;
use nf_core::tuple::Protocol;

/// Bytes of an encoded header.
pub const VNET_HEADER_LEN: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum field holds the pseudo-header's sum only.
const NEEDS_CHECKSUM: u8 = 1;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
/// IP fragments of one large UDP datagram, the old offload.
const GSO_UDP: u8 = 3;
const GSO_TCPV6: u8 = 4;
/// UDP datagrams of one size.
const GSO_UDP_L4: u8 = 5;
/// The first segment has CWR set and the others must not; combines with the TCP kinds.
const GSO_ECN: u8 = 0x80;

/// What a frame's sender left undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// Bit 0: the checksum is partial. Bit 1: the checksum was found right on receipt.
    pub flags: u8,
    /// How the frame is to be cut into segments: none 0, TCP over IPv4 1, UDP fragments 3, TCP
    /// over IPv6 4, UDP datagrams 5; bit 7: TCP with ECN.
    pub gso_type: u8,
    /// Bytes of all headers of a frame to be cut, at least.
    pub header_len: u16,
    /// Payload bytes of each segment.
    pub segment_size: u16,
    /// Where the summing of a partial checksum starts, in bytes from the frame's start.
    pub checksum_start: u16,
    /// Where its sum goes, in bytes from there.
    pub checksum_offset: u16,
}

/// The header describes something else than the frame it came with, or something that cannot be
/// passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame's offload header does not fit the frame")]
pub struct Mismatch;

impl VnetHeader {
    /// Reads a header as the kernel wrote it.
    #[must_use]
    pub fn decode(bytes: [u8; VNET_HEADER_LEN]) -> Self {
        let pair = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            header_len: pair(2),
            segment_size: pair(4),
            checksum_start: pair(6),
            checksum_offset: pair(8),
        }
    }

    /// Writes the header as the kernel reads it.
    #[must_use]
    pub fn encode(self) -> [u8; VNET_HEADER_LEN] {
        let mut bytes = [0; VNET_HEADER_LEN];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        bytes[2..4].copy_from_slice(&self.header_len.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.segment_size.to_ne_bytes());
        bytes[6..8].copy_from_slice(&self.checksum_start.to_ne_bytes());
        bytes[8..10].copy_from_slice(&self.checksum_offset.to_ne_bytes());
        bytes
    }

    /// Compares the header with `frame` and says what the fast path must know of it.
    ///
    /// A partial checksum that is not the outermost transport header's, as of a packet inside a
    /// tunnel, is completed in place: nobody further on would know of it. The header then says so
    /// too and still fits the frame.
    ///
    /// # Errors
    /// The frame must be dropped: the header points outside of it, announces a kind of segments
    /// that is unknown, or one that the outermost headers are not of.
    pub fn settle(&mut self, frame: &mut [u8]) -> Result<FrameMeta, Mismatch> {
        let outer = outermost_transport(frame);
        let segment_size = self.checked_segment_size(outer)?;
        if self.flags & NEEDS_CHECKSUM == 0 {
            return Ok(FrameMeta { segment_size, checksum: ChecksumField::Complete });
        }
        let field = usize::from(self.checksum_start) + usize::from(self.checksum_offset);
        if field + 2 > frame.len() {
            return Err(Mismatch);
        }
        if outer.is_some_and(|outer| outer.has_checksum_at(self)) {
            return Ok(FrameMeta { segment_size, checksum: ChecksumField::Partial });
        }
        if segment_size == 0 {
            complete(frame, usize::from(self.checksum_start), field);
            *self = Self::default();
        } else if outer.is_some() {
            return Err(Mismatch);
        }
        Ok(FrameMeta { segment_size, checksum: ChecksumField::Complete })
    }

    /// Follows a frame that had so many bytes and now has as many: if they are more or fewer, its IP
    /// header is the other family's.
    pub(crate) fn follow(&mut self, had: usize, has: usize) {
        if had == has {
            return;
        }
        let moved = |at: u16| if at == 0 { 0 } else { (usize::from(at) + has - had) as u16 };
        self.header_len = moved(self.header_len);
        self.checksum_start = moved(self.checksum_start);
        self.gso_type = match self.gso_type & !GSO_ECN {
            GSO_TCPV4 => GSO_TCPV6 | self.gso_type & GSO_ECN,
            GSO_TCPV6 => GSO_TCPV4 | self.gso_type & GSO_ECN,
            _ => self.gso_type,
        };
    }

    /// Zero unless the frame is a super-packet. Where the outermost transport header is not to be
    /// found, the fast path does not forward, so a kind that cannot be checked does no harm.
    fn checked_segment_size(&self, outer: Option<Outermost>) -> Result<u16, Mismatch> {
        let fits = match self.gso_type & !GSO_ECN {
            GSO_NONE => return Ok(0),
            GSO_TCPV4 => outer.is_none_or(|o| o.protocol == Protocol::Tcp && o.is_ipv4),
            GSO_TCPV6 => outer.is_none_or(|o| o.protocol == Protocol::Tcp && !o.is_ipv4),
            GSO_UDP | GSO_UDP_L4 => outer.is_none_or(|o| o.protocol == Protocol::Udp),
            _ => false,
        };
        if fits && self.segment_size != 0 { Ok(self.segment_size) } else { Err(Mismatch) }
    }
}

/// The outermost transport header, if it is TCP or UDP right behind a plain IP header.
#[derive(Clone, Copy)]
struct Outermost {
    protocol: Protocol,
    is_ipv4: bool,
    /// Bytes from the frame's start.
    offset: usize,
}

impl Outermost {
    fn has_checksum_at(&self, header: &VnetHeader) -> bool {
        let field = if self.protocol == Protocol::Tcp { 16 } else { 6 };
        usize::from(header.checksum_start) == self.offset && header.checksum_offset == field
    }
}

fn outermost_transport(frame: &[u8]) -> Option<Outermost> {
    let (is_ipv4, number, ip_header_len) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header_len = usize::from(frame.get(ETHERNET_LEN)? & 0x0f) * 4;
            (true, *frame.get(ETHERNET_LEN + 9)?, header_len)
        }
        [0x86, 0xdd] => (false, *frame.get(ETHERNET_LEN + 6)?, 40),
        _ => return None,
    };
    let protocol = Protocol::from_number(number).filter(|protocol| !protocol.is_echo())?;
    Some(Outermost { protocol, is_ipv4, offset: ETHERNET_LEN + ip_header_len })
}

/// Does what the sender left to an interface: sums everything from `start`, the field's own
/// content included, which is the pseudo-header's sum.
fn complete(frame: &mut [u8], start: usize, field: usize) {
    let sum = frame.get(start..).map_or(0, |covered| !checksum::fold(checksum::sum(covered)));
    // The protocol is not known, and for those other than UDP both zeros are the same number.
    let sum = checksum::for_udp(sum);
    if let Some(field) = frame.get_mut(field..field + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIAL_TCP: VnetHeader = VnetHeader {
        flags: NEEDS_CHECKSUM,
        gso_type: GSO_NONE,
        header_len: 0,
        segment_size: 0,
        checksum_start: 34,
        checksum_offset: 16,
    };

    fn ipv4_frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_LEN];
        frame[12] = 0x08;
        frame.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(payload);
        frame
    }

    fn ipv6_frame(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_LEN + 40];
        frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
        frame[ETHERNET_LEN + 6] = next_header;
        frame.extend(payload);
        frame
    }

    fn meta(segment_size: u16, checksum: ChecksumField) -> FrameMeta {
        FrameMeta { segment_size, checksum }
    }

    #[test]
    fn a_header_survives_encoding_and_decoding() {
        let header = VnetHeader {
            flags: 1,
            gso_type: GSO_TCPV6 | GSO_ECN,
            header_len: 74,
            segment_size: 1440,
            checksum_start: 54,
            checksum_offset: 16,
        };
        assert_eq!(VnetHeader::decode(header.encode()), header);
        assert_eq!(header.encode()[..2], [1, 0x84]);
        assert_eq!(header.encode()[4..6], 1440_u16.to_ne_bytes());
    }

    #[test]
    fn a_header_follows_its_frame_into_the_other_family() {
        let ipv6 = VnetHeader {
            flags: NEEDS_CHECKSUM,
            gso_type: GSO_TCPV6 | GSO_ECN,
            header_len: 74,
            segment_size: 1440,
            checksum_start: 54,
            checksum_offset: 16,
        };
        let ipv4 = VnetHeader {
            gso_type: GSO_TCPV4 | GSO_ECN,
            header_len: 54,
            checksum_start: 34,
            ..ipv6
        };
        let mut header = ipv6;
        header.follow(3000, 3000);
        assert_eq!(header, ipv6);
        header.follow(3000, 2980);
        assert_eq!(header, ipv4);
        header.follow(2980, 3000);
        assert_eq!(header, ipv6);
        let datagrams = VnetHeader { gso_type: GSO_UDP_L4, ..VnetHeader::default() };
        let mut header = datagrams;
        header.follow(3000, 2980);
        assert_eq!(header, datagrams);
    }

    #[test]
    fn a_frame_that_needs_nothing_is_complete() {
        let mut frame = ipv4_frame(6, &[0; 20]);
        // Bit 1 says the receiving interface found the checksum right.
        for flags in [0, 2] {
            let mut header = VnetHeader { flags, ..VnetHeader::default() };
            assert_eq!(header.settle(&mut frame), Ok(meta(0, ChecksumField::Complete)));
        }
    }

    #[test]
    fn an_outermost_partial_checksum_is_reported_and_left_alone() {
        let mut frame = ipv4_frame(6, &[7; 40]);
        let before = frame.clone();
        let mut header = PARTIAL_TCP;
        assert_eq!(header.settle(&mut frame), Ok(meta(0, ChecksumField::Partial)));
        assert_eq!((frame, header), (before, PARTIAL_TCP));
    }

    #[test]
    fn a_partial_checksum_is_found_behind_ipv4_options() {
        let mut frame = ipv4_frame(17, &[0; 30]);
        frame[ETHERNET_LEN] = 0x46;
        let mut header = VnetHeader { checksum_start: 38, checksum_offset: 6, ..PARTIAL_TCP };
        assert_eq!(header.settle(&mut frame), Ok(meta(0, ChecksumField::Partial)));
    }

    #[test]
    fn a_partial_checksum_inside_a_tunnel_is_completed() {
        // Outer UDP without a checksum; the inner field, at 60, holds a pseudo-header sum of 1.
        let mut frame = ipv4_frame(17, &[0; 40]);
        frame[60..62].copy_from_slice(&[0, 1]);
        frame[62..64].copy_from_slice(&[0x12, 0x34]);
        let mut header = VnetHeader { checksum_start: 54, checksum_offset: 6, ..PARTIAL_TCP };
        assert_eq!(header.settle(&mut frame), Ok(meta(0, ChecksumField::Complete)));
        assert_eq!(frame[60..62], (!0x1235_u16).to_be_bytes());
        assert_eq!(header, VnetHeader::default());
    }

    #[test]
    fn a_completed_checksum_is_never_zero() {
        let mut frame = ipv4_frame(17, &[0; 40]);
        frame[60..62].copy_from_slice(&[0xff, 0xff]);
        let mut header = VnetHeader { checksum_start: 54, checksum_offset: 6, ..PARTIAL_TCP };
        assert_eq!(header.settle(&mut frame), Ok(meta(0, ChecksumField::Complete)));
        assert_eq!(frame[60..62], [0xff, 0xff]);
    }

    #[test]
    fn a_checksum_field_outside_the_frame_is_a_mismatch() {
        let mut frame = ipv4_frame(6, &[0; 16]);
        // The field would be bytes 50 and 51; the frame ends at 50.
        assert_eq!(frame.len(), 50);
        assert_eq!({ PARTIAL_TCP }.settle(&mut frame), Err(Mismatch));
        let mut far =
            VnetHeader { checksum_start: u16::MAX, checksum_offset: u16::MAX, ..PARTIAL_TCP };
        assert_eq!(far.settle(&mut frame), Err(Mismatch));
        assert_eq!({ PARTIAL_TCP }.settle(&mut []), Err(Mismatch));
    }

    #[test]
    fn super_packets_report_their_segment_size_if_the_headers_agree() {
        let gso = |gso_type| VnetHeader { gso_type, segment_size: 1448, ..PARTIAL_TCP };
        let udp = |gso_type| VnetHeader { checksum_offset: 6, ..gso(gso_type) };
        let v6 = |header| VnetHeader { checksum_start: 54, ..header };
        let mut tcp4 = ipv4_frame(6, &[0; 60]);
        let mut udp4 = ipv4_frame(17, &[0; 60]);
        let mut tcp6 = ipv6_frame(6, &[0; 60]);
        let mut udp6 = ipv6_frame(17, &[0; 60]);
        let partial = Ok(meta(1448, ChecksumField::Partial));
        assert_eq!(gso(GSO_TCPV4).settle(&mut tcp4), partial);
        assert_eq!(gso(GSO_TCPV4 | GSO_ECN).settle(&mut tcp4), partial);
        assert_eq!(v6(gso(GSO_TCPV6)).settle(&mut tcp6), partial);
        assert_eq!(udp(GSO_UDP_L4).settle(&mut udp4), partial);
        assert_eq!(v6(udp(GSO_UDP_L4)).settle(&mut udp6), partial);
        assert_eq!(udp(GSO_UDP).settle(&mut udp4), partial);

        assert_eq!(gso(GSO_TCPV6).settle(&mut tcp4), Err(Mismatch));
        assert_eq!(v6(gso(GSO_TCPV4)).settle(&mut tcp6), Err(Mismatch));
        assert_eq!(gso(GSO_TCPV4).settle(&mut udp4), Err(Mismatch));
        assert_eq!(udp(GSO_UDP_L4).settle(&mut tcp4), Err(Mismatch));
        assert_eq!(gso(2).settle(&mut tcp4), Err(Mismatch));
        let zero = &mut VnetHeader { segment_size: 0, ..gso(GSO_TCPV4) };
        assert_eq!(zero.settle(&mut tcp4), Err(Mismatch));
    }

    #[test]
    fn a_super_packet_inside_a_tunnel_is_a_mismatch() {
        // Kind and outermost protocol agree, but the segments are those of the inner packet.
        let mut frame = ipv4_frame(17, &[0; 60]);
        let mut header = VnetHeader {
            gso_type: GSO_UDP_L4,
            segment_size: 1000,
            checksum_start: 62,
            checksum_offset: 6,
            ..PARTIAL_TCP
        };
        assert_eq!(header.settle(&mut frame), Err(Mismatch));
    }

    #[test]
    fn a_super_packet_behind_extension_headers_is_left_to_user_space() {
        let mut frame = ipv6_frame(0, &[0; 80]);
        let mut header = VnetHeader {
            gso_type: GSO_TCPV6,
            segment_size: 1400,
            checksum_start: 62,
            ..PARTIAL_TCP
        };
        assert_eq!(header.settle(&mut frame), Ok(meta(1400, ChecksumField::Complete)));
    }
}
