//! How a host with IPv6 names one with IPv4 behind a NAT64: RFC 6052, "IPv6 Addressing of IPv4/IPv6
//! Translators".

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The octet that is zero in every such address: bits 64 to 71 (section 2.2).
const RESERVED: usize = 8;

/// A prefix in which every IPv4 address has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix64 {
    network: Ipv6Addr,
    /// In bits: 32, 40, 48, 56, 64 or 96.
    length: u8,
}

impl Prefix64 {
    /// The well-known prefix (section 2.1).
    pub const WELL_KNOWN: Self = Self::new(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

    /// One whose `length` in bits is known to be right, as is that the rest of `network` is zero.
    pub const fn new(network: Ipv6Addr, length: u8) -> Self {
        Self { network, length }
    }

    /// The octets that hold the IPv4 address: those behind the prefix, but for the reserved one.
    fn places(self) -> impl Iterator<Item = usize> {
        (usize::from(self.length / 8)..16).filter(|place| *place != RESERVED).take(4)
    }

    /// The name of an address.
    pub fn embed(self, address: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.network.octets();
        for (place, octet) in self.places().zip(address.octets()) {
            octets[place] = octet;
        }
        octets.into()
    }

    /// The address with this name, if it is one.
    pub fn extract(self, name: Ipv6Addr) -> Option<Ipv4Addr> {
        let mut octets = [0; 4];
        for (place, octet) in self.places().zip(&mut octets) {
            *octet = name.octets()[place];
        }
        let address = Ipv4Addr::from(octets);
        (self.embed(address) == name).then_some(address)
    }

    /// The name of a service, as hosts inside use it.
    pub fn named(self, service: SocketAddr) -> SocketAddr {
        match service.ip() {
            IpAddr::V4(address) => (self.embed(address), service.port()).into(),
            IpAddr::V6(_) => service,
        }
    }

    /// The service with that name.
    pub fn meant(self, service: SocketAddr) -> SocketAddr {
        match service.ip() {
            IpAddr::V6(name) => {
                self.extract(name).map_or(service, |address| (address, service.port()).into())
            }
            IpAddr::V4(_) => service,
        }
    }
}

impl FromStr for Prefix64 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` {why}: write 64:ff9b::/96");
        let network: ipnet::Ipv6Net = text.parse().map_err(|_| wrong("is no IPv6 prefix"))?;
        if ![32, 40, 48, 56, 64, 96].contains(&network.prefix_len()) {
            return Err(wrong("has none of the lengths of RFC 6052: 32, 40, 48, 56, 64, 96"));
        }
        if network.addr().octets()[RESERVED] != 0 {
            return Err(wrong("has bits set of 64 to 71"));
        }
        Ok(Self { network: network.network(), length: network.prefix_len() })
    }
}

impl fmt::Display for Prefix64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6052, section 2.4.
    #[test]
    fn an_address_stands_where_the_length_of_the_prefix_says() {
        let address = Ipv4Addr::new(192, 0, 2, 33);
        for (prefix, name) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
            ("64:ff9b::/96", "64:ff9b::c000:221"),
        ] {
            let name: Ipv6Addr = name.parse().unwrap();
            let parsed: Prefix64 = prefix.parse().unwrap();
            assert_eq!(parsed.to_string(), prefix);
            assert_eq!(parsed.embed(address), name, "{prefix}");
            assert_eq!(parsed.extract(name), Some(address), "{prefix}");
            let other = Ipv6Addr::from_bits(name.to_bits() ^ 1 << 100);
            assert_eq!(parsed.extract(other), None, "{prefix}");
        }
        assert_eq!("64:ff9b::/96".parse(), Ok(Prefix64::WELL_KNOWN));
    }

    #[test]
    fn other_prefixes_are_refused() {
        for (prefix, why) in [
            ("64:ff9b::", "no IPv6 prefix"),
            ("10.0.0.0/8", "no IPv6 prefix"),
            ("2001:db8::/44", "lengths of RFC 6052"),
            ("2001:db8:0:0:100::/96", "bits set"),
        ] {
            let error = prefix.parse::<Prefix64>().unwrap_err();
            assert!(error.contains(why), "{prefix}: {error}");
        }
    }

    #[test]
    fn services_have_names_and_others_keep_theirs() {
        let prefix = Prefix64::WELL_KNOWN;
        let service = "203.0.113.20:53".parse().unwrap();
        let name = "[64:ff9b::cb00:7114]:53".parse().unwrap();
        assert_eq!(prefix.named(service), name);
        assert_eq!(prefix.meant(name), service);
        let other = "[2001:db8::1]:53".parse().unwrap();
        assert_eq!((prefix.named(other), prefix.meant(other)), (other, other));
    }
}
