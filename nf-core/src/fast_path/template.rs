//! Flows that a fast path sets up itself.
//!
//! Flows of one *class* differ in nothing but their source port, and come out alike but for the
//! port they leave with. Once the engine has set up a few, it leaves a [`Template`] with the fast
//! path, and ports and flow numbers in *stock*. The fast path then makes further flows of the class
//! as their first packets come, and tells of each; the engine does its book-keeping afterwards, as
//! it does for flows that an earlier process has left.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Direction, MeterId};
use crate::flow::Tracking;
use crate::id::{AdjacencyId, FlowId, Generation, PortId};
use crate::packet::MacAddr;
use crate::tuple::{FlowKey, Protocol, Tuple};

/// A class of flows. There are none of IPv6: what translates its ports is rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// The port their packets come in by.
    pub port: PortId,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who opens them.
    pub src: Ipv4Addr,
    /// Where to.
    pub dst: SocketAddrV4,
}

impl Class {
    /// The class of the flow with this key; `None` if it is of none.
    #[must_use]
    pub fn of(key: &FlowKey) -> Option<Self> {
        use std::net::SocketAddr::V4;

        let Tuple { protocol, src, dst } = key.tuple;
        match (protocol, src, dst) {
            (Protocol::Tcp | Protocol::Udp, V4(src), V4(dst)) => {
                Some(Self { port: key.port, protocol, src: *src.ip(), dst })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, protocol, src, dst } = self;
        write!(f, "{protocol} from {src} on port {port} to {dst}")
    }
}

/// What becomes of a class's flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// The MAC address that their first packets come with.
    pub src_mac: MacAddr,
    /// Whether all others have to come from it as well: [`crate::fast_path::Entry::src_mac`].
    pub holds_src_mac: bool,
    /// The same of their answers.
    pub back_mac: Option<MacAddr>,
    /// Which of their ends are tracked.
    pub tracking: Tracking,
    /// What their packets are counted under, by direction.
    pub meters: [MeterId; 2],
    /// The address that they leave with. Their destination stays as it is.
    pub external_ip: Ipv4Addr,
    /// The port that their answers come in by.
    pub reverse_port: PortId,
    /// Where packets of the side that opens leave.
    pub forward_out: AdjacencyId,
    /// Where the answers leave.
    pub reverse_out: AdjacencyId,
    /// The snapshot under which this is right.
    pub generation: Generation,
    /// Where their ports and numbers come from.
    pub stock: StockId,
}

impl Template {
    /// The MAC address that packets of one direction have to come from, once the flow is made.
    #[must_use]
    pub fn held_mac(&self, direction: Direction) -> Option<MacAddr> {
        match direction {
            Direction::Forward => self.holds_src_mac.then_some(self.src_mac),
            Direction::Reverse => self.back_mac,
        }
    }
}

/// A place for lots; several templates may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StockId(pub u32);

impl StockId {
    /// How many there are.
    pub const COUNT: usize = 1 << 8;
    /// Lots that each has room for.
    pub const ROOM: usize = 512;

    /// The stock at a place below [`Self::COUNT`], as one process names it: the lower 24 bits of
    /// `epoch` tell those of different processes apart.
    #[must_use]
    pub const fn new(place: usize, epoch: u32) -> Self {
        Self((epoch << 8) | (place as u32 % Self::COUNT as u32))
    }

    /// The place alone.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0 as usize % Self::COUNT
    }
}

/// What one flow is given. It is the taker's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// Its number.
    pub flow: FlowId,
    /// The port it leaves with.
    pub port: u16,
}

/// Most templates at a time.
pub const MOST_TEMPLATES: usize = 8192;

/// A flow that the fast path has made by a template, or could not make after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// What it was given.
    pub lot: Lot,
    /// How its packets come in.
    pub forward: FlowKey,
    /// What it was made by.
    pub template: Template,
    /// Whether its entries are there. If not, its lot was not used.
    pub is_made: bool,
}

impl Made {
    /// The tuple its packets leave with.
    #[must_use]
    pub fn outcome(&self) -> Tuple {
        let src = SocketAddrV4::new(self.template.external_ip, self.lot.port);
        Tuple { src: src.into(), ..self.forward.tuple }
    }

    /// How its answers come in.
    #[must_use]
    pub fn reverse(&self) -> FlowKey {
        FlowKey { port: self.template.reverse_port, tuple: self.outcome().reversed() }
    }
}
