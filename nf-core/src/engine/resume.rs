//! Taking over a flow whose entries stand in the fast path already: an earlier process has left
//! them, or the fast path has made them itself. It is walked as its first packet would be, with its
//! outcome known, so that every function claims exactly what the entries show.

use super::Engine;
use super::walk::First;
use crate::fast_path::{Direction, FastPath, MeterId, Usage};
use crate::flow::{Flow, Phase, Tracking};
use crate::id::{AdjacencyId, FlowId, Generation, PortId};
use crate::neighbour::NextHop;
use crate::packet::MacAddr;
use crate::pipeline::{FlowEnd, Prior};
use crate::time::Time;
use crate::tuple::FlowKey;

/// A flow as its entries show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub id: FlowId,
    pub forward: FlowKey,
    pub reverse: FlowKey,
    /// What went through, each way.
    pub there: Usage,
    pub back: Usage,
    /// The snapshot that the entries are stamped with.
    pub generation: Generation,
    pub forward_out: AdjacencyId,
    pub reverse_out: AdjacencyId,
    /// The MAC address that its packets come from; the default, if that is not known.
    pub src_mac: MacAddr,
    /// Whether it began under this process, not under an earlier one.
    pub is_ours: bool,
    /// What the entries hold packets to, each way.
    pub held_macs: [Option<MacAddr>; 2],
    /// What the entries say is tracked.
    pub tracking: Tracking,
    /// What the entries are counted under, each way.
    pub meters: [MeterId; 2],
}

/// Finds the slot of a next hop that entries name by the slot given.
pub(super) type FindSlot<'a> = &'a mut dyn FnMut(
    &mut Engine,
    AdjacencyId,
    PortId,
    NextHop,
    &mut dyn FastPath,
) -> Option<AdjacencyId>;

impl Engine {
    /// Takes a flow over; whether the snapshot in force has room for it. If not, its entries are
    /// the caller's to remove.
    pub(super) fn resume(
        &mut self,
        now: Time,
        standing: &Standing,
        find_slot: FindSlot<'_>,
        fast_path: &mut dyn FastPath,
    ) -> bool {
        let Standing { id, forward, reverse, there, back, .. } = *standing;
        let Some(port) = self.ports.get(forward.port) else { return false };
        let role = port.role;
        let back_hop = self.way_back(port, forward.tuple.src.ip(), standing.src_mac);
        let unknown = back_hop == NextHop::Mac(MacAddr::default());
        if unknown || !self.may_be_from(role, forward.tuple.src.ip()) {
            return false;
        }
        let outcome = reverse.tuple.reversed();
        let first = First::long_ago(forward);
        let prior = Prior { is_new: standing.is_ours, outcome, tracking: standing.tracking };
        let Ok(walked) = self.walk(now, role, first, Some(prior), None) else {
            return false;
        };
        let refuse = |engine: &mut Self| {
            engine.release(now, walked.claims, FlowEnd::Policy);
            false
        };
        if walked.tuple != outcome || walked.port != reverse.port {
            return refuse(self);
        }
        let forward_out = find_slot(self, standing.forward_out, walked.port, walked.hop, fast_path);
        let reverse_out = find_slot(self, standing.reverse_out, forward.port, back_hop, fast_path);
        let (Some(forward_out), Some(reverse_out)) = (forward_out, reverse_out) else {
            return refuse(self);
        };
        let flow = Flow {
            forward,
            reverse,
            forward_out,
            reverse_out,
            claims: walked.claims,
            timeouts: walked.timeouts,
            tracking: walked.tracking,
            generation: self.snapshot.generation(),
            since: now,
        };
        if self.flows.insert_at(id, &flow).is_err() {
            return refuse(self);
        }
        for (direction, usage) in [(Direction::Forward, &there), (Direction::Reverse, &back)] {
            self.flows.note_tcp_flags(id, direction, usage.tcp_flags);
        }
        if standing.is_ours {
            self.log_begun(now, id, &flow, &walked.passages);
            self.log_tcp_flags(id, Direction::Forward, there.tcp_flags);
        } else {
            self.log_taken_over(now, id, &flow, &walked.passages, [there, back]);
        }
        self.neighbours.hold(forward_out);
        self.neighbours.hold(reverse_out);
        let held_macs = [forward.port, reverse.port].map(|port| self.held_mac(port));
        let meters = [Direction::Forward, Direction::Reverse].map(|way| self.meter_of(&flow, way));
        let as_they_stand = (forward_out, reverse_out, flow.tracking, held_macs, meters)
            == (
                standing.forward_out,
                standing.reverse_out,
                standing.tracking,
                standing.held_macs,
                standing.meters,
            );
        if !as_they_stand {
            // The usage may have grown since it was read.
            let there = fast_path.usage(&forward).unwrap_or(there);
            let back = fast_path.usage(&reverse).unwrap_or(back);
            self.install(id, &flow, there, back, fast_path);
        } else if flow.generation != standing.generation {
            fast_path.restamp(&[forward, reverse], flow.generation);
        }
        let phase = Phase::of(forward.tuple.protocol, &there, &back);
        let last_seen = there.last_seen.resolve(now).max(back.last_seen.resolve(now));
        let look = phase.look_after(forward.tuple.protocol, &flow.timeouts);
        self.wheel.arm(id.0, (last_seen + look).max(now));
        true
    }
}
