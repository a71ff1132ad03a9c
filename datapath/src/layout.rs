//! What user space and the kernel program share: the Rust mirror of `bpf/layout.h` and
//! `bpf/verdict.h`, and the way to and from the core's own types.
//!
//! A test compares every structure and number here with what the compiled object says of itself.

pub(crate) mod template;
mod translated;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aya::Pod;
use nf_core::action::Action;
use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{Direction, Entry, MeterId, Metered, Usage};
use nf_core::flow::Tracking;
use nf_core::id::{AdjacencyId, FlowId, Generation, PortId};
use nf_core::packet::{MacAddr, checksum};
use nf_core::time::Tick;
use nf_core::tuple::{FlowKey, Protocol, Tuple};

/// Stands in the pinned `control` map. Maps with another number are never read.
pub(crate) const LAYOUT_VERSION: u32 = 5;

/// The bit of [`FlowState::flow`] that tells the answers' half of a flow.
const FLOW_REVERSE: u32 = 1 << 31;

/// The flag of [`PortSettings`] for `PortPolicy::share_with_host`.
pub(crate) const PORT_SHARED: u32 = 1;

/// Keys that one run of the restamp program takes: the size of the map `restamps`.
pub(crate) const RESTAMPS_AT_ONCE: usize = 1024;

/// Key of `flows4`. Addresses and ports are as they stand in the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FlowKey4 {
    pub saddr: [u8; 4],
    pub daddr: [u8; 4],
    pub sport: [u8; 2],
    pub dport: [u8; 2],
    pub scope_protocol: u32,
}

/// Key of `flows6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FlowKey6 {
    pub saddr: [u8; 16],
    pub daddr: [u8; 16],
    pub sport: [u8; 2],
    pub dport: [u8; 2],
    pub scope_protocol: u32,
}

/// The ports a packet leaves with, and what its checksums change by: one's complement
/// differences in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Rewrite {
    pub sport: [u8; 2],
    pub dport: [u8; 2],
    pub address_delta: [u8; 2],
    pub port_delta: [u8; 2],
}

/// What an entry is, apart from its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FlowState {
    pub adjacency: u32,
    pub generation: u32,
    pub flow: u32,
    pub last_seen: u32,
    pub packets: u64,
    pub bytes: u64,
    pub tcp_flags: u32,
    pub meter: u32,
    pub flags: u16,
    pub src_mac: [u8; 6],
}

/// Value of `flows4`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FlowValue4 {
    pub saddr: [u8; 4],
    pub daddr: [u8; 4],
    pub rewrite: Rewrite,
    pub state: FlowState,
}

/// Value of `flows6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FlowValue6 {
    pub saddr: [u8; 16],
    pub daddr: [u8; 16],
    pub rewrite: Rewrite,
    pub state: FlowState,
}

/// Value of `meters`, one for each CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MeterValue {
    pub packets: u64,
    pub bytes: u64,
}

impl From<MeterValue> for Metered {
    fn from(MeterValue { packets, bytes }: MeterValue) -> Self {
        Self { packets, bytes }
    }
}

/// Value of `adjacencies`. Interface 0 is an empty slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct AdjacencySlot {
    pub ifindex: u32,
    pub dst_mac: [u8; 6],
    pub src_mac: [u8; 6],
    pub mtu: u16,
    /// Whether the port takes frames that XDP redirects.
    pub xdp: u8,
    pub reserved: u8,
}

/// Value of `ports`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PortSettings {
    pub flags: u32,
}

/// Value of `control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Control {
    pub layout_version: u32,
    pub fence: u32,
}

/// What the clock program is run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ClockOrder {
    pub ethernet: [u8; 16],
    /// Nanoseconds.
    pub jiffy: u32,
    pub reserved: u32,
}

/// [`RecordHead::kind`] of a punted frame.
pub(crate) const RECORD_FRAME: u8 = 1;

/// [`RecordHead::kind`] of a TCP event.
pub(crate) const RECORD_TCP: u8 = 2;

/// What every record of the ring `punts` begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct RecordHead {
    pub kind: u8,
    pub reason: u8,
    pub tcp_flags: u8,
    pub reserved: u8,
    pub ifindex: u32,
    pub flow: u32,
    pub length: u32,
    pub segment_size: u32,
}

/// Value of `restamps`. The C side has a union for the key; the shorter one stands at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct RestampKey {
    pub is_ipv6: u32,
    pub key: [u8; size_of::<FlowKey6>()],
}

/// What the restamp program is run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct RestampOrder {
    pub ethernet: [u8; 16],
    pub generation: u32,
    pub count: u32,
}

/// Slots of the map `verdicts`, beyond those that carry a reason.
pub(crate) mod slot {
    pub(crate) const FORWARD: u32 = 0;
    pub(crate) const PASS: u32 = 1;
    pub(crate) const TAP: u32 = 2;
    pub(crate) const LOST_EVENT: u32 = 3;
    /// The first punt reason's.
    pub(crate) const PUNT: u32 = 16;
    /// The first drop reason's.
    pub(crate) const DROP: u32 = 32;
}

// SAFETY: `repr(C)`, `Copy`, made of integers and arrays of them, without padding (the layout
// test compares every offset), so any bytes are a value and a value is all of its bytes.
unsafe impl Pod for FlowKey4 {}
// SAFETY: as above.
unsafe impl Pod for FlowKey6 {}
// SAFETY: as above.
unsafe impl Pod for FlowValue4 {}
// SAFETY: as above.
unsafe impl Pod for FlowValue6 {}
// SAFETY: as above.
unsafe impl Pod for MeterValue {}
// SAFETY: as above.
unsafe impl Pod for AdjacencySlot {}
// SAFETY: as above.
unsafe impl Pod for PortSettings {}
// SAFETY: as above.
unsafe impl Pod for Control {}
// SAFETY: as above.
unsafe impl Pod for ClockOrder {}
// SAFETY: as above.
unsafe impl Pod for RecordHead {}
// SAFETY: as above.
unsafe impl Pod for RestampKey {}
// SAFETY: as above.
unsafe impl Pod for RestampOrder {}

/// A flow key of either family, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    V4(FlowKey4),
    V6(FlowKey6),
}

/// Key and value of an entry of either family, as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    V4(FlowKey4, FlowValue4),
    V6(FlowKey6, FlowValue6),
}

/// A family's key, decoded.
pub(crate) trait DecodeKey: Pod {
    /// Its state-carrying value.
    type Value: DecodeValue;

    /// The core's key, unless this is not one that user space ever made.
    fn decode(&self) -> Option<FlowKey>;
}

/// A family's value, decoded.
pub(crate) trait DecodeValue: Pod {
    /// The core's entry; its key tells what the value does not.
    fn decode(&self, key: &FlowKey) -> Entry;

    /// What an entry is, apart from its addresses.
    fn state(&self) -> &FlowState;
}

/// The kernel's form of a key; `None` if it mixes address families.
pub(crate) fn encode_key(key: &FlowKey) -> Option<Key> {
    let scope_protocol = key.port.get() << 8 | u32::from(key.tuple.protocol.number());
    let sport = key.tuple.src.port().to_be_bytes();
    let dport = key.tuple.dst.port().to_be_bytes();
    match (key.tuple.src.ip(), key.tuple.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Some(Key::V4(FlowKey4 {
            saddr: src.octets(),
            daddr: dst.octets(),
            sport,
            dport,
            scope_protocol,
        })),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Some(Key::V6(FlowKey6 {
            saddr: src.octets(),
            daddr: dst.octets(),
            sport,
            dport,
            scope_protocol,
        })),
        _ => None,
    }
}

/// The kernel's form of an entry; `None` if its key, or what it makes of it, mixes address families.
pub(crate) fn encode(key: &FlowKey, entry: &Entry) -> Option<Item> {
    let to = &entry.action.rewrite;
    let rewrite = |from_addresses: &[u8], to_addresses: &[u8]| Rewrite {
        sport: to.src.port().to_be_bytes(),
        dport: to.dst.port().to_be_bytes(),
        address_delta: delta(from_addresses, to_addresses),
        port_delta: port_delta(&key.tuple, to),
    };
    let state = FlowState::of(entry);
    match (encode_key(key)?, to.src.ip(), to.dst.ip()) {
        (Key::V4(key), IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (saddr, daddr) = (src.octets(), dst.octets());
            let from = [key.saddr, key.daddr].concat();
            let rewrite = rewrite(&from, &[saddr, daddr].concat());
            Some(Item::V4(key, FlowValue4 { saddr, daddr, rewrite, state }))
        }
        (Key::V6(key), IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (saddr, daddr) = (src.octets(), dst.octets());
            let from = [key.saddr, key.daddr].concat();
            let rewrite = rewrite(&from, &[saddr, daddr].concat());
            Some(Item::V6(key, FlowValue6 { saddr, daddr, rewrite, state }))
        }
        (from, ..) => translated::encode(key, from, to, state),
    }
}

/// What the ports or the echo identifier change a checksum by.
fn port_delta(from: &Tuple, to: &Tuple) -> [u8; 2] {
    let ports = |tuple: &Tuple| [tuple.src.port().to_be_bytes(), tuple.dst.port().to_be_bytes()];
    if from.protocol.is_echo() {
        // One of the two is the identifier, the other zero (see `nf_core::tuple`).
        let id = |tuple: &Tuple| (tuple.src.port() | tuple.dst.port()).to_be_bytes();
        delta(&id(from), &id(to))
    } else {
        delta(&ports(from).concat(), &ports(to).concat())
    }
}

/// The folded one's complement difference, new less old.
fn delta(old: &[u8], new: &[u8]) -> [u8; 2] {
    checksum::fold(checksum::diff(old, new)).to_be_bytes()
}

impl FlowState {
    fn of(entry: &Entry) -> Self {
        let direction = match entry.direction {
            Direction::Forward => 0,
            Direction::Reverse => FLOW_REVERSE,
        };
        Self {
            adjacency: entry.action.adjacency.0,
            generation: entry.generation.0,
            flow: entry.flow.0 | direction,
            last_seen: entry.usage.last_seen.0,
            packets: entry.usage.packets,
            bytes: entry.usage.bytes,
            tcp_flags: entry.usage.tcp_flags.into(),
            meter: entry.meter.0,
            flags: entry.tracking.bits().into(),
            src_mac: mac_or_zero(entry.src_mac),
        }
    }

    /// What went through the entry so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            last_seen: Tick(self.last_seen),
            packets: self.packets,
            bytes: self.bytes,
            tcp_flags: self.tcp_flags as u8,
        }
    }

    fn entry(&self, rewrite: Tuple) -> Entry {
        let (flow, direction) = split_flow(self.flow);
        Entry {
            action: Action { rewrite, adjacency: AdjacencyId(self.adjacency) },
            generation: Generation(self.generation),
            flow,
            direction,
            src_mac: mac_unless_zero(self.src_mac),
            tracking: Tracking::from_bits(self.flags as u8),
            meter: MeterId(self.meter),
            usage: self.usage(),
        }
    }
}

/// A MAC address that there may be none of. All zero is nobody's.
fn mac_or_zero(mac: Option<MacAddr>) -> [u8; 6] {
    *mac.unwrap_or_default().as_bytes()
}

/// What [`mac_or_zero`] was given.
fn mac_unless_zero(bytes: [u8; 6]) -> Option<MacAddr> {
    Some(MacAddr::new(bytes)).filter(|mac| *mac != MacAddr::default())
}

/// A flow id with the direction in its highest bit, taken apart.
pub(crate) fn split_flow(word: u32) -> (FlowId, Direction) {
    let direction = if word & FLOW_REVERSE == 0 { Direction::Forward } else { Direction::Reverse };
    (FlowId(word & !FLOW_REVERSE), direction)
}

/// The tuple of addresses and ports in network byte order.
fn tuple<A: Into<IpAddr>>(
    protocol: Protocol,
    (saddr, sport): (A, [u8; 2]),
    (daddr, dport): (A, [u8; 2]),
) -> Tuple {
    Tuple {
        protocol,
        src: SocketAddr::new(saddr.into(), u16::from_be_bytes(sport)),
        dst: SocketAddr::new(daddr.into(), u16::from_be_bytes(dport)),
    }
}

/// Port and protocol of a key.
fn scope_protocol(word: u32) -> Option<(PortId, Protocol)> {
    Some((PortId::new(word >> 8)?, Protocol::from_number(word as u8)?))
}

impl DecodeKey for FlowKey4 {
    type Value = FlowValue4;

    fn decode(&self) -> Option<FlowKey> {
        let (port, protocol) = scope_protocol(self.scope_protocol)?;
        let (src, dst) = (Ipv4Addr::from(self.saddr), Ipv4Addr::from(self.daddr));
        Some(FlowKey { port, tuple: tuple(protocol, (src, self.sport), (dst, self.dport)) })
    }
}

impl DecodeKey for FlowKey6 {
    type Value = FlowValue6;

    fn decode(&self) -> Option<FlowKey> {
        if let Some(ipv4) = translated::ipv4_key(self) {
            return ipv4.decode();
        }
        let (port, protocol) = scope_protocol(self.scope_protocol)?;
        let (src, dst) = (Ipv6Addr::from(self.saddr), Ipv6Addr::from(self.daddr));
        Some(FlowKey { port, tuple: tuple(protocol, (src, self.sport), (dst, self.dport)) })
    }
}

impl DecodeValue for FlowValue4 {
    fn decode(&self, key: &FlowKey) -> Entry {
        let (src, dst) = (Ipv4Addr::from(self.saddr), Ipv4Addr::from(self.daddr));
        let ports = &self.rewrite;
        self.state.entry(tuple(key.tuple.protocol, (src, ports.sport), (dst, ports.dport)))
    }

    fn state(&self) -> &FlowState {
        &self.state
    }
}

impl DecodeValue for FlowValue6 {
    fn decode(&self, key: &FlowKey) -> Entry {
        if translated::is_translated(&self.state) {
            return translated::decode(self, key);
        }
        let (src, dst) = (Ipv6Addr::from(self.saddr), Ipv6Addr::from(self.daddr));
        let ports = &self.rewrite;
        self.state.entry(tuple(key.tuple.protocol, (src, ports.sport), (dst, ports.dport)))
    }

    fn state(&self) -> &FlowState {
        &self.state
    }
}

impl AdjacencySlot {
    /// The kernel's form of an adjacency.
    pub(crate) fn of(adjacency: &Adjacency, takes_xdp: bool) -> Self {
        Self {
            ifindex: adjacency.port.get(),
            dst_mac: *adjacency.dst_mac.as_bytes(),
            src_mac: *adjacency.src_mac.as_bytes(),
            mtu: adjacency.mtu,
            xdp: takes_xdp.into(),
            reserved: 0,
        }
    }

    /// The core's form; `None` of an empty slot.
    pub(crate) fn decode(&self) -> Option<Adjacency> {
        Some(Adjacency {
            port: PortId::new(self.ifindex)?,
            dst_mac: MacAddr::new(self.dst_mac),
            src_mac: MacAddr::new(self.src_mac),
            mtu: self.mtu,
        })
    }
}

impl RestampKey {
    /// The kernel's form of a key to restamp; `None` if it mixes address families.
    pub(crate) fn of(key: &FlowKey) -> Option<Self> {
        let mut restamp = Self { is_ipv6: 0, key: [0; size_of::<FlowKey6>()] };
        match encode_key(key)? {
            Key::V4(key) => restamp.key[..size_of::<FlowKey4>()].copy_from_slice(bytes_of(&key)),
            Key::V6(key) => {
                restamp.is_ipv6 = 1;
                restamp.key.copy_from_slice(bytes_of(&key));
            }
        }
        Some(restamp)
    }
}

impl RecordHead {
    /// A record's head and what stands behind it; `None` if the record is too short for one.
    pub(crate) fn split(record: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = record.split_at_checked(size_of::<Self>())?;
        // SAFETY: `head` has the size of `Self`, and any bytes are one.
        Some((unsafe { head.as_ptr().cast::<Self>().read_unaligned() }, rest))
    }
}

/// The bytes of a value.
pub(crate) fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: a `Pod` is initialised in all of its bytes, and the slice borrows it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

#[cfg(test)]
mod tests;
