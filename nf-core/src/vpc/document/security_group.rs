//! Security groups and the prefix lists that their rules may name.

use std::fmt;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Tags, text};
use crate::vpc::id::{PrefixListId, SecurityGroupId, VpcId};

/// What may pass the network interfaces that name it. A group only allows; what no group of an
/// interface allows is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroup {
    /// `sg-…`
    pub group_id: SecurityGroupId,
    /// Its name, unique in its VPC whether or not in capital letters: 1 to 255 characters, not
    /// `sg-` first. The one named `default` is that of interfaces which name no group; a VPC
    /// without it has one that allows what comes from its own members, and everything out.
    pub group_name: String,
    /// Its VPC.
    pub vpc_id: VpcId,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What may come in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<SecurityGroupRule>,
    /// What may go out. Left out: everything, as of a group that EC2 has just made. `[]` is
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<SecurityGroupRule>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// One rule: a protocol, its ports, and who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroupRule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all protocols, which has no ports.
    pub ip_protocol: IpProtocol,
    /// The first destination port; for ICMP the type, `-1` for all. TCP, UDP and ICMP need both
    /// this and `to_port`; ICMPv6 without them is all types; other protocols have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_port: Option<i32>,
    /// The last destination port; for ICMP the code, `-1` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_port: Option<i32>,
    /// The other end, IPv4. Exactly one of the four is to be given.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub cidr_ipv4: Option<Ipv4Net>,
    /// The other end, IPv6.
    #[serde(default, deserialize_with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub cidr_ipv6: Option<Ipv6Net>,
    /// The other end: the networks that a prefix list has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_list_id: Option<PrefixListId>,
    /// The other end: the private addresses of the interfaces in a group of the same VPC, perhaps
    /// this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referenced_group_id: Option<SecurityGroupId>,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// An IP protocol as EC2 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpProtocol {
    /// `-1`
    All,
    /// `icmp` or 1.
    Icmp,
    /// `tcp` or 6.
    Tcp,
    /// `udp` or 17.
    Udp,
    /// `icmpv6` or 58.
    Icmpv6,
    /// Any other number of IANA's.
    Other(u8),
}

impl IpProtocol {
    /// Its number, unless it is all of them.
    #[must_use]
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::All => None,
            Self::Icmp => Some(1),
            Self::Tcp => Some(6),
            Self::Udp => Some(17),
            Self::Icmpv6 => Some(58),
            Self::Other(number) => Some(number),
        }
    }

    const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            58 => Self::Icmpv6,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("-1"),
            Self::Icmp => f.write_str("icmp"),
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmpv6 => f.write_str("icmpv6"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

impl std::str::FromStr for IpProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self::All),
            "icmp" => Ok(Self::Icmp),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmpv6" => Ok(Self::Icmpv6),
            number => number.parse().map(Self::of_number).map_err(|_| {
                format!("`{text}` is not a protocol: write tcp, udp, icmp, icmpv6, -1 or a number")
            }),
        }
    }
}

impl Serialize for IpProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Networks under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixList {
    /// `pl-…`
    pub prefix_list_id: PrefixListId,
    /// Its name, up to 255 characters.
    pub prefix_list_name: String,
    /// How many entries it may have, 1 to 1,000. Each counts as a rule of every group that names
    /// the list, whether it is there or not.
    pub max_entries: u32,
    /// Its networks, all of one family and none twice. They may overlap.
    #[serde(default)]
    pub entry: Vec<PrefixListEntry>,
}

/// One network of a prefix list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixListEntry {
    /// The network.
    #[serde(deserialize_with = "text::required")]
    pub cidr: IpNet,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}
