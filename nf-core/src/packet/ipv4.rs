//! The IPv4 header (RFC 791).

use std::net::Ipv4Addr;

use super::checksum;
use super::field::{array, set_u16, u16_at};
use super::headers::Fragment;
use super::malformed::{Layer, Malformed, require};

pub(super) mod field {
    use super::super::field::Field;

    pub(in super::super) const VERSION_IHL: usize = 0;
    pub(in super::super) const TRAFFIC_CLASS: usize = 1;
    pub(in super::super) const TOTAL_LENGTH: Field = 2..4;
    pub(in super::super) const IDENTIFICATION: Field = 4..6;
    pub(in super::super) const FLAGS_OFFSET: Field = 6..8;
    pub(in super::super) const TTL: usize = 8;
    pub(in super::super) const PROTOCOL: usize = 9;
    pub(in super::super) const CHECKSUM: Field = 10..12;
    pub(in super::super) const SRC: Field = 12..16;
    pub(in super::super) const DST: Field = 16..20;
}

/// Length of the header without options, in bytes.
pub const MIN_HEADER_LEN: usize = field::DST.end;

pub(super) const DONT_FRAGMENT: u16 = 0x4000;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
pub(super) const OFFSET: u16 = 0x1fff;

/// The fields of a header without options, for who makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Of the packet, in bytes.
    pub(crate) total_len: u16,
    pub(crate) identification: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
}

impl Header {
    /// The header with its checksum.
    pub(crate) fn bytes(&self) -> [u8; MIN_HEADER_LEN] {
        let mut header = [0; MIN_HEADER_LEN];
        header[field::VERSION_IHL] = 0x45;
        header[field::TRAFFIC_CLASS] = self.traffic_class;
        set_u16(&mut header, field::TOTAL_LENGTH, self.total_len);
        set_u16(&mut header, field::IDENTIFICATION, self.identification);
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        set_u16(&mut header, field::FLAGS_OFFSET, flags);
        header[field::TTL] = self.ttl;
        header[field::PROTOCOL] = self.protocol;
        header[field::SRC].copy_from_slice(&self.src.octets());
        header[field::DST].copy_from_slice(&self.dst.octets());
        let check = !checksum::fold(checksum::sum(&header));
        set_u16(&mut header, field::CHECKSUM, check);
        header
    }
}

/// A view of an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<T>(T);

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// A view of an Ethernet payload, which may be longer than the packet.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole, is not version 4, or has a total length that
    /// does not cover the header or is not there.
    pub fn new_checked(packet: T) -> Result<Self, Malformed> {
        let packet = Self::new_quoted(packet)?;
        let (header, length) = (packet.header_len(), packet.total_len());
        if length < header {
            return Err(Malformed::LengthBelowHeader { layer: Layer::Ipv4, length, header });
        }
        let have = packet.0.as_ref().len();
        if length > have {
            return Err(Malformed::LengthBeyondData { layer: Layer::Ipv4, length, have });
        }
        Ok(packet)
    }

    /// A view of a packet that an ICMP error quotes: cut short anywhere behind its header, and
    /// with a total length that some senders have rewritten, so it is not held against the rest.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole or is not version 4.
    pub fn new_quoted(packet: T) -> Result<Self, Malformed> {
        let bytes = packet.as_ref();
        require(Layer::Ipv4, MIN_HEADER_LEN, bytes.len())?;
        let version = bytes[field::VERSION_IHL] >> 4;
        if version != 4 {
            return Err(Malformed::Version { layer: Layer::Ipv4, version });
        }
        let (have, packet) = (bytes.len(), Self(packet));
        let length = packet.header_len();
        if length < MIN_HEADER_LEN {
            let least = MIN_HEADER_LEN;
            return Err(Malformed::HeaderLength { layer: Layer::Ipv4, length, least });
        }
        if length > have {
            return Err(Malformed::LengthBeyondData { layer: Layer::Ipv4, length, have });
        }
        Ok(packet)
    }

    /// Length of the header with its options, in bytes.
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[field::VERSION_IHL] & 0x0f) * 4
    }

    /// DSCP and ECN, the byte once called type of service.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.0.as_ref()[field::TRAFFIC_CLASS]
    }

    /// Length of the packet with its header, in bytes.
    #[must_use]
    pub fn total_len(&self) -> usize {
        usize::from(u16_at(self.0.as_ref(), field::TOTAL_LENGTH))
    }

    /// What fragments of one packet have in common.
    #[must_use]
    pub fn identification(&self) -> u16 {
        u16_at(self.0.as_ref(), field::IDENTIFICATION)
    }

    /// Whether routers must not fragment the packet.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        u16_at(self.0.as_ref(), field::FLAGS_OFFSET) & DONT_FRAGMENT != 0
    }

    /// Whether parts of the same packet follow behind this one.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        u16_at(self.0.as_ref(), field::FLAGS_OFFSET) & MORE_FRAGMENTS != 0
    }

    /// Which fragment this is, if it is one.
    #[must_use]
    pub fn fragment(&self) -> Fragment {
        let word = u16_at(self.0.as_ref(), field::FLAGS_OFFSET);
        let id = u32::from(self.identification());
        match word & OFFSET {
            0 if word & MORE_FRAGMENTS == 0 => Fragment::None,
            0 => Fragment::First { id },
            // Thirteen bits of eight bytes each: 65,528 at most.
            units => Fragment::Later { id, offset: units * 8 },
        }
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.0.as_ref()[field::TTL]
    }

    /// Protocol of the payload (IANA's number).
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.0.as_ref()[field::PROTOCOL]
    }

    /// The header checksum field.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), field::CHECKSUM)
    }

    /// Whether the header checksum is right.
    #[must_use]
    pub fn checksum_is_correct(&self) -> bool {
        checksum::fold(checksum::sum(&self.0.as_ref()[..self.header_len()])) == 0xffff
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> Ipv4Addr {
        array(self.0.as_ref(), field::SRC).into()
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> Ipv4Addr {
        array(self.0.as_ref(), field::DST).into()
    }

    /// What follows the header, without padding.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.0.as_ref();
        let start = self.header_len();
        &bytes[start..self.total_len().clamp(start, bytes.len())]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4<T> {
    /// Sets DSCP and ECN; the checksum is left to the caller.
    pub fn set_traffic_class(&mut self, value: u8) {
        self.0.as_mut()[field::TRAFFIC_CLASS] = value;
    }

    /// Sets the time to live; the checksum is left to the caller.
    pub fn set_ttl(&mut self, value: u8) {
        self.0.as_mut()[field::TTL] = value;
    }

    /// Sets the source address; the checksum is left to the caller.
    pub fn set_src(&mut self, address: Ipv4Addr) {
        self.0.as_mut()[field::SRC].copy_from_slice(&address.octets());
    }

    /// Sets the destination address; the checksum is left to the caller.
    pub fn set_dst(&mut self, address: Ipv4Addr) {
        self.0.as_mut()[field::DST].copy_from_slice(&address.octets());
    }

    /// Sets the header checksum field.
    pub fn set_checksum(&mut self, value: u16) {
        set_u16(self.0.as_mut(), field::CHECKSUM, value);
    }

    /// Computes the header checksum anew.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let sum = checksum::sum(&self.0.as_ref()[..self.header_len()]);
        self.set_checksum(!checksum::fold(sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP packet's header of 20 bytes with a total length of 115, checksum computed by hand.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    fn packet() -> [u8; 120] {
        let mut bytes = [0; 120];
        bytes[..20].copy_from_slice(&HEADER);
        bytes
    }

    fn with(at: usize, value: u8) -> Result<Ipv4<[u8; 120]>, Malformed> {
        let mut bytes = packet();
        bytes[at] = value;
        Ipv4::new_checked(bytes)
    }

    #[test]
    fn fields_are_read_where_the_rfc_has_them() {
        let ip = Ipv4::new_checked(packet()).unwrap();
        assert_eq!((ip.header_len(), ip.total_len(), ip.payload().len()), (20, 115, 95));
        assert_eq!((ip.ttl(), ip.protocol(), ip.traffic_class()), (64, 17, 0));
        assert!(ip.dont_fragment());
        assert_eq!(ip.fragment(), Fragment::None);
        assert_eq!(ip.src(), Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(ip.dst(), Ipv4Addr::new(192, 168, 0, 199));
        assert_eq!(ip.checksum(), 0xb861);
        assert!(ip.checksum_is_correct());
    }

    #[test]
    fn a_changed_header_has_a_wrong_checksum_until_it_is_filled() {
        let mut bytes = packet();
        let mut ip = Ipv4::new_checked(&mut bytes[..]).unwrap();
        ip.set_ttl(63);
        ip.set_traffic_class(0xc0);
        ip.set_src(Ipv4Addr::new(10, 0, 0, 1));
        ip.set_dst(Ipv4Addr::new(10, 0, 0, 2));
        assert!(!ip.checksum_is_correct());
        ip.fill_checksum();
        assert!(ip.checksum_is_correct());
        assert_eq!(bytes[1], 0xc0);
        assert_eq!(bytes[8], 63);
        assert_eq!(bytes[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let layer = Layer::Ipv4;
        assert_eq!(with(0, 0x65), Err(Malformed::Version { layer, version: 6 }));
        assert_eq!(with(0, 0x44), Err(Malformed::HeaderLength { layer, length: 16, least: 20 }));
        let error = Malformed::LengthBelowHeader { layer, length: 19, header: 20 };
        assert_eq!(with(3, 19), Err(error));
        let error = Malformed::LengthBeyondData { layer, length: 121, have: 120 };
        assert_eq!(with(3, 121), Err(error));
        let error = Malformed::LengthBeyondData { layer, length: 60, have: 59 };
        let mut long = packet();
        long[0] = 0x4f;
        assert_eq!(Ipv4::new_checked(&long[..59]), Err(error));
        let error = Malformed::Truncated { layer, need: 20, have: 19 };
        assert_eq!(Ipv4::new_checked(&packet()[..19]), Err(error));
    }

    #[test]
    fn a_quoted_packet_may_end_anywhere_behind_its_header() {
        let quoted = Ipv4::new_quoted(&packet()[..28]).map(|ip| ip.payload().len());
        assert_eq!(quoted, Ok(8));
        assert_eq!(Ipv4::new_quoted(&HEADER[..]).map(|ip| ip.payload().len()), Ok(0));
    }

    #[test]
    fn fragments_are_told_by_offset_and_flag() {
        let fragment = |high: u8, low: u8| {
            let mut bytes = packet();
            bytes[4..8].copy_from_slice(&[0x12, 0x34, high, low]);
            Ipv4::new_checked(bytes).unwrap().fragment()
        };
        assert_eq!(fragment(0x40, 0), Fragment::None);
        assert_eq!(fragment(0x20, 0), Fragment::First { id: 0x1234 });
        assert_eq!(fragment(0x20, 185), Fragment::Later { id: 0x1234, offset: 1480 });
        assert_eq!(fragment(0x5f, 0xff), Fragment::Later { id: 0x1234, offset: 65_528 });
    }
}
