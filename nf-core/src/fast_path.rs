//! What the engine asks of a data path, and the entry it installs there.
//!
//! Two things implement [`FastPath`]: the kernel's maps (crate `datapath`) and
//! [`soft::SoftFastPath`], the same decisions in plain Rust, which is the oracle of the kernel
//! program's tests and the forwarder where BPF is not to be had.

mod meter;
pub mod soft;
mod template;

pub use meter::{MeterId, Metered};
pub use template::{Class, Lot, MOST_TEMPLATES, Made, StockId, Template};

use crate::action::Action;
use crate::adjacency::Adjacency;
use crate::flow::Tracking;
use crate::id::{AdjacencyId, FlowId, Generation, PortId};
use crate::packet::MacAddr;
use crate::time::Tick;
use crate::tuple::FlowKey;

/// Which way of a flow an entry serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// As the first packet went.
    Forward,
    /// The answers.
    Reverse,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

/// One direction of one flow, as the fast path holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What to do to the packet.
    pub action: Action,
    /// The snapshot under which this was last found right.
    pub generation: Generation,
    /// The flow this is one half of.
    pub flow: FlowId,
    /// Which half.
    pub direction: Direction,
    /// The MAC address that packets must come from, where the port they come in by is held to one.
    pub src_mac: Option<MacAddr>,
    /// Which ends of the flow are tracked. The fast path only keeps it, for a process that takes
    /// over.
    pub tracking: Tracking,
    /// What its packets are counted under as well.
    pub meter: MeterId,
    /// What went through so far. An entry starts with what user space itself forwarded.
    pub usage: Usage,
}

/// What went through an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// When the last packet went through.
    pub last_seen: Tick,
    /// Packets. A super-packet counts as the segments it stands for.
    pub packets: u64,
    /// Bytes of IP packets, headers included; those of a super-packet as it is, one header.
    pub bytes: u64,
    /// SYN, FIN and RST bits of the TCP headers that went through, or-ed.
    pub tcp_flags: u8,
}

impl Usage {
    /// The part of it that meters count as well.
    #[must_use]
    pub const fn metered(&self) -> Metered {
        Metered { packets: self.packets, bytes: self.bytes }
    }
}

/// Told when TCP flags that change a flow's state went through the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpEvent {
    /// The flow.
    pub flow: FlowId,
    /// Which half.
    pub direction: Direction,
    /// The TCP header's flags byte.
    pub flags: u8,
}

/// What a fast path tells of, beside the packets that it hands over, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// TCP flags went through.
    Tcp(TcpEvent),
    /// A flow was made. No packet that met its entries was handed over before this is told.
    Made(Made),
}

/// A frame to put on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The port to send by.
    pub port: PortId,
    /// Ethernet frame without the check sequence; all checksums complete.
    pub frame: Vec<u8>,
}

/// How a port is treated before any flow look-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortPolicy {
    /// Packets that are not for the gateway go up to the host's own stack instead of being
    /// punted: the interface is the host's as well. What is the gateway's is told by
    /// [`FastPath::set_own_address`].
    pub share_with_host: bool,
}

/// The table that moves packets once the engine has decided on their flow.
///
/// Calls may be batched by the implementation until [`FastPath::flush`]. Whatever is batched,
/// entries are in place before a frame that was handed over after them goes out, so the answer to a
/// first packet already finds its way; and they are gone before an adjacency changes, so that they
/// never send to whom a slot is given next.
pub trait FastPath {
    /// Starts serving a port.
    fn add_port(&mut self, port: PortId, policy: PortPolicy);

    /// Stops serving a port.
    fn remove_port(&mut self, port: PortId);

    /// Declares an address the gateway answers for on ports it shares with the host.
    fn set_own_address(&mut self, address: std::net::IpAddr, own: bool);

    /// Installs or replaces an entry.
    fn install(&mut self, key: &FlowKey, entry: &Entry);

    /// Removes an entry, if it is there.
    fn remove(&mut self, key: &FlowKey);

    /// Reads what went through an entry, if it is there.
    fn usage(&mut self, key: &FlowKey) -> Option<Usage>;

    /// Reads an entry, if it is there.
    fn entry(&mut self, key: &FlowKey) -> Option<Entry>;

    /// Sets or, with `None`, takes back the template of a class; entries that were installed before
    /// are in place by then. A flow that is being made at that moment may still be told of later.
    fn set_template(&mut self, class: &Class, template: Option<&Template>);

    /// Adds to a stock, which holds [`StockId::ROOM`]; how many of them there was room for.
    fn supply(&mut self, stock: StockId, lots: &[Lot]) -> usize;

    /// Lots that are left in a stock.
    fn in_stock(&mut self, stock: StockId) -> usize;

    /// Empties a stock. What it does not give back has been given to flows, and each is told of.
    fn take_back(&mut self, stock: StockId) -> Vec<Lot>;

    /// Fills or, with `None`, empties a slot. Packets of an empty slot are punted as
    /// [`crate::verdict::Punt::Unresolved`].
    fn set_adjacency(&mut self, slot: AdjacencyId, adjacency: Option<Adjacency>);

    /// Marks entries as right under `generation`, counts untouched.
    fn restamp(&mut self, keys: &[FlowKey], generation: Generation);

    /// From now on entries older than `generation` are punted as
    /// [`crate::verdict::Punt::Stale`] instead of forwarded.
    fn set_fence(&mut self, generation: Generation);

    /// Reads what was counted under a meter. It only grows, over a restart of the process as well.
    fn metered(&mut self, meter: MeterId) -> Metered;

    /// Sends a frame.
    fn transmit(&mut self, frame: Transmit);

    /// Carries out what was batched.
    fn flush(&mut self);
}
