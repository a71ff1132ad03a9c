//! What can be wrong with a packet's form: one variant for each kind of contradiction.

use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

/// A header, to say where a contradiction was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Ethernet II.
    Ethernet,
    /// ARP.
    Arp,
    /// IPv4.
    Ipv4,
    /// The IPv6 fixed header.
    Ipv6,
    /// An IPv6 extension header.
    Ipv6Extension,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// A neighbour discovery message behind its ICMPv6 header.
    Ndp,
    /// The transport header of a packet quoted by an ICMP error.
    QuotedTransport,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethernet => "Ethernet",
            Self::Arp => "ARP",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Ipv6Extension => "IPv6 extension",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
            Self::Ndp => "NDP",
            Self::QuotedTransport => "quoted transport",
        })
    }
}

/// Why bytes are not the packet that they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Malformed {
    /// The bytes end before the part of a header that is always there.
    #[error("{layer} header cut short: {need} bytes needed, {have} there")]
    Truncated {
        /// The header.
        layer: Layer,
        /// Its least length.
        need: usize,
        /// What there is.
        have: usize,
    },
    /// An IP version that is not the `EtherType`'s, or not the quoting packet's.
    #[error("{layer} header with version {version}")]
    Version {
        /// The header that was to be there.
        layer: Layer,
        /// The version field.
        version: u8,
    },
    /// A header says that it is shorter than its fixed part.
    #[error("{layer} header claims a length of {length} bytes, at least {least} are needed")]
    HeaderLength {
        /// The header.
        layer: Layer,
        /// What it claims.
        length: usize,
        /// The length of its fixed part.
        least: usize,
    },
    /// A length field covers less than the header it stands in.
    #[error("{layer} length field says {length} bytes, the header alone has {header}")]
    LengthBelowHeader {
        /// The header.
        layer: Layer,
        /// What the field says.
        length: usize,
        /// The header's own length.
        header: usize,
    },
    /// A length field covers more than what is there.
    #[error("{layer} length field says {length} bytes, only {have} are there")]
    LengthBeyondData {
        /// The header.
        layer: Layer,
        /// What the field says.
        length: usize,
        /// What there is.
        have: usize,
    },
    /// ARP for anything but IPv4 on Ethernet.
    #[error(
        "ARP for hardware type {hardware} and protocol type {protocol:#06x}, \
         only IPv4 on Ethernet (1, 0x0800) is spoken here"
    )]
    ArpKind {
        /// Hardware type.
        hardware: u16,
        /// Protocol type.
        protocol: u16,
    },
    /// ARP whose address lengths are not 6 and 4.
    #[error("ARP with address lengths {hardware} and {protocol}, Ethernet and IPv4 have 6 and 4")]
    ArpLengths {
        /// Hardware address length.
        hardware: u8,
        /// Protocol address length.
        protocol: u8,
    },
    /// A neighbour discovery message that came through a router.
    #[error("NDP with hop limit {0}, not 255: it was not sent on this link")]
    NdpHopLimit(u8),
    /// A neighbour discovery message with an ICMP code.
    #[error("NDP with code {0}, only 0 is defined")]
    NdpCode(u8),
    /// Neighbour discovery about a multicast address.
    #[error("NDP about {0}, a multicast address, which has no neighbour")]
    NdpTarget(Ipv6Addr),
    /// An option of length zero.
    #[error("NDP option of length zero")]
    NdpOptionLength,
    /// A duplicate address probe that goes elsewhere than to the solicited-node address, or that
    /// tells a link-layer address.
    #[error("NDP solicitation from the unspecified address that is no duplicate address probe")]
    NdpProbe,
    /// An advertisement that claims to answer a solicitation, yet goes to everyone.
    #[error("NDP advertisement to a multicast address with the solicited flag")]
    NdpSolicited,
    /// A look into the quoted packet of something that is not an ICMP error.
    #[error("no ICMP error message: it quotes no packet")]
    NothingQuoted,
}

/// Checks that the fixed part of a header, `need` bytes, is there.
pub(super) fn require(layer: Layer, need: usize, have: usize) -> Result<(), Malformed> {
    if have < need { Err(Malformed::Truncated { layer, need, have }) } else { Ok(()) }
}
