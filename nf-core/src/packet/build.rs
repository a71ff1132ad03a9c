//! Frames the gateway makes itself: neighbour discovery, answers, errors, segments of
//! super-packets, fragments of packets that are too large, and whatever a test wants to send.
//!
//! Every function that answers a frame takes one with correct checksums (see
//! [`super::checksum::verify`]) and returns `None` where the RFCs forbid an answer.

mod answer;
mod fragment;
mod frame;
mod icmp_error;
mod neighbour;
mod segment;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ethernet::{self, EtherType};
use super::field::set_u16;
use super::headers::{Headers, IpHeaders, names_one_host};
use super::mac::MacAddr;
use super::{checksum, ipv4, ipv6};
use crate::tuple::Protocol;

pub use answer::{echo_reply, tcp_reset};
pub use fragment::fragment;
pub use frame::{Echo, Frame, TcpSegment, UdpDatagram};
pub use icmp_error::icmp_error;
pub(crate) use icmp_error::translated_icmp_error;
pub use neighbour::{arp_reply, arp_request, neighbour_advertisement, neighbour_solicitation};
pub use segment::segment;

/// Time to live of what the gateway sends, RFC 1700's recommendation.
pub const DEFAULT_TTL: u8 = 64;

/// Source and destination of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Addresses {
    /// The two as they are, or, where their families differ, both as IPv6 with the IPv4 one
    /// mapped.
    fn new(src: IpAddr, dst: IpAddr) -> Self {
        let mapped = |address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Self::V4(src, dst),
            _ => Self::V6(mapped(src), mapped(dst)),
        }
    }

    const fn src(self) -> IpAddr {
        match self {
            Self::V4(src, _) => IpAddr::V4(src),
            Self::V6(src, _) => IpAddr::V6(src),
        }
    }

    const fn dst(self) -> IpAddr {
        match self {
            Self::V4(_, dst) => IpAddr::V4(dst),
            Self::V6(_, dst) => IpAddr::V6(dst),
        }
    }
}

/// What stands in front of a transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Envelope {
    src_mac: MacAddr,
    dst_mac: MacAddr,
    addresses: Addresses,
    ttl: u8,
    traffic_class: u8,
    /// IPv4 only, as is the next.
    identification: u16,
    dont_fragment: bool,
}

impl Envelope {
    fn new(src_mac: MacAddr, dst_mac: MacAddr, addresses: Addresses) -> Self {
        Self {
            src_mac,
            dst_mac,
            addresses,
            ttl: DEFAULT_TTL,
            traffic_class: 0,
            // RFC 6864, section 4.1: a datagram that is not to be fragmented may have any.
            identification: 0,
            dont_fragment: true,
        }
    }

    /// The way back to whoever sent a frame, from `src`, or from where it went to.
    fn answering(headers: &Headers, ip: &IpHeaders, src: IpAddr) -> Self {
        Self::new(headers.dst_mac, headers.src_mac, Addresses::new(src, ip.src))
    }

    const fn is_ipv4(&self) -> bool {
        matches!(self.addresses, Addresses::V4(..))
    }

    /// The longest transport header and payload together that the length fields can tell, in
    /// bytes.
    fn room(&self) -> usize {
        let headers = if self.is_ipv4() { ipv4::MIN_HEADER_LEN } else { 0 };
        usize::from(u16::MAX) - headers
    }

    /// A whole frame around `segment`, a transport header with a checksum field of zero and what
    /// follows it; the checksum is filled in.
    fn seal(&self, protocol: Protocol, mut segment: Vec<u8>) -> Vec<u8> {
        let (src, dst) = (self.addresses.src(), self.addresses.dst());
        let check = checksum::transport(src, dst, protocol, &segment);
        set_u16(&mut segment, checksum::field_of(protocol), check);
        self.wrap(protocol, &segment)
    }

    /// A whole frame around `segment`, which is no longer than [`Self::room`].
    fn wrap(&self, protocol: Protocol, segment: &[u8]) -> Vec<u8> {
        let headers = ethernet::HEADER_LEN + ipv6::HEADER_LEN;
        let mut frame = Vec::with_capacity(headers + segment.len());
        let ether_type = if self.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        frame.extend(ethernet::header(self.dst_mac, self.src_mac, ether_type));
        match self.addresses {
            Addresses::V4(src, dst) => {
                let header = ipv4::Header {
                    traffic_class: self.traffic_class,
                    total_len: (ipv4::MIN_HEADER_LEN + segment.len()) as u16,
                    identification: self.identification,
                    dont_fragment: self.dont_fragment,
                    ttl: self.ttl,
                    protocol: protocol.number(),
                    src,
                    dst,
                };
                frame.extend(header.bytes());
            }
            Addresses::V6(src, dst) => {
                let header = ipv6::Header {
                    traffic_class: self.traffic_class,
                    payload_len: segment.len() as u16,
                    protocol: protocol.number(),
                    hop_limit: self.ttl,
                    src,
                    dst,
                };
                frame.extend(header.bytes());
            }
        }
        frame.extend(segment);
        frame
    }
}

/// Whether a packet went from one host to one other, by its Ethernet and its IP addresses. RFC
/// 1122, section 3.2.2, and RFC 4443, section 2.4 (e), forbid errors about any other; a subnet's
/// own broadcast address is only known to who knows the subnet.
fn is_from_one_to_one(headers: &Headers, ip: &IpHeaders) -> bool {
    headers.src_mac.is_unicast()
        && headers.dst_mac.is_unicast()
        && !ip.source_is_impossible()
        && names_one_host(ip.dst)
}
