//! The fast path's own parse: only as much of a frame as the look-up and the rewrite need.
//!
//! It is leaner than [`crate::packet::headers`], which user space runs on what was punted: a
//! frame that passes here may still turn out malformed there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::action::ETHERNET_LEN;
use crate::tuple::{Protocol, Tuple};
use crate::verdict::{FastDrop, Punt};

/// What the parse came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A packet of a protocol that flows are tracked of.
    Flow(Parsed),
    /// ARP or NDP.
    Neighbour,
    /// Something only user space handles.
    Punt { reason: Punt, dst: IpAddr },
    /// Something nobody handles.
    Drop(FastDrop),
}

/// The fields a flow's packet is looked up and rewritten by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub tuple: Tuple,
    pub ttl: u8,
    /// Bytes of the IP packet by its own header.
    pub ip_len: usize,
    /// Offset of the transport header in the frame.
    pub transport: usize,
    pub tcp_flags: u8,
    pub tcp_header_len: usize,
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// Parses one frame.
pub(super) fn parse(frame: &[u8]) -> Step {
    let Some((ethernet, packet)) = frame.split_first_chunk::<ETHERNET_LEN>() else {
        return Step::Drop(FastDrop::Malformed);
    };
    let to_group = ethernet[0] & 1 != 0;
    let step = match [ethernet[12], ethernet[13]] {
        ETHERTYPE_ARP => Some(Step::Neighbour),
        ETHERTYPE_IPV4 => ipv4(packet, to_group),
        ETHERTYPE_IPV6 => ipv6(packet, to_group),
        _ => Some(Step::Drop(FastDrop::EtherType)),
    };
    step.unwrap_or(Step::Drop(FastDrop::Malformed))
}

/// `None` is a malformed packet.
fn ipv4(packet: &[u8], to_group: bool) -> Option<Step> {
    let header = packet.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let ip_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < 20 || ip_len < header_len || ip_len > packet.len() {
        return None;
    }
    if to_group {
        return Some(Step::Drop(FastDrop::Multicast));
    }
    let src = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let dst = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    // More-fragments bit or an offset.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Some(Step::Punt { reason: Punt::Fragment, dst: dst.into() });
    }
    let protocol = match header[9] {
        1 => Protocol::Icmp,
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return Some(Step::Drop(FastDrop::Protocol)),
    };
    transport(packet.get(header_len..ip_len)?, protocol, src.into(), dst.into(), |tuple, tcp| {
        Parsed {
            tuple,
            ttl: header[8],
            ip_len,
            transport: ETHERNET_LEN + header_len,
            tcp_flags: tcp.flags,
            tcp_header_len: tcp.header_len,
        }
    })
}

fn ipv6(packet: &[u8], to_group: bool) -> Option<Step> {
    let header = packet.first_chunk::<40>()?;
    let ip_len = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || ip_len > packet.len() {
        return None;
    }
    let src = Ipv6Addr::from(*header[8..24].first_chunk::<16>()?);
    let dst = Ipv6Addr::from(*header[24..40].first_chunk::<16>()?);
    let protocol = match header[6] {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        58 => Protocol::Icmpv6,
        // Group traffic other than NDP is nobody's, whatever it carries.
        _ if to_group => return Some(Step::Drop(FastDrop::Multicast)),
        44 => return Some(Step::Punt { reason: Punt::Fragment, dst: dst.into() }),
        // Hop-by-hop options, routing, destination options.
        0 | 43 | 60 => return Some(Step::Punt { reason: Punt::Extension, dst: dst.into() }),
        _ => return Some(Step::Drop(FastDrop::Protocol)),
    };
    let payload = packet.get(40..ip_len)?;
    if protocol == Protocol::Icmpv6 {
        // 133 to 137: router and neighbour discovery, redirect.
        if matches!(payload.first_chunk::<8>()?[0], 133..=137) {
            return Some(Step::Neighbour);
        }
    }
    if to_group {
        return Some(Step::Drop(FastDrop::Multicast));
    }
    transport(payload, protocol, src.into(), dst.into(), |tuple, tcp| Parsed {
        tuple,
        ttl: header[7],
        ip_len,
        transport: ETHERNET_LEN + 40,
        tcp_flags: tcp.flags,
        tcp_header_len: tcp.header_len,
    })
}

/// The fields only TCP has; zero for the others.
#[derive(Default)]
struct Tcp {
    flags: u8,
    header_len: usize,
}

fn transport(
    payload: &[u8],
    protocol: Protocol,
    src: IpAddr,
    dst: IpAddr,
    finish: impl FnOnce(Tuple, Tcp) -> Parsed,
) -> Option<Step> {
    let first = payload.first_chunk::<8>()?;
    let pair = |at: usize| u16::from_be_bytes([first[at], first[at + 1]]);
    let (src_port, dst_port, tcp) = match protocol {
        Protocol::Tcp => {
            let header = payload.first_chunk::<20>()?;
            let header_len = usize::from(header[12] >> 4) * 4;
            (pair(0), pair(2), Tcp { flags: header[13], header_len })
        }
        Protocol::Udp => (pair(0), pair(2), Tcp::default()),
        Protocol::Icmp | Protocol::Icmpv6 => match (first[0], first[1]) {
            (8 | 128, 0) if is_request(protocol, first[0]) => (pair(4), 0, Tcp::default()),
            (0 | 129, 0) if is_reply(protocol, first[0]) => (0, pair(4), Tcp::default()),
            _ => return Some(Step::Punt { reason: Punt::Control, dst }),
        },
    };
    let tuple = Tuple {
        protocol,
        src: SocketAddr::new(src, src_port),
        dst: SocketAddr::new(dst, dst_port),
    };
    Some(Step::Flow(finish(tuple, tcp)))
}

fn is_request(protocol: Protocol, icmp_type: u8) -> bool {
    icmp_type == if protocol == Protocol::Icmp { 8 } else { 128 }
}

fn is_reply(protocol: Protocol, icmp_type: u8) -> bool {
    icmp_type == if protocol == Protocol::Icmp { 0 } else { 129 }
}
