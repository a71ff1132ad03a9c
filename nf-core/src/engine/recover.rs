//! Flows that an earlier process left in the fast path. They kept moving while nobody was looking;
//! now each is walked once more, with its outcome known, so that every function claims what it had
//! claimed then. What cannot be explained under the snapshot in force is taken out.

use std::collections::BTreeMap;

use super::Engine;
use super::resume::Standing;
use crate::adjacency::Adjacency;
use crate::fast_path::{Direction, Entry, FastPath};
use crate::id::{AdjacencyId, FlowId};
use crate::neighbour::NextHop;
use crate::pipeline::FlowEnd;
use crate::time::Time;
use crate::tuple::FlowKey;

/// What an earlier process left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Filled slots.
    pub adjacencies: BTreeMap<AdjacencyId, Adjacency>,
    halves: BTreeMap<FlowId, Halves>,
    /// Entries whose number another entry has too.
    strays: Vec<FlowKey>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Halves {
    forward: Option<(FlowKey, Entry)>,
    reverse: Option<(FlowKey, Entry)>,
}

impl Recovered {
    /// Adds one entry that was found.
    pub fn add(&mut self, key: FlowKey, entry: Entry) {
        let halves = self.halves.entry(entry.flow).or_default();
        let half = match entry.direction {
            Direction::Forward => &mut halves.forward,
            Direction::Reverse => &mut halves.reverse,
        };
        if half.is_some() {
            self.strays.push(key);
        } else {
            *half = Some((key, entry));
        }
    }

    /// Flows that were found, whole or half.
    #[must_use]
    pub fn len(&self) -> usize {
        self.halves.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.halves.is_empty()
    }
}

impl Engine {
    /// Takes over what an earlier process left, once the snapshot is applied and the ports and
    /// environments are there. Returns how many flows go on.
    pub fn recover(
        &mut self,
        now: Time,
        recovered: Recovered,
        fast_path: &mut dyn FastPath,
    ) -> usize {
        let Recovered { adjacencies, halves, strays } = recovered;
        for key in strays {
            fast_path.remove(&key);
        }
        // A next hop that is new must not get a slot that entries still lead to: what they send
        // on meanwhile would go to somebody else.
        if let Some((last, _)) = adjacencies.last_key_value() {
            self.neighbours.keep_free(AdjacencyId(last.0.saturating_add(1)));
        }
        let mut kept = 0;
        for (id, halves) in halves {
            if self.recover_flow(now, id, &halves, &adjacencies, fast_path) {
                kept += 1;
                continue;
            }
            for (key, _) in [halves.forward, halves.reverse].into_iter().flatten() {
                fast_path.remove(&key);
            }
            self.counters.ended(FlowEnd::Policy);
        }
        self.neighbours.open_gaps();
        // Slots nobody leads to any more.
        for slot in adjacencies.keys() {
            if self.neighbours.resolved(*slot).is_none() {
                fast_path.set_adjacency(*slot, None);
            }
        }
        self.counters.flows_recovered += kept as u64;
        kept
    }

    fn recover_flow(
        &mut self,
        now: Time,
        id: FlowId,
        halves: &Halves,
        adjacencies: &BTreeMap<AdjacencyId, Adjacency>,
        fast_path: &mut dyn FastPath,
    ) -> bool {
        let (Some((forward, there)), Some((reverse, back))) = (halves.forward, halves.reverse)
        else {
            return false;
        };
        let is_one_flow = there.action.rewrite == reverse.tuple.reversed()
            && back.action.rewrite == forward.tuple.reversed();
        if !is_one_flow {
            return false;
        }
        // The MAC address an environment had is only known from where answers were sent.
        let back_mac = adjacencies.get(&back.action.adjacency).map(|a| a.dst_mac);
        let standing = Standing {
            id,
            forward,
            reverse,
            there: there.usage,
            back: back.usage,
            generation: there.generation.min(back.generation),
            forward_out: there.action.adjacency,
            reverse_out: back.action.adjacency,
            src_mac: back_mac.unwrap_or_default(),
            is_ours: false,
            held_macs: [there.src_mac, back.src_mac],
            tracking: there.tracking,
            meters: [there.meter, back.meter],
        };
        let mut find_slot = |engine: &mut Self, slot, port, hop, fast_path: &mut dyn FastPath| {
            engine.recovered_slot(now, slot, port, hop, adjacencies, fast_path)
        };
        self.resume(now, &standing, &mut find_slot, fast_path)
    }

    /// The slot of a next hop, the one it had before if possible.
    fn recovered_slot(
        &mut self,
        now: Time,
        slot: AdjacencyId,
        port: crate::id::PortId,
        hop: NextHop,
        adjacencies: &BTreeMap<AdjacencyId, Adjacency>,
        fast_path: &mut dyn FastPath,
    ) -> Option<AdjacencyId> {
        let (mac, mtu) = self.port_link(port)?;
        let old = adjacencies.get(&slot).filter(|old| old.port == port);
        let Some(old) = old else {
            return self.next_hop_slot(now, port, hop, fast_path);
        };
        let bound = self.neighbours.restore(now, slot, port, hop, old.dst_mac).ok()?;
        if let Some((_, dst_mac)) = self.neighbours.resolved(bound) {
            fast_path.set_adjacency(bound, Some(Adjacency { port, dst_mac, src_mac: mac, mtu }));
        }
        Some(bound)
    }
}
