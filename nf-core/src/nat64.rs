//! IPv4 addresses inside IPv6 ones (RFC 6052): how a client that has IPv6 alone names a server that
//! has IPv4 alone.
//!
//! A [`Nat64Prefix`] stands in front of the IPv4 address. What a NAT gateway does with such
//! addresses is the `nat` crate's; how a packet's headers change is [`crate::action`]'s.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv6Net;
use serde::{Serialize, Serializer};

/// The lengths that RFC 6052, section 2.2, allows, the longest first.
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// RFC 6052, section 2.2: "Bits 64 to 71 of the address are reserved [...] and MUST be set to
/// zero". They are this byte.
const RESERVED: usize = 8;

/// What stands in front of an IPv4 address in an IPv6 one (RFC 6052, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nat64Prefix(Ipv6Net);

/// Why a network is no [`Nat64Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nat64PrefixError {
    /// Not an IPv6 network at all.
    #[error("`{0}` is not an IPv6 network")]
    NotANetwork(Box<str>),
    /// RFC 6052 knows six lengths.
    #[error("/{0} is not a length of NAT64 prefixes: they have 32, 40, 48, 56, 64 or 96 bits")]
    Length(u8),
    /// Bits 64 to 71, or bits behind the prefix, are not zero.
    #[error("bits 64 to 71 and those behind the prefix of {0} have to be zero")]
    Bits(Ipv6Net),
}

impl Nat64Prefix {
    /// `64:ff9b::/96` (RFC 6052, section 2.1).
    pub const WELL_KNOWN: Self =
        Self(Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96));

    /// The prefix that is this network.
    ///
    /// # Errors
    /// [`Nat64PrefixError::Length`] and [`Nat64PrefixError::Bits`].
    pub fn new(network: Ipv6Net) -> Result<Self, Nat64PrefixError> {
        if !LENGTHS.contains(&network.prefix_len()) {
            return Err(Nat64PrefixError::Length(network.prefix_len()));
        }
        if network.trunc() != network || network.addr().octets()[RESERVED] != 0 {
            return Err(Nat64PrefixError::Bits(network));
        }
        Ok(Self(network))
    }

    /// The network that its addresses are in.
    #[must_use]
    pub const fn network(&self) -> Ipv6Net {
        self.0
    }

    /// The IPv6 address that stands for `address`; the bits behind it are zero.
    #[must_use]
    pub fn embed(&self, address: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.0.addr().octets();
        for (place, octet) in places(self.0.prefix_len()).zip(address.octets()) {
            octets[place] = octet;
        }
        octets.into()
    }

    /// The IPv4 address that `address` stands for, if it is of this prefix. RFC 6052, section 2.2,
    /// has the bits behind it reserved and says they "SHOULD be set to zero" and be ignored.
    #[must_use]
    pub fn extract(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.0.contains(&address) {
            return None;
        }
        let (from, mut octets) = (address.octets(), [0; 4]);
        for (octet, place) in octets.iter_mut().zip(places(self.0.prefix_len())) {
            *octet = from[place];
        }
        Some(octets.into())
    }

    /// The prefix by which `address` stands for `embedded`, if one does. Where several would, it is
    /// the longest.
    #[must_use]
    pub fn between(address: Ipv6Addr, embedded: Ipv4Addr) -> Option<Self> {
        let prefixes = LENGTHS.iter().filter_map(|length| {
            let network = Ipv6Net::new(address, *length).ok()?;
            Self::new(network.trunc()).ok()
        });
        prefixes.into_iter().find(|prefix| prefix.extract(address) == Some(embedded))
    }
}

/// The bytes of the IPv6 address that the IPv4 one stands in, behind a prefix of that many bits.
fn places(prefix_len: u8) -> impl Iterator<Item = usize> {
    (usize::from(prefix_len / 8)..16).filter(|place| *place != RESERVED)
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Nat64Prefix {
    type Err = Nat64PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse().map_err(|_| Nat64PrefixError::NotANetwork(text.into()))?)
    }
}

impl Serialize for Nat64Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Nat64Prefix {
        text.parse().unwrap()
    }

    /// RFC 6052, section 2.4, tables 1 and 2.
    const EXAMPLES: [(&str, &str); 7] = [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ];

    #[test]
    fn the_examples_of_rfc_6052_are_embedded_and_extracted() {
        let address = Ipv4Addr::new(192, 0, 2, 33);
        for (text, embedded) in EXAMPLES {
            let embedded: Ipv6Addr = embedded.parse().unwrap();
            let prefix = prefix(text);
            assert_eq!(prefix.embed(address), embedded, "{text}");
            assert_eq!(prefix.extract(embedded), Some(address), "{text}");
            assert_eq!(Nat64Prefix::between(embedded, address), Some(prefix), "{text}");
            assert_eq!(prefix.to_string(), text);
        }
    }

    #[test]
    fn what_stands_behind_the_address_is_ignored_and_another_prefix_is_not() {
        let own = prefix("2001:db8:122:344::/64");
        let with_suffix = "2001:db8:122:344:c0:2:21ff:ffff".parse().unwrap();
        assert_eq!(own.extract(with_suffix), Some(Ipv4Addr::new(192, 0, 2, 33)));
        assert_eq!(own.extract("2001:db8:122:345:c0:2:2100::".parse().unwrap()), None);
        assert_eq!(Nat64Prefix::WELL_KNOWN.extract("64:ff9b:1::1".parse().unwrap()), None);
    }

    #[test]
    fn no_prefix_is_found_between_addresses_that_have_nothing_in_common() {
        let address = "2001:db8::1".parse().unwrap();
        assert_eq!(Nat64Prefix::between(address, Ipv4Addr::new(192, 0, 2, 33)), None);
    }

    #[test]
    fn other_lengths_and_reserved_bits_are_refused() {
        use Nat64PrefixError::{Bits, Length, NotANetwork};

        let error = |text: &str| text.parse::<Nat64Prefix>().unwrap_err();
        for length in [0, 31, 33, 72, 80, 95, 97, 128] {
            assert_eq!(error(&format!("::/{length}")), Length(length));
        }
        for text in ["64:ff9b::1/96", "2001:db8:0:0:100::/96", "2001:db8::1:0:0/64"] {
            assert_eq!(error(text), Bits(text.parse().unwrap()));
        }
        assert_eq!(error("10.0.0.0/8"), NotANetwork("10.0.0.0/8".into()));
        assert_eq!(prefix("2001:db8:0:0:ff::/96").to_string(), "2001:db8:0:0:ff::/96");
    }
}
