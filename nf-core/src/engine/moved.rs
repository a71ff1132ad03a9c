//! Interfaces that move: to another port, or away from all. Their flows are looked at before all
//! others, so that the next packet goes where the interface is now and waits for no sweep.
//!
//! A flow cannot go along, because its ports are part of its keys. So it ends, and its next packet
//! makes a new one. What meets the old entries until they are gone already goes the new way: their
//! adjacency is rewritten first, one slot for all of them.

use std::collections::{HashMap, HashSet};

use super::Engine;
use super::ports::Changed;
use crate::fast_path::FastPath;
use crate::id::{FlowId, PortId};
use crate::neighbour::NextHop;
use crate::packet::MacAddr;
use crate::time::Time;
use crate::tuple::FlowKey;
use crate::vpc::{EniIx, Snapshot};

/// An interface that is behind another port than before.
struct Moved {
    from: PortId,
    to: PortId,
    mac: MacAddr,
}

impl Engine {
    /// Does what a snapshot's other use of ports asks for at once.
    pub(super) fn follow_interfaces(
        &mut self,
        now: Time,
        changed: &[Changed],
        fast_path: &mut dyn FastPath,
    ) {
        if changed.is_empty() || self.flows.is_empty() {
            return;
        }
        let snapshot = self.snapshot.clone();
        let moved = moved(changed, &snapshot);
        let slots: Vec<_> = moved
            .iter()
            .filter_map(|it| Some((self.neighbours.find(it.from, NextHop::Mac(it.mac))?, it)))
            .collect();
        for (slot, Moved { to, mac, .. }) in &slots {
            fast_path.set_adjacency(*slot, self.adjacency(*to, *mac));
        }
        self.revalidate_flows_of(now, changed, &snapshot, fast_path);
        // No entry names them any more, but whoever comes behind the old port may have the same MAC
        // address.
        for (slot, Moved { from, mac, .. }) in &slots {
            fast_path.set_adjacency(*slot, self.adjacency(*from, *mac));
        }
    }

    fn revalidate_flows_of(
        &mut self,
        now: Time,
        changed: &[Changed],
        snapshot: &Snapshot,
        fast_path: &mut dyn FastPath,
    ) {
        let ports: HashSet<PortId> = changed.iter().map(|it| it.port).collect();
        // Before, an interface may have been reached over its subnet's segment.
        let segment = |eni: EniIx| {
            let name = snapshot.subnet(snapshot.eni(eni).subnet).port.as_deref()?;
            Some((self.ports.named(name)?, eni))
        };
        let segments: Vec<_> =
            changed.iter().filter_map(|it| it.came).filter_map(segment).collect();
        let meant: HashSet<PortId> =
            ports.iter().copied().chain(segments.iter().map(|(port, _)| *port)).collect();
        let flows: Vec<FlowId> = self.flows.on_ports(|port| meant.contains(&port)).collect();
        let is_meant = |key: &FlowKey| {
            let was_at = |(port, eni): &(PortId, EniIx)| {
                *port == key.port && snapshot.eni(*eni).has_address(key.tuple.src.ip())
            };
            ports.contains(&key.port) || segments.iter().any(was_at)
        };
        for id in flows {
            let Some(flow) = self.flows.get(id) else { continue };
            if is_meant(&flow.forward) || is_meant(&flow.reverse) {
                // Without a place for keys: its entries may hold packets to the MAC address of
                // before.
                self.revalidate_into(now, id, None, fast_path);
            }
        }
    }
}

/// Interfaces with a known MAC address that have gone from one of these ports to another.
fn moved(changed: &[Changed], snapshot: &Snapshot) -> Vec<Moved> {
    let left: HashMap<_, _> =
        changed.iter().filter_map(|it| Some((it.left.as_ref()?, it.port))).collect();
    let moved = |it: &Changed| {
        let eni = snapshot.eni(it.came?);
        let (from, to, mac) = (*left.get(&eni.id)?, it.port, eni.mac?);
        (from != to).then_some(Moved { from, to, mac })
    };
    changed.iter().filter_map(moved).collect()
}
