//! A fast path that forwards nothing and holds nothing.

use std::net::IpAddr;

use nf_core::adjacency::Adjacency;
use nf_core::fast_path::{
    Class, Entry, FastPath, Lot, MeterId, Metered, PortPolicy, StockId, Template, Transmit, Usage,
};
use nf_core::id::{AdjacencyId, Generation, PortId};
use nf_core::time::{Tick, Time};
use nf_core::tuple::FlowKey;

/// Takes whatever it is told, and says of every entry that it was last used at one moment.
pub struct Nowhere {
    last_seen: Tick,
}

impl Nowhere {
    /// Every flow was last seen at `moment`.
    pub fn new(moment: Time) -> Self {
        Self { last_seen: moment.tick() }
    }
}

impl FastPath for Nowhere {
    fn add_port(&mut self, _: PortId, _: PortPolicy) {}

    fn remove_port(&mut self, _: PortId) {}

    fn set_own_address(&mut self, _: IpAddr, _: bool) {}

    fn install(&mut self, _: &FlowKey, _: &Entry) {}

    fn remove(&mut self, _: &FlowKey) {}

    fn usage(&mut self, _: &FlowKey) -> Option<Usage> {
        Some(Usage { last_seen: self.last_seen, packets: 1, bytes: 60, tcp_flags: 0 })
    }

    fn entry(&mut self, _: &FlowKey) -> Option<Entry> {
        None
    }

    fn set_template(&mut self, _: &Class, _: Option<&Template>) {}

    fn supply(&mut self, _: StockId, lots: &[Lot]) -> usize {
        lots.len()
    }

    fn in_stock(&mut self, _: StockId) -> usize {
        StockId::ROOM
    }

    fn take_back(&mut self, _: StockId) -> Vec<Lot> {
        Vec::new()
    }

    fn set_adjacency(&mut self, _: AdjacencyId, _: Option<Adjacency>) {}

    fn restamp(&mut self, _: &[FlowKey], _: Generation) {}

    fn set_fence(&mut self, _: Generation) {}

    fn metered(&mut self, _meter: MeterId) -> Metered {
        Metered::default()
    }

    fn transmit(&mut self, _: Transmit) {}

    fn flush(&mut self) {}
}
