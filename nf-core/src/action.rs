//! What the fast path does to a packet of one direction, as a plain value, and the reference
//! implementation of it.
//!
//! The kernel program does the same with precomputed checksum deltas; [`Action::apply`] derives
//! everything from the packet it is given. The two are compared byte by byte over millions of
//! generated packets, and the user-space fall-back runs this one. A packet that leaves with the other
//! address family gets another header: [`Action::translate`].

mod translate;

use std::net::{IpAddr, SocketAddr};

use crate::adjacency::Adjacency;
use crate::id::AdjacencyId;
use crate::packet::checksum;
use crate::tuple::{Protocol, Tuple};

pub use translate::{Crossing, ResizableFrame, identification};

/// Rewrite a packet's addresses and send it to a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The addresses the packet leaves with, of the same protocol as it came. If they are of the
    /// other family (and ICMP stands for ICMPv6 then, or the other way round), it is translated.
    pub rewrite: Tuple,
    /// Where it leaves.
    pub adjacency: AdjacencyId,
}

/// What the transport checksum field of a frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumField {
    /// The checksum.
    #[default]
    Complete,
    /// Only the pseudo-header's sum: the sender left the rest to an interface that has not seen
    /// the packet yet (`CHECKSUM_PARTIAL`). Ports and payload are not part of it.
    Partial,
}

/// Where the headers of a frame stand, in bytes from its start. The network header always stands
/// behind a plain Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The transport header.
    pub transport: usize,
}

/// Length of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;

const IPV4_TTL: usize = ETHERNET_LEN + 8;
const IPV4_CHECKSUM: usize = ETHERNET_LEN + 10;
const IPV4_ADDRESSES: std::ops::Range<usize> = ETHERNET_LEN + 12..ETHERNET_LEN + 20;
const IPV6_HOP_LIMIT: usize = ETHERNET_LEN + 7;
const IPV6_ADDRESSES: std::ops::Range<usize> = ETHERNET_LEN + 8..ETHERNET_LEN + 40;

impl Action {
    /// Rewrites `frame` in place: Ethernet addresses, IP addresses, TTL, ports or echo identifier,
    /// and the checksums that depend on them (RFC 1624, so a wrong checksum stays wrong).
    ///
    /// The caller has established that the frame matches the entry this action stands in, that
    /// its headers are whole (TCP 20 bytes, UDP and ICMP 8), and that its TTL is at least 2.
    /// A frame that is shorter is left as it is, as far as it is.
    pub fn apply(
        &self,
        adjacency: &Adjacency,
        frame: &mut [u8],
        offsets: Offsets,
        field: ChecksumField,
    ) {
        let addresses = self.rewrite_network(frame);
        let ports = self.rewrite_ports(frame, offsets);
        if let (Some(addresses), Some(ports)) = (addresses, ports) {
            // ICMP's checksum, unlike ICMPv6's, covers no pseudo-header.
            let pseudo = if self.rewrite.protocol == Protocol::Icmp { 0 } else { addresses };
            self.fix_transport_checksum(frame, offsets, field, pseudo, ports);
        }
        set_macs(frame, adjacency);
    }

    /// The same for a fragment that is not the first of its datagram: it has neither ports nor a
    /// transport checksum.
    pub fn apply_to_later_fragment(&self, adjacency: &Adjacency, frame: &mut [u8]) {
        self.rewrite_network(frame);
        set_macs(frame, adjacency);
    }

    /// Rewrites the IP header; the one's complement difference of the addresses.
    fn rewrite_network(&self, frame: &mut [u8]) -> Option<u32> {
        match (self.rewrite.src.ip(), self.rewrite.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let delta =
                    replace(frame, IPV4_ADDRESSES, [src.octets(), dst.octets()].as_flattened())?;
                let ttl_and_protocol = [*frame.get(IPV4_TTL)?, *frame.get(IPV4_TTL + 1)?];
                let lower = [ttl_and_protocol[0].saturating_sub(1), ttl_and_protocol[1]];
                let ttl_delta = replace(frame, IPV4_TTL..IPV4_TTL + 2, &lower)?;
                let check = read_u16(frame, IPV4_CHECKSUM)?;
                let check = checksum::update(check, checksum::add(delta, ttl_delta));
                write_u16(frame, IPV4_CHECKSUM, check);
                Some(delta)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let delta =
                    replace(frame, IPV6_ADDRESSES, [src.octets(), dst.octets()].as_flattened())?;
                let hop_limit = frame.get_mut(IPV6_HOP_LIMIT)?;
                *hop_limit = hop_limit.saturating_sub(1);
                Some(delta)
            }
            _ => None,
        }
    }

    /// Rewrites ports or the echo identifier; their one's complement difference.
    fn rewrite_ports(&self, frame: &mut [u8], offsets: Offsets) -> Option<u32> {
        let at = offsets.transport;
        if self.rewrite.protocol.is_echo() {
            // One of the two is the identifier, the other zero (see `crate::tuple`).
            let id = self.rewrite.src.port() | self.rewrite.dst.port();
            replace(frame, at + 4..at + 6, &id.to_be_bytes())
        } else {
            let ports = [port(self.rewrite.src), port(self.rewrite.dst)];
            replace(frame, at..at + 4, ports.as_flattened())
        }
    }

    /// Updates the checksum for what the pseudo-header changes by, and what is covered besides.
    fn fix_transport_checksum(
        &self,
        frame: &mut [u8],
        offsets: Offsets,
        field: ChecksumField,
        pseudo: u32,
        covered: u32,
    ) {
        let protocol = self.rewrite.protocol;
        let at = offsets.transport
            + match protocol {
                Protocol::Tcp => 16,
                Protocol::Udp => 6,
                Protocol::Icmp | Protocol::Icmpv6 => 2,
            };
        let Some(old) = read_u16(frame, at) else { return };
        // RFC 768: "An all zero transmitted checksum value means that the transmitter generated
        // no checksum".
        if protocol == Protocol::Udp && old == 0 {
            return;
        }
        let mut new = match field {
            ChecksumField::Complete => checksum::update(old, checksum::add(pseudo, covered)),
            ChecksumField::Partial => checksum::update_partial(old, pseudo),
        };
        // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
        if protocol == Protocol::Udp && new == 0 {
            new = 0xffff;
        }
        write_u16(frame, at, new);
    }
}

fn set_macs(frame: &mut [u8], adjacency: &Adjacency) {
    if let Some(macs) = frame.get_mut(..12) {
        macs[..6].copy_from_slice(adjacency.dst_mac.as_bytes());
        macs[6..].copy_from_slice(adjacency.src_mac.as_bytes());
    }
}

fn port(address: SocketAddr) -> [u8; 2] {
    address.port().to_be_bytes()
}

/// Overwrites `range` with `new`; the one's complement difference, new less old.
fn replace(frame: &mut [u8], range: std::ops::Range<usize>, new: &[u8]) -> Option<u32> {
    let field = frame.get_mut(range)?;
    let delta = checksum::diff(field, new);
    field.copy_from_slice(new);
    Some(delta)
}

fn read_u16(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..at + 2)?.first_chunk()?))
}

fn write_u16(frame: &mut [u8], at: usize, value: u16) {
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
