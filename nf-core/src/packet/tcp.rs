//! The TCP header (RFC 9293, section 3.1).

use std::ops::BitOr;

use super::checksum;
use super::field::{set_u16, set_u32, u16_at, u32_at};
use super::malformed::{Layer, Malformed, require};

pub(super) mod field {
    use super::super::field::Field;

    pub(in super::super) const SRC_PORT: Field = 0..2;
    pub(in super::super) const DST_PORT: Field = 2..4;
    pub(in super::super) const SEQ: Field = 4..8;
    pub(in super::super) const ACK: Field = 8..12;
    pub(in super::super) const DATA_OFFSET: usize = 12;
    pub(in super::super) const FLAGS: usize = 13;
    pub(in super::super) const WINDOW: Field = 14..16;
    pub(in super::super) const CHECKSUM: Field = 16..18;
    pub(in super::super) const URGENT: Field = 18..20;
}

/// Length of the header without options, in bytes.
pub const MIN_HEADER_LEN: usize = field::URGENT.end;

/// How much the options can add to it.
pub const MAX_OPTIONS_LEN: usize = 40;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
pub(super) const OPTION_MSS: u8 = 2;
pub(super) const OPTION_MSS_LEN: u8 = 4;

/// The flags byte of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Ends a connection at once.
    pub const RST: Self = Self(0x04);
    /// Data to be handed over without waiting for more.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// Congestion was seen (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// The congestion window was reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags less those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether this opens a connection: SYN, and neither ACK, RST nor FIN.
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A view of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<T>(T);

impl<T: AsRef<[u8]>> Tcp<T> {
    /// A view of an IP payload, which ends where the segment does.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole or its data offset is below 5 or beyond the
    /// segment.
    pub fn new_checked(segment: T) -> Result<Self, Malformed> {
        let have = segment.as_ref().len();
        require(Layer::Tcp, MIN_HEADER_LEN, have)?;
        let segment = Self(segment);
        let length = segment.header_len();
        if length < MIN_HEADER_LEN {
            let least = MIN_HEADER_LEN;
            return Err(Malformed::HeaderLength { layer: Layer::Tcp, length, least });
        }
        if length > have {
            return Err(Malformed::LengthBeyondData { layer: Layer::Tcp, length, have });
        }
        Ok(segment)
    }

    /// Source port.
    #[must_use]
    pub fn src_port(&self) -> u16 {
        u16_at(self.0.as_ref(), field::SRC_PORT)
    }

    /// Destination port.
    #[must_use]
    pub fn dst_port(&self) -> u16 {
        u16_at(self.0.as_ref(), field::DST_PORT)
    }

    /// Sequence number of the first byte, or of the SYN.
    #[must_use]
    pub fn seq(&self) -> u32 {
        u32_at(self.0.as_ref(), field::SEQ)
    }

    /// Acknowledgement number; without meaning unless ACK is set.
    #[must_use]
    pub fn ack(&self) -> u32 {
        u32_at(self.0.as_ref(), field::ACK)
    }

    /// Length of the header with its options, in bytes: four times the data offset field.
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[field::DATA_OFFSET] >> 4) * 4
    }

    /// The flags byte.
    #[must_use]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.0.as_ref()[field::FLAGS])
    }

    /// Receive window, unscaled.
    #[must_use]
    pub fn window(&self) -> u16 {
        u16_at(self.0.as_ref(), field::WINDOW)
    }

    /// The checksum field.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), field::CHECKSUM)
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..]
    }

    /// The sequence numbers that the segment takes: its payload, SYN and FIN (SEG.LEN of RFC
    /// 9293).
    #[must_use]
    pub fn seq_len(&self) -> u32 {
        let flags = self.flags();
        let controls =
            u32::from(flags.contains(TcpFlags::SYN)) + u32::from(flags.contains(TcpFlags::FIN));
        // An IP packet, and with it the payload, is far below 4 GiB.
        self.payload().len() as u32 + controls
    }

    /// The maximum segment size option, if there is one.
    #[must_use]
    pub fn mss(&self) -> Option<u16> {
        let at = self.mss_at()?;
        Some(u16_at(self.0.as_ref(), at..at + 2))
    }

    /// Where the value of the maximum segment size option stands. An option that reaches beyond
    /// the header ends the search, as does a length of less than two.
    fn mss_at(&self) -> Option<usize> {
        let header = &self.0.as_ref()[..self.header_len()];
        let mut at = MIN_HEADER_LEN;
        // Every turn moves on by one byte at least, and there are 40.
        while at < header.len() {
            match header[at] {
                OPTION_END => return None,
                OPTION_NOP => at += 1,
                kind => {
                    let length = *header.get(at + 1)?;
                    let end = at + usize::from(length);
                    if length < 2 || end > header.len() {
                        return None;
                    }
                    if (kind, length) == (OPTION_MSS, OPTION_MSS_LEN) {
                        return Some(at + 2);
                    }
                    at = end;
                }
            }
        }
        None
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Tcp<T> {
    /// Sets the source port; the checksum is left to the caller.
    pub fn set_src_port(&mut self, port: u16) {
        set_u16(self.0.as_mut(), field::SRC_PORT, port);
    }

    /// Sets the destination port; the checksum is left to the caller.
    pub fn set_dst_port(&mut self, port: u16) {
        set_u16(self.0.as_mut(), field::DST_PORT, port);
    }

    /// Sets the checksum field.
    pub fn set_checksum(&mut self, value: u16) {
        set_u16(self.0.as_mut(), field::CHECKSUM, value);
    }

    /// Lowers the maximum segment size option to `most`, if it is there and larger.
    ///
    /// Returns what changed, as a difference for [`checksum::update`]. A checksum field that holds
    /// only the pseudo-header's sum needs no update: options are no part of that.
    pub fn clamp_mss(&mut self, most: u16) -> Option<u32> {
        let at = self.mss_at()?;
        let bytes = self.0.as_mut();
        if u16_at(bytes, at..at + 2) <= most {
            return None;
        }
        // No-operations before the option can put its value at an odd offset, where it straddles
        // two of the 16-bit words that the checksum adds up.
        let words = at & !1..(at + 3) & !1;
        let old: [u8; 4] = {
            let mut old = [0; 4];
            old[..words.len()].copy_from_slice(&bytes[words.clone()]);
            old
        };
        set_u16(bytes, at..at + 2, most);
        Some(checksum::diff(&old[..words.len()], &bytes[words]))
    }
}

/// A header without options, its checksum zero.
pub(super) fn header(
    src_port: u16,
    dst_port: u16,
    seq: u32,
    ack: u32,
    flags: TcpFlags,
) -> [u8; MIN_HEADER_LEN] {
    let mut bytes = [0; MIN_HEADER_LEN];
    set_u16(&mut bytes, field::SRC_PORT, src_port);
    set_u16(&mut bytes, field::DST_PORT, dst_port);
    set_u32(&mut bytes, field::SEQ, seq);
    set_u32(&mut bytes, field::ACK, ack);
    bytes[field::DATA_OFFSET] = data_offset(MIN_HEADER_LEN);
    bytes[field::FLAGS] = flags.0;
    bytes
}

/// The byte that tells a header's length, which is a multiple of four and at most 60.
pub(super) const fn data_offset(header_len: usize) -> u8 {
    (header_len as u8 / 4) << 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN with the options that Linux sends.
    const SYN: [u8; 40] = [
        0xc0, 0x00, 0x00, 0x50, 0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02, 0xfa,
        0xf0, 0xfe, 0x30, 0x00, 0x00, // header
        2, 4, 0x05, 0xb4, // MSS 1460
        4, 2, // SACK permitted
        8, 10, 0, 0, 0, 1, 0, 0, 0, 0, // timestamps
        1, 3, 3, 7, // window scale
    ];

    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = SYN[..20].to_vec();
        bytes[12] = data_offset(20 + options.len());
        bytes.extend(options);
        bytes
    }

    #[test]
    fn fields_are_read_where_the_rfc_has_them() {
        let tcp = Tcp::new_checked(&SYN).unwrap();
        assert_eq!((tcp.src_port(), tcp.dst_port()), (49152, 80));
        assert_eq!((tcp.seq(), tcp.ack(), tcp.window()), (0x0102_0304, 0, 64240));
        assert_eq!((tcp.header_len(), tcp.payload().len(), tcp.seq_len()), (40, 0, 1));
        assert_eq!((tcp.flags(), tcp.checksum()), (TcpFlags::SYN, 0xfe30));
        assert_eq!(tcp.mss(), Some(1460));
    }

    #[test]
    fn ports_and_checksum_are_written_where_the_rfc_has_them() {
        let mut bytes = SYN;
        let mut tcp = Tcp::new_checked(&mut bytes).unwrap();
        tcp.set_src_port(0x1122);
        tcp.set_dst_port(0x3344);
        tcp.set_checksum(0x5566);
        assert_eq!(bytes[..4], [0x11, 0x22, 0x33, 0x44]);
        assert_eq!(bytes[16..18], [0x55, 0x66]);
        assert_eq!(bytes[4..16], SYN[4..16]);
    }

    #[test]
    fn a_data_offset_outside_the_segment_is_refused() {
        let layer = Layer::Tcp;
        let with = |offset: u8| {
            let mut bytes = SYN;
            bytes[12] = offset << 4;
            Tcp::new_checked(bytes).map(drop)
        };
        assert_eq!(with(4), Err(Malformed::HeaderLength { layer, length: 16, least: 20 }));
        assert_eq!(with(10), Ok(()));
        assert_eq!(with(11), Err(Malformed::LengthBeyondData { layer, length: 44, have: 40 }));
        let error = Malformed::Truncated { layer, need: 20, have: 19 };
        assert_eq!(Tcp::new_checked(&SYN[..19]), Err(error));
    }

    #[test]
    fn only_a_syn_without_ack_opens_a_connection() {
        assert!(TcpFlags::SYN.opens());
        assert!((TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR).opens());
        for flags in [TcpFlags::ACK, TcpFlags::RST, TcpFlags::FIN] {
            assert!(!(TcpFlags::SYN | flags).opens());
            assert!(!flags.opens());
        }
    }

    #[test]
    fn flags_are_a_set() {
        let flags = TcpFlags::FIN | TcpFlags::PSH;
        assert!(flags.contains(TcpFlags::FIN) && !flags.contains(TcpFlags::FIN | TcpFlags::ACK));
        assert!(flags.intersects(TcpFlags::FIN | TcpFlags::ACK));
        assert!(!flags.intersects(TcpFlags::ACK));
        assert_eq!(flags.without(TcpFlags::FIN), TcpFlags::PSH);
    }

    #[test]
    fn fin_and_syn_take_a_sequence_number_each() {
        let mut bytes = SYN;
        bytes[12] = 5 << 4;
        bytes[13] = (TcpFlags::FIN | TcpFlags::ACK).0;
        assert_eq!(Tcp::new_checked(bytes).unwrap().seq_len(), 21);
    }

    #[test]
    fn broken_options_hide_the_mss_and_nothing_else() {
        let mss = |options: &[u8]| Tcp::new_checked(with_options(options)).unwrap().mss();
        assert_eq!(mss(&[1, 1, 1, 1, 2, 4, 5, 180]), Some(1460));
        assert_eq!(mss(&[0, 0, 0, 0, 2, 4, 5, 180]), None, "behind the end of options");
        assert_eq!(mss(&[8, 0, 0, 0, 2, 4, 5, 180]), None, "an option of length zero");
        assert_eq!(mss(&[1, 1, 1, 2]), None, "an option without a length");
        assert_eq!(mss(&[1, 1, 2, 4]), None, "a value beyond the header");
        assert_eq!(mss(&[2, 3, 5, 1]), None, "an MSS of one byte");
    }

    #[test]
    fn a_clamped_mss_and_its_checksum_agree_at_even_and_odd_offsets() {
        for options in [&[2, 4, 0x23, 0x28, 1, 1, 1, 0][..], &[1, 2, 4, 0x23, 0x28, 1, 1, 0]] {
            let mut bytes = with_options(options);
            let mut tcp = Tcp::new_checked(&mut bytes[..]).unwrap();
            tcp.set_checksum(0);
            let full = |tcp: &Tcp<&mut [u8]>| !checksum::fold(checksum::sum(tcp.0));
            let check = full(&tcp);
            tcp.set_checksum(check);
            assert_eq!(tcp.clamp_mss(9000), None, "not larger");
            let delta = tcp.clamp_mss(1379).unwrap();
            assert_eq!(tcp.mss(), Some(1379));
            assert_eq!(tcp.clamp_mss(1379), None, "clamped already");
            tcp.set_checksum(0);
            assert_eq!(checksum::update(check, delta), full(&tcp));
        }
    }

    #[test]
    fn a_segment_without_the_option_is_not_clamped() {
        let mut bytes = with_options(&[]);
        assert_eq!(Tcp::new_checked(&mut bytes[..]).unwrap().clamp_mss(536), None);
        assert_eq!(bytes, with_options(&[]));
    }
}
