//! Networks and addresses as text, with messages that show the right form.
//!
//! The types' own `Deserialize` only says "invalid IP address syntax"; whoever made the slip needs
//! to see what was read and what was expected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, de};

use crate::nat64::Nat64Prefix;

/// A value that the document holds as text.
pub(super) trait Text: FromStr {
    /// What it is, with an example.
    const FORM: &'static str;
}

impl Text for Ipv4Net {
    const FORM: &'static str = "an IPv4 network such as 10.0.0.0/16";
}

impl Text for Ipv6Net {
    const FORM: &'static str = "an IPv6 network such as fd00:1::/56";
}

impl Text for IpNet {
    const FORM: &'static str = "an address with its prefix length such as 203.0.113.2/24";
}

impl Text for Ipv4Addr {
    const FORM: &'static str = "an IPv4 address such as 10.0.1.10";
}

impl Text for Ipv6Addr {
    const FORM: &'static str = "an IPv6 address such as fd00:1::10";
}

impl Text for Nat64Prefix {
    const FORM: &'static str = "a NAT64 prefix such as 64:ff9b::/96: of 32, 40, 48, 56, 64 or 96 \
                                bits, with bits 64 to 71 and those behind it zero";
}

impl Text for IpAddr {
    const FORM: &'static str = "an IPv4 or IPv6 address such as 10.0.1.10";
}

/// A key that must be there.
pub(super) fn required<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("`{text}` is not {}", T::FORM)))
}

/// A key that may be absent; the field needs `#[serde(default)]` as well.
pub(super) fn optional<'de, T: Text, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    required(deserializer).map(Some)
}

/// An array.
pub(super) fn list<'de, T: Text, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Element<T>(T);

    impl<'de, T: Text> Deserialize<'de> for Element<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            required(deserializer).map(Self)
        }
    }

    let elements = Vec::<Element<T>>::deserialize(deserializer)?;
    Ok(elements.into_iter().map(|Element(value)| value).collect())
}
