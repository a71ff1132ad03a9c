//! The 48-bit address of an Ethernet interface.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// An Ethernet address, in the order its bytes stand on the wire. The default is all zero, which
/// ARP uses for "not known yet".
///
/// As text, and so in configuration files, it is six pairs of hexadecimal digits with colons
/// between them: `02:00:00:00:00:01`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Everyone on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address by its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }

    /// Whether the group bit is set; it is in the broadcast address too.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this names a single interface.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast()
    }

    /// Where IPv6 packets to the multicast `address` are sent to.
    ///
    /// RFC 2464, section 7: "the address whose first two octets are the value 3333 hexadecimal and
    /// whose last four octets are the last four octets of DST".
    #[must_use]
    pub const fn ipv6_multicast(address: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = address.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseMacError {
    /// Not six groups.
    #[error("{0} groups instead of 6; write a MAC address as 02:00:00:00:00:01")]
    GroupCount(usize),
    /// A group that is not two hexadecimal digits.
    #[error("\"{0}\" is not two hexadecimal digits; write a MAC address as 02:00:00:00:00:01")]
    Group(String),
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let groups = text.split(':').count();
        if groups != 6 {
            return Err(ParseMacError::GroupCount(groups));
        }
        let mut bytes = [0; 6];
        for (byte, group) in bytes.iter_mut().zip(text.split(':')) {
            // `from_str_radix` alone would take "+1" and "1".
            let two_digits = group.len() == 2 && group.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = u8::from_str_radix(group, 16)
                .ok()
                .filter(|_| two_digits)
                .ok_or_else(|| ParseMacError::Group(group.to_owned()))?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_two_forms_of_one_address() {
        let mac: MacAddr = "02:Fe:00:7f:80:0a".parse().unwrap();
        assert_eq!(mac, MacAddr([0x02, 0xfe, 0x00, 0x7f, 0x80, 0x0a]));
        assert_eq!(mac.to_string(), "02:fe:00:7f:80:0a");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn sloppy_spellings_are_refused_and_the_message_shows_the_right_one() {
        for (text, error) in [
            ("", ParseMacError::GroupCount(1)),
            ("02:00:00:00:00", ParseMacError::GroupCount(5)),
            ("02-00-00-00-00-01", ParseMacError::GroupCount(1)),
            ("02:00:00:00:00:01:02", ParseMacError::GroupCount(7)),
            ("2:00:00:00:00:01", ParseMacError::Group("2".into())),
            ("+2:00:00:00:00:01", ParseMacError::Group("+2".into())),
            ("02:00:00:00:00:0g", ParseMacError::Group("0g".into())),
            ("02:00:00:00:00:001", ParseMacError::Group("001".into())),
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(error.clone()), "{text}");
            assert!(error.to_string().contains("02:00:00:00:00:01"));
        }
    }

    #[test]
    fn configuration_files_hold_it_as_text() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Eni {
            mac: MacAddr,
        }
        let eni: Eni = toml::from_str("mac = \"02:00:00:00:00:01\"").unwrap();
        assert_eq!(eni.mac, MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(toml::to_string(&eni).unwrap(), "mac = \"02:00:00:00:00:01\"\n");
        let error = toml::from_str::<Eni>("mac = \"02:00\"").unwrap_err();
        assert!(error.to_string().contains("2 groups instead of 6"), "{error}");
    }

    #[test]
    fn the_group_bit_tells_multicast_from_unicast() {
        assert!(MacAddr::BROADCAST.is_multicast());
        assert!(MacAddr([0x33, 0x33, 0, 0, 0, 1]).is_multicast());
        assert!(MacAddr([0x02, 0, 0, 0, 0, 1]).is_unicast());
        assert!(!MacAddr([0x02, 0, 0, 0, 0, 1]).is_multicast());
    }

    #[test]
    fn an_ipv6_group_maps_to_its_ethernet_group() {
        // RFC 4291's solicited-node group of 4037::01:800:200E:8C6C.
        let group = "ff02::1:ff0e:8c6c".parse().unwrap();
        assert_eq!(MacAddr::ipv6_multicast(group).to_string(), "33:33:ff:0e:8c:6c");
    }
}
