//! Adjacencies: where a packet leaves and what its Ethernet header becomes.
//!
//! A flow entry names its adjacency by slot number instead of carrying MAC addresses. Thousands of
//! flows share one, entries stay small, and when a neighbour's MAC changes or an ENI moves to
//! another port, one slot is rewritten and every flow follows with its next packet. Encapsulation
//! will live here too: an outer header is a property of the next hop, not of the flow.

use crate::id::PortId;
use crate::packet::MacAddr;

/// A resolved next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Adjacency {
    /// The port the packet leaves by.
    pub port: PortId,
    /// Destination of the Ethernet header.
    pub dst_mac: MacAddr,
    /// Source of the Ethernet header: the port's own.
    pub src_mac: MacAddr,
    /// Largest IP packet, in bytes, that the port takes.
    pub mtu: u16,
}
