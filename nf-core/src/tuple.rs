//! The addresses of a conversation: protocol, source, destination, and the key that adds the port
//! it was seen on.
//!
//! ICMP and ICMPv6 echo fit the same shape: a request has its identifier as the source port and
//! zero as the destination port, a reply the other way round, so [`Tuple::reversed`] of a request
//! is its reply.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::id::PortId;

/// A transport protocol that flows are tracked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// ICMP echo (IANA protocol 1).
    Icmp,
    /// TCP (6).
    Tcp,
    /// UDP (17).
    Udp,
    /// ICMPv6 echo (58).
    Icmpv6,
}

impl Protocol {
    /// IANA's protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
        }
    }

    /// The protocol with IANA's `number`, if flows are tracked of it.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            58 => Some(Self::Icmpv6),
            _ => None,
        }
    }

    /// Whether this is ICMP or ICMPv6.
    #[must_use]
    pub const fn is_echo(self) -> bool {
        matches!(self, Self::Icmp | Self::Icmpv6)
    }

    /// The lower-case name, as logs and metrics write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmpv6 => "icmpv6",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Protocol, source and destination of one direction. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source address and port (host byte order), or echo identifier of a request.
    pub src: SocketAddr,
    /// Destination address and port (host byte order), or echo identifier of a reply.
    pub dst: SocketAddr,
}

impl Tuple {
    /// The tuple of the answers to this direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, src: self.dst, dst: self.src }
    }

    /// Whether both addresses are IPv4.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        matches!((self.src, self.dst), (SocketAddr::V4(_), SocketAddr::V4(_)))
    }

    /// The same tuple with another source address, its port kept.
    #[must_use]
    pub const fn with_src_ip(self, ip: IpAddr) -> Self {
        Self { src: SocketAddr::new(ip, self.src.port()), ..self }
    }

    /// The same tuple with another destination address, its port kept.
    #[must_use]
    pub const fn with_dst_ip(self, ip: IpAddr) -> Self {
        Self { dst: SocketAddr::new(ip, self.dst.port()), ..self }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol, self.src, self.dst)
    }
}

/// What the fast path looks a packet up by: the port it came in on and its tuple. Tenants may use
/// the same addresses; they never share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The port the packet came in on.
    pub port: PortId,
    /// Its addresses as they stand in the packet.
    pub tuple: Tuple,
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} {}", self.port, self.tuple)
    }
}
