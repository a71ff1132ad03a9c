//! Flows under a new snapshot. Every flow is walked again with what it holds; one that still comes
//! out the same stays and never loses a packet, one that does not ends at once. The work is done a
//! slice at a time between packets; when it is through, the fast path's fence rises, so that an
//! entry the sweep did not see can no longer forward.

use std::sync::Arc;

use super::Engine;
use super::flows::install;
use super::passage::Passages;
use super::walk::First;
use crate::fast_path::FastPath;
use crate::flow::Flow;
use crate::id::{AdjacencyId, FlowId};
use crate::neighbour::NextHop;
use crate::packet::MacAddr;
use crate::pipeline::{FlowEnd, Prior};
use crate::time::Time;
use crate::tuple::FlowKey;
use crate::vpc::Snapshot;

/// Flows looked at in one call.
const SLICE: u32 = 2048;

/// Where both directions of a flow leave, and the interfaces it passes.
struct Ways {
    forward_out: AdjacencyId,
    reverse_out: AdjacencyId,
    passages: Passages,
}

/// How far a sweep has come.
#[derive(Debug)]
pub(super) struct Sweep {
    next: u32,
}

impl Engine {
    /// Takes over a new desired state. New flows go by it from now on; flows that exist are looked
    /// at by the next calls of [`Engine::advance`].
    pub fn apply_snapshot(
        &mut self,
        now: Time,
        snapshot: &Arc<Snapshot>,
        fast_path: &mut dyn FastPath,
    ) {
        self.close_all_classes(now, fast_path);
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        for function in &mut self.functions {
            function.apply_snapshot(now, snapshot);
        }
        for (address, _) in before.own_addresses() {
            if snapshot.public_address(address).is_none() {
                fast_path.set_own_address(address, false);
            }
        }
        for (address, _) in snapshot.own_addresses() {
            fast_path.set_own_address(address, true);
        }
        self.resolve_ports(fast_path);
        self.ledger.apply_snapshot(now, snapshot);
        self.sweep = Some(Sweep { next: 0 });
    }

    /// Does the next slice of a sweep, if there is one.
    pub(super) fn continue_sweep(&mut self, now: Time, fast_path: &mut dyn FastPath) {
        let Some(sweep) = &self.sweep else { return };
        let end = sweep.next.saturating_add(SLICE).min(self.flows.slots());
        let mut right = Vec::new();
        for id in sweep.next..end {
            self.revalidate_into(now, FlowId(id), &mut right, fast_path);
        }
        fast_path.restamp(&right, self.snapshot.generation());
        if end == self.flows.slots() {
            fast_path.set_fence(self.snapshot.generation());
            self.ledger.tidy_up();
            self.sweep = None;
        } else {
            self.sweep = Some(Sweep { next: end });
        }
    }

    /// Looks at one flow whose packet came with an entry older than the fence; whether it is
    /// still there.
    pub(super) fn revalidate(
        &mut self,
        now: Time,
        id: FlowId,
        fast_path: &mut dyn FastPath,
    ) -> bool {
        let mut right = Vec::new();
        self.revalidate_into(now, id, &mut right, fast_path);
        fast_path.restamp(&right, self.snapshot.generation());
        self.flows.get(id).is_some()
    }

    /// Ends a flow that the snapshot in force has no room for; adds the keys of one that may stay
    /// as it is; reinstalls one that goes on another way.
    fn revalidate_into(
        &mut self,
        now: Time,
        id: FlowId,
        right: &mut Vec<FlowKey>,
        fast_path: &mut dyn FastPath,
    ) {
        let Some(flow) = self.flows.get(id) else { return };
        let Some(ways) = self.ways_today(now, &flow, fast_path) else {
            self.end_flow(now, id, FlowEnd::Policy, fast_path);
            return;
        };
        let Ways { forward_out, reverse_out, passages } = ways;
        self.log_goes_on(now, id, &flow, &passages, fast_path);
        self.counters.flows_revalidated += 1;
        let today =
            Flow { generation: self.snapshot.generation(), forward_out, reverse_out, ..flow };
        self.flows.revalidated(id, today.generation, forward_out, reverse_out);
        if (forward_out, reverse_out) == (flow.forward_out, flow.reverse_out) {
            right.extend([flow.forward, flow.reverse]);
            return;
        }
        for (new, old) in [(forward_out, flow.forward_out), (reverse_out, flow.reverse_out)] {
            self.neighbours.hold(new);
            self.neighbours.let_go(old);
        }
        let forward = fast_path.usage(&flow.forward).unwrap_or_default();
        let reverse = fast_path.usage(&flow.reverse).unwrap_or_default();
        install(id, &today, forward, reverse, fast_path);
    }

    /// Where both directions of a flow leave under the snapshot in force, or `None` if it has no
    /// room for the flow. Addresses are a promise to both ends, and ports are part of the keys: if
    /// either would be others now, the flow cannot go on.
    fn ways_today(&mut self, now: Time, flow: &Flow, fast_path: &mut dyn FastPath) -> Option<Ways> {
        let outcome = flow.reverse.tuple.reversed();
        let client = flow.forward.tuple.src.ip();
        let port = self.ports.get(flow.forward.port)?;
        let role = port.role;
        let back = match self.way_back(port, client, MacAddr::default()) {
            // How an environment is reached, or a host beyond a link without a router, was learnt
            // from its packets, not from a snapshot.
            NextHop::Mac(mac) if mac == MacAddr::default() => None,
            hop => Some(hop),
        };
        if !self.may_be_from(role, client) {
            return None;
        }
        let first = First::long_ago(flow.forward.tuple);
        let walked =
            self.walk(now, role, first, Some(Prior { outcome }), Some(flow.claims)).ok()?;
        let same = walked.tuple == outcome
            && walked.port == flow.reverse.port
            && walked.claims == flow.claims;
        if !same {
            return None;
        }
        let forward_out = self.next_hop_slot(now, walked.port, walked.hop, fast_path)?;
        let reverse_out = match back {
            Some(hop) => self.next_hop_slot(now, flow.forward.port, hop, fast_path)?,
            None => flow.reverse_out,
        };
        Some(Ways { forward_out, reverse_out, passages: walked.passages })
    }
}
