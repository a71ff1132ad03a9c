//! The summary of one Ethernet frame: what is needed to decide on it, read once.

use std::net::{IpAddr, SocketAddr};

use super::arp::Arp;
use super::ethernet::{self, EtherType, Ethernet};
use super::icmp::{Icmp, IcmpErrorKind};
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::mac::MacAddr;
use super::malformed::Malformed;
use super::ndp::NdpType;
use super::tcp::{Tcp, TcpFlags};
use super::udp::Udp;
use crate::tuple::{Protocol, Tuple};

/// The headers of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Source of the Ethernet header.
    pub src_mac: MacAddr,
    /// Destination of the Ethernet header.
    pub dst_mac: MacAddr,
    /// What the frame carries.
    pub content: Content,
}

/// What an Ethernet frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// ARP for IPv4; [`Arp`] of the Ethernet payload reads it.
    Arp,
    /// IPv4 or IPv6.
    Ip(IpHeaders),
    /// Anything else.
    Other(EtherType),
}

/// The headers of one IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeaders {
    /// Where the IP header stands.
    pub l3_offset: usize,
    /// Where the transport header stands, behind options and extension headers; of a later
    /// fragment, where its data stand.
    pub l4_offset: usize,
    /// Length of the packet from the IP header on, in bytes. What the frame has behind it is
    /// padding.
    pub total_len: usize,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Protocol of the transport (IANA's number), or the first IPv6 extension header that is not
    /// walked over (see [`Ipv6::upper_layer`]).
    pub protocol: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Which fragment this is, if it is one.
    pub fragment: Fragment,
    /// Whether there are IPv4 options or IPv6 extension headers.
    pub has_options: bool,
    /// The transport header.
    pub transport: Transport,
}

/// Which part of a fragmented packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    None,
    /// The part with the transport header.
    First {
        /// What all parts have in common; 16 bits of it in IPv4.
        id: u32,
    },
    /// A part without.
    Later {
        /// What all parts have in common; 16 bits of it in IPv4.
        id: u32,
        /// Where it belongs, in bytes.
        offset: u16,
    },
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// The flags byte.
        flags: TcpFlags,
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number.
        ack: u32,
        /// Length of the header with its options, in bytes.
        header_len: usize,
    },
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Length of the datagram with its header, in bytes.
        length: usize,
    },
    /// ICMP or ICMPv6 echo.
    Echo {
        /// Request or reply.
        request: bool,
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// An ICMP or ICMPv6 error that quotes the packet it is about ([`super::Quoted`]).
    IcmpError {
        /// What it says.
        kind: IcmpErrorKind,
    },
    /// Neighbour discovery ([`super::NeighbourMessage`]).
    Ndp {
        /// Which message.
        kind: NdpType,
    },
    /// ICMP or ICMPv6 of another kind.
    OtherIcmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
    /// Another protocol, or ICMP of the other family (IANA's number).
    Other(u8),
    /// None: this is a later fragment.
    NotPresent,
}

impl Headers {
    /// Reads the headers of `frame`.
    ///
    /// Checksums are [`super::checksum`]'s to verify, and whether addresses make sense is the
    /// caller's to ask ([`IpHeaders::source_is_impossible`]).
    ///
    /// # Errors
    /// [`Malformed`] when a header is not whole or contradicts itself, its surroundings, or the
    /// length of the frame.
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let ethernet = Ethernet::new_checked(frame)?;
        let payload = ethernet.payload();
        let content = match ethernet.ether_type() {
            EtherType::ARP => {
                Arp::new_checked(payload)?;
                Content::Arp
            }
            EtherType::IPV4 => {
                let packet = Ipv4::new_checked(payload)?;
                Content::Ip(ip_headers(&Network::of_ipv4(&packet), payload)?)
            }
            EtherType::IPV6 => {
                let packet = Ipv6::new_checked(payload)?;
                Content::Ip(ip_headers(&Network::of_ipv6(&packet)?, payload)?)
            }
            other => Content::Other(other),
        };
        Ok(Self { src_mac: ethernet.src(), dst_mac: ethernet.dst(), content })
    }

    /// The IP packet, if it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<&IpHeaders> {
        match &self.content {
            Content::Ip(ip) => Some(ip),
            Content::Arp | Content::Other(_) => None,
        }
    }
}

impl IpHeaders {
    /// Whether this is IPv4.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// Where the packet ends.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.l3_offset + self.total_len
    }

    /// The transport header and what follows it, without padding; empty if `frame` is shorter than
    /// the one this is the summary of.
    #[must_use]
    pub fn transport_bytes<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(self.l4_offset..self.end()).unwrap_or_default()
    }

    /// The addresses of the conversation, if it is TCP, UDP or echo.
    #[must_use]
    pub fn tuple(&self) -> Option<Tuple> {
        let (protocol, (src, dst)) = match self.transport {
            Transport::Tcp { src_port, dst_port, .. } => (Protocol::Tcp, (src_port, dst_port)),
            Transport::Udp { src_port, dst_port, .. } => (Protocol::Udp, (src_port, dst_port)),
            Transport::Echo { request, id, .. } => {
                let protocol = if self.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
                (protocol, echo_ports(request, id))
            }
            _ => return None,
        };
        Some(tuple(protocol, (self.src, src), (self.dst, dst)))
    }

    /// Whether no host can have sent this from where it says: the source is the destination, or
    /// is no address of a single host (unspecified, loopback, multicast, broadcast, IPv4-mapped).
    ///
    /// RFC 1812, section 5.3.7, says which sources are martian. A probe for duplicate addresses and
    /// a DHCP request do come from the unspecified address; whoever serves them asks before.
    #[must_use]
    pub fn source_is_impossible(&self) -> bool {
        self.src == self.dst || !names_one_host(self.src)
    }
}

/// Whether this can be the address of one host, as seen by another.
pub(super) fn names_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // 0/8 is "this network", 127/8 loopback. The rest of class E, 240/4, is reserved, yet
            // Linux takes it and clouds number their insides with it.
            let [first, ..] = address.octets();
            first != 0 && first != 127 && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_multicast()
                && address.to_ipv4_mapped().is_none()
        }
    }
}

/// What both families tell in their own way; lengths are from the start of the IP header.
pub(super) struct Network {
    pub(super) header_len: usize,
    pub(super) total_len: usize,
    ttl: u8,
    traffic_class: u8,
    pub(super) protocol: u8,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) fragment: Fragment,
    has_options: bool,
}

impl Network {
    pub(super) fn of_ipv4(packet: &Ipv4<&[u8]>) -> Self {
        Self {
            header_len: packet.header_len(),
            total_len: packet.total_len(),
            ttl: packet.ttl(),
            traffic_class: packet.traffic_class(),
            protocol: packet.protocol(),
            src: IpAddr::V4(packet.src()),
            dst: IpAddr::V4(packet.dst()),
            fragment: packet.fragment(),
            has_options: packet.header_len() > super::ipv4::MIN_HEADER_LEN,
        }
    }

    pub(super) fn of_ipv6(packet: &Ipv6<&[u8]>) -> Result<Self, Malformed> {
        let upper = packet.upper_layer()?;
        Ok(Self {
            header_len: upper.offset,
            total_len: packet.total_len(),
            ttl: packet.hop_limit(),
            traffic_class: packet.traffic_class(),
            protocol: upper.protocol,
            src: IpAddr::V6(packet.src()),
            dst: IpAddr::V6(packet.dst()),
            fragment: upper.fragment,
            has_options: upper.has_extensions,
        })
    }

    pub(super) fn tuple(&self, protocol: Protocol, (src, dst): (u16, u16)) -> Tuple {
        tuple(protocol, (self.src, src), (self.dst, dst))
    }
}

fn tuple(protocol: Protocol, src: (IpAddr, u16), dst: (IpAddr, u16)) -> Tuple {
    Tuple { protocol, src: SocketAddr::from(src), dst: SocketAddr::from(dst) }
}

/// Source and destination "port" of an echo (see [`crate::tuple`]).
pub(super) const fn echo_ports(request: bool, id: u16) -> (u16, u16) {
    if request { (id, 0) } else { (0, id) }
}

/// `packet` has been found to be at least `network.total_len` bytes long.
fn ip_headers(network: &Network, packet: &[u8]) -> Result<IpHeaders, Malformed> {
    let l3_offset = ethernet::HEADER_LEN;
    Ok(IpHeaders {
        l3_offset,
        l4_offset: l3_offset + network.header_len,
        total_len: network.total_len,
        ttl: network.ttl,
        traffic_class: network.traffic_class,
        protocol: network.protocol,
        src: network.src,
        dst: network.dst,
        fragment: network.fragment,
        has_options: network.has_options,
        transport: transport(network, &packet[network.header_len..network.total_len])?,
    })
}

fn transport(network: &Network, bytes: &[u8]) -> Result<Transport, Malformed> {
    if matches!(network.fragment, Fragment::Later { .. }) {
        return Ok(Transport::NotPresent);
    }
    Ok(match (Protocol::from_number(network.protocol), network.src.is_ipv4()) {
        // A first fragment must have the whole header, too: RFC 7112 asks for it in IPv6, and in
        // IPv4 only attacks lack it (RFC 1858).
        (Some(Protocol::Tcp), _) => {
            let tcp = Tcp::new_checked(bytes)?;
            Transport::Tcp {
                src_port: tcp.src_port(),
                dst_port: tcp.dst_port(),
                flags: tcp.flags(),
                seq: tcp.seq(),
                ack: tcp.ack(),
                header_len: tcp.header_len(),
            }
        }
        (Some(Protocol::Udp), _) => {
            let udp = match network.fragment {
                Fragment::None => Udp::new_checked(bytes)?,
                _ => Udp::new_first_fragment(bytes)?,
            };
            Transport::Udp {
                src_port: udp.src_port(),
                dst_port: udp.dst_port(),
                length: udp.length(),
            }
        }
        (Some(Protocol::Icmp), true) => Icmp::new_checked(bytes)?.transport_v4(),
        (Some(Protocol::Icmpv6), false) => Icmp::new_checked(bytes)?.transport_v6(),
        _ => Transport::Other(network.protocol),
    })
}

#[cfg(test)]
mod tests;
