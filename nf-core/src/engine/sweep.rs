//! Flows under a new snapshot. Every flow is walked again with what it holds; one that still comes
//! out the same stays and never loses a packet, one that does not ends at once. The work is done a
//! slice at a time between packets; when it is through, the fast path's fence rises, so that an
//! entry the sweep did not see can no longer forward.

use std::sync::Arc;

use super::Engine;
use super::passage::Passages;
use super::public::is_reached;
use super::walk::First;
use crate::fast_path::FastPath;
use crate::flow::Flow;
use crate::id::FlowId;
use crate::neighbour::NextHop;
use crate::packet::MacAddr;
use crate::pipeline::{FlowEnd, Prior};
use crate::time::Time;
use crate::tuple::FlowKey;
use crate::vpc::Snapshot;

/// Flows looked at in one call.
const SLICE: u32 = 2048;

/// How far a sweep has come.
#[derive(Debug)]
pub(super) struct Sweep {
    next: u32,
}

impl Engine {
    /// Takes over a new desired state. New flows go by it from now on, and so do flows of interfaces
    /// that have moved to other ports; all others are looked at by the next calls of
    /// [`Engine::advance`].
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
            if !is_reached(snapshot, address) {
                fast_path.set_own_address(address, false);
            }
        }
        for (address, _) in snapshot.own_addresses() {
            fast_path.set_own_address(address, true);
        }
        self.groups.follow(snapshot);
        self.ledger.apply_snapshot(now, snapshot);
        let changed = self.resolve_ports(&before, fast_path);
        for port in &changed {
            self.forget_fragments(port.port);
        }
        self.follow_interfaces(now, &changed, fast_path);
        self.sweep = Some(Sweep { next: 0 });
    }

    /// Does the next slice of a sweep, if there is one.
    pub(super) fn continue_sweep(&mut self, now: Time, fast_path: &mut dyn FastPath) {
        let Some(sweep) = &self.sweep else { return };
        let end = sweep.next.saturating_add(SLICE).min(self.flows.slots());
        let mut right = Vec::new();
        for id in sweep.next..end {
            self.revalidate_into(now, FlowId(id), Some(&mut right), fast_path);
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
        self.revalidate_into(now, id, Some(&mut right), fast_path);
        fast_path.restamp(&right, self.snapshot.generation());
        self.flows.get(id).is_some()
    }

    /// Ends a flow that the snapshot in force has no room for; adds the keys of one that may stay
    /// as it is; reinstalls one that goes on another way. Without a place for the keys, one that may
    /// stay is reinstalled as well.
    pub(super) fn revalidate_into(
        &mut self,
        now: Time,
        id: FlowId,
        right: Option<&mut Vec<FlowKey>>,
        fast_path: &mut dyn FastPath,
    ) {
        let Some(flow) = self.flows.get(id) else { return };
        let Some((today, passages)) = self.flow_today(now, &flow, fast_path) else {
            self.end_flow(now, id, FlowEnd::Policy, fast_path);
            return;
        };
        self.log_goes_on(now, id, &flow, &passages, fast_path);
        self.counters.flows_revalidated += 1;
        self.flows.revalidated(id, &today);
        let entries = |it: &Flow| (it.forward_out, it.reverse_out, it.tracking);
        if let Some(right) = right.filter(|_| entries(&today) == entries(&flow)) {
            right.extend([flow.forward, flow.reverse]);
            return;
        }
        for (new, old) in
            [(today.forward_out, flow.forward_out), (today.reverse_out, flow.reverse_out)]
        {
            self.neighbours.hold(new);
            self.neighbours.let_go(old);
        }
        let forward = fast_path.usage(&flow.forward).unwrap_or_default();
        let reverse = fast_path.usage(&flow.reverse).unwrap_or_default();
        self.install(id, &today, forward, reverse, fast_path);
    }

    /// A flow as it is under the snapshot in force, and the interfaces it passes, or `None` if that
    /// has no room for it. Addresses are a promise to both ends, and ports are part of the keys: if
    /// either would be others now, the flow cannot go on.
    fn flow_today(
        &mut self,
        now: Time,
        flow: &Flow,
        fast_path: &mut dyn FastPath,
    ) -> Option<(Flow, Passages)> {
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
        let first = First::long_ago(flow.forward);
        let prior = Prior { is_new: false, outcome, tracking: flow.tracking };
        let walked = self.walk(now, role, first, Some(prior), Some(flow.claims)).ok()?;
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
        let (generation, tracking) = (self.snapshot.generation(), walked.tracking);
        let today = Flow { forward_out, reverse_out, tracking, generation, ..*flow };
        Some((today, walked.passages))
    }
}
