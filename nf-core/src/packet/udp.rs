//! The UDP header (RFC 768).

use super::field::{set_u16, u16_at};
use super::malformed::{Layer, Malformed, require};

pub(super) mod field {
    use super::super::field::Field;

    pub(in super::super) const SRC_PORT: Field = 0..2;
    pub(in super::super) const DST_PORT: Field = 2..4;
    pub(in super::super) const LENGTH: Field = 4..6;
    pub(in super::super) const CHECKSUM: Field = 6..8;
}

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = field::CHECKSUM.end;

/// A view of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<T>(T);

impl<T: AsRef<[u8]>> Udp<T> {
    /// A view of an IP payload. It may be longer than the datagram: what follows is not covered by
    /// the checksum and no part of the payload.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole or the length is below 8 or beyond the bytes.
    pub fn new_checked(datagram: T) -> Result<Self, Malformed> {
        let datagram = Self::new_first_fragment(datagram)?;
        let (length, have) = (datagram.length(), datagram.0.as_ref().len());
        if length > have {
            return Err(Malformed::LengthBeyondData { layer: Layer::Udp, length, have });
        }
        Ok(datagram)
    }

    /// A view of a datagram's first fragment: its length is that of the whole datagram.
    ///
    /// # Errors
    /// [`Malformed`] when the header is not whole or the length is below 8.
    pub fn new_first_fragment(datagram: T) -> Result<Self, Malformed> {
        require(Layer::Udp, HEADER_LEN, datagram.as_ref().len())?;
        let datagram = Self(datagram);
        let (length, header) = (datagram.length(), HEADER_LEN);
        if length < header {
            return Err(Malformed::LengthBelowHeader { layer: Layer::Udp, length, header });
        }
        Ok(datagram)
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

    /// Length of the datagram with its header, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(u16_at(self.0.as_ref(), field::LENGTH))
    }

    /// The checksum field; zero says, over IPv4, that there is none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), field::CHECKSUM)
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.0.as_ref();
        &bytes[HEADER_LEN..self.length().min(bytes.len())]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Udp<T> {
    /// Sets the source port; the checksum is left to the caller.
    pub fn set_src_port(&mut self, port: u16) {
        set_u16(self.0.as_mut(), field::SRC_PORT, port);
    }

    /// Sets the destination port; the checksum is left to the caller.
    pub fn set_dst_port(&mut self, port: u16) {
        set_u16(self.0.as_mut(), field::DST_PORT, port);
    }

    /// Sets the checksum field. A checksum that was computed goes through
    /// [`super::checksum::for_udp`] first.
    pub fn set_checksum(&mut self, value: u16) {
        set_u16(self.0.as_mut(), field::CHECKSUM, value);
    }
}

/// A header, its checksum zero.
pub(super) fn header(src_port: u16, dst_port: u16, length: u16) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    set_u16(&mut bytes, field::SRC_PORT, src_port);
    set_u16(&mut bytes, field::DST_PORT, dst_port);
    set_u16(&mut bytes, field::LENGTH, length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM: [u8; 12] = [0xc0, 0, 0, 53, 0, 10, 0xab, 0xcd, b'h', b'i', 0, 0];

    #[test]
    fn fields_are_read_and_written_where_the_rfc_has_them() {
        let mut bytes = DATAGRAM;
        let mut udp = Udp::new_checked(&mut bytes).unwrap();
        assert_eq!((udp.src_port(), udp.dst_port()), (49152, 53));
        assert_eq!((udp.length(), udp.checksum(), udp.payload()), (10, 0xabcd, &b"hi"[..]));
        udp.set_src_port(0x1122);
        udp.set_dst_port(0x3344);
        udp.set_checksum(0x5566);
        assert_eq!(bytes, [0x11, 0x22, 0x33, 0x44, 0, 10, 0x55, 0x66, b'h', b'i', 0, 0]);
    }

    #[test]
    fn a_length_outside_the_datagram_is_refused_unless_it_is_a_fragment() {
        let layer = Layer::Udp;
        let with = |length: u8| {
            let mut bytes = DATAGRAM;
            bytes[5] = length;
            bytes
        };
        let below = Malformed::LengthBelowHeader { layer, length: 7, header: 8 };
        let beyond = Malformed::LengthBeyondData { layer, length: 13, have: 12 };
        let short = Malformed::Truncated { layer, need: 8, have: 7 };
        assert_eq!(Udp::new_checked(with(7)), Err(below));
        assert_eq!(Udp::new_checked(with(13)), Err(beyond));
        assert_eq!(Udp::new_checked(&DATAGRAM[..7]), Err(short));
        assert_eq!(Udp::new_first_fragment(with(7)), Err(below));
        assert_eq!(Udp::new_first_fragment(&DATAGRAM[..7]), Err(short));
        assert_eq!(Udp::new_first_fragment(with(13)).map(|udp| udp.payload().len()), Ok(4));
    }
}
