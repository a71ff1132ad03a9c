//! The Ethernet II header.

use std::fmt;

use super::field::{array, u16_at};
use super::mac::MacAddr;
use super::malformed::{Layer, Malformed, require};

mod field {
    use super::super::field::Field;

    pub(super) const DST: Field = 0..6;
    pub(super) const SRC: Field = 6..12;
    pub(super) const ETHER_TYPE: Field = 12..14;
}

/// Length of an Ethernet II header without tags, in bytes.
pub const HEADER_LEN: usize = field::ETHER_TYPE.end;

/// What an Ethernet frame carries (IEEE 802 numbers).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtherType({self})")
    }
}

/// A view of an Ethernet II frame without its check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<T>(T);

impl<T: AsRef<[u8]>> Ethernet<T> {
    /// A view of `frame`.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] below 14 bytes.
    pub fn new_checked(frame: T) -> Result<Self, Malformed> {
        require(Layer::Ethernet, HEADER_LEN, frame.as_ref().len())?;
        Ok(Self(frame))
    }

    /// Destination address.
    #[must_use]
    pub fn dst(&self) -> MacAddr {
        MacAddr(array(self.0.as_ref(), field::DST))
    }

    /// Source address.
    #[must_use]
    pub fn src(&self) -> MacAddr {
        MacAddr(array(self.0.as_ref(), field::SRC))
    }

    /// What the frame carries.
    #[must_use]
    pub fn ether_type(&self) -> EtherType {
        EtherType(u16_at(self.0.as_ref(), field::ETHER_TYPE))
    }

    /// What follows the header, padding included.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ethernet<T> {
    /// Sets the destination address.
    pub fn set_dst(&mut self, mac: MacAddr) {
        self.0.as_mut()[field::DST].copy_from_slice(mac.as_bytes());
    }

    /// Sets the source address.
    pub fn set_src(&mut self, mac: MacAddr) {
        self.0.as_mut()[field::SRC].copy_from_slice(mac.as_bytes());
    }
}

/// The header as it is written.
pub(super) fn header(dst: MacAddr, src: MacAddr, ether_type: EtherType) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[field::DST].copy_from_slice(dst.as_bytes());
    bytes[field::SRC].copy_from_slice(src.as_bytes());
    bytes[field::ETHER_TYPE].copy_from_slice(&ether_type.0.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_written_where_the_standard_has_them() {
        let mut bytes = *b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x86\xdd!";
        let mut frame = Ethernet::new_checked(&mut bytes).unwrap();
        assert_eq!(frame.dst(), MacAddr([2, 0, 0, 0, 0, 2]));
        assert_eq!(frame.src(), MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(frame.ether_type(), EtherType::IPV6);
        assert_eq!(frame.payload(), b"!");
        frame.set_dst(MacAddr([2, 0, 0, 0, 0, 4]));
        frame.set_src(MacAddr([2, 0, 0, 0, 0, 3]));
        assert_eq!(bytes, *b"\x02\0\0\0\0\x04\x02\0\0\0\0\x03\x86\xdd!");
    }

    #[test]
    fn thirteen_bytes_are_no_frame() {
        let error = Malformed::Truncated { layer: Layer::Ethernet, need: 14, have: 13 };
        assert_eq!(Ethernet::new_checked([0; 13]), Err(error));
        assert_eq!(error.to_string(), "Ethernet header cut short: 14 bytes needed, 13 there");
    }
}
