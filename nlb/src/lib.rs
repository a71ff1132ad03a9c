//! The network load balancer: flows to a listener go to one target of its group for as long as
//! they live, with the client's address kept.
//!
//! | file | idea |
//! | --- | --- |
//! | `group` | a target group: who is in it, who is healthy, who gets a new flow |
//! | `health` | TCP health checks over the gateway's own data path |

#![forbid(unsafe_code)]

mod group;
mod health;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nf_core::flow::Timeouts;
use nf_core::pipeline::{Claim, FlowEnd, Function, Originated, Passed, Refusal, Walk};
use nf_core::slots::Slots;
use nf_core::time::Time;
use nf_core::tuple::Protocol;
use nf_core::verdict::Drop;
use nf_core::vpc::id::TargetGroupName;
use nf_core::vpc::{EniIx, InterfaceType, Listener, LoadBalancer, Owner, Snapshot, TargetGroupIx};

use group::Group;
use health::{Outcome, Prober};

/// The state of a target: `TargetHealth.State` of the load balancing API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetState {
    /// Not yet probed to an end.
    Initial,
    /// It passes its health checks.
    Healthy,
    /// It does not.
    Unhealthy,
    /// No load balancer uses its group, so it is not probed.
    Unused,
}

impl TargetState {
    /// The API's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unused => "unused",
        }
    }
}

/// One target, for listings and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetView {
    /// Its group.
    pub group: TargetGroupName,
    /// Address and port (host byte order).
    pub target: SocketAddr,
    /// Its state.
    pub state: TargetState,
    /// Flows it has now.
    pub active_flows: u64,
    /// Flows it was ever given, those taken over included.
    pub flows_total: u64,
}

/// All load balancers and target groups.
pub struct Nlb {
    /// In order: which group probes first decides what random numbers it draws.
    groups: BTreeMap<TargetGroupName, Group>,
    claims: Slots<Held>,
    prober: Prober,
}

/// What a flow holds: one of the flows its target has.
struct Held {
    group: TargetGroupName,
    target: SocketAddr,
}

const _: () = assert!(Slots::<Held>::SIZE == 48, "a million flows feel every byte");

impl Nlb {
    /// None yet; `seed` decides the numbers of probes' ports and sequences.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { groups: BTreeMap::new(), claims: Slots::new(), prober: Prober::new(seed) }
    }

    /// Every target of every group, by group and target.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetView> {
        let mut views: Vec<_> = self
            .groups
            .iter()
            .flat_map(|(name, group)| group.targets().map(|target| target.view(name)))
            .collect();
        views.sort_by(|a, b| (&a.group, a.target).cmp(&(&b.group, b.target)));
        views
    }

    /// The target for a new flow, or the one a flow that exists already has.
    fn choose(
        &mut self,
        walk: &Walk<'_>,
        name: &TargetGroupName,
        held: Option<Claim>,
    ) -> Result<(Claim, SocketAddr), Drop> {
        let group = self.groups.get_mut(name).ok_or(Drop::NoTarget)?;
        if let Some(claim) = held {
            let held = self.claims.get(claim.0).ok_or(Drop::NoTarget)?;
            let still = held.group == *name && group.has(held.target);
            return if still { Ok((claim, held.target)) } else { Err(Drop::NoTarget) };
        }
        let target = match walk.prior {
            // A load balancer is the last to change a destination, so the outcome's is the target.
            Some(prior) => Some(prior.outcome.dst).filter(|target| group.has(*target)),
            None => group.pick(&walk.tuple, walk.tcp_sequence),
        };
        let target = target.ok_or(Drop::NoTarget)?;
        let claim =
            self.claims.insert(Held { group: name.clone(), target }).ok_or(Drop::NoTarget)?;
        group.flow_opened(target);
        Ok((Claim(claim), target))
    }
}

impl Function for Nlb {
    fn interface_type(&self) -> InterfaceType {
        InterfaceType::NetworkLoadBalancer
    }

    fn apply_snapshot(&mut self, now: Time, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.groups);
        for (ix, config) in snapshot.target_groups() {
            let mut group = before.remove(&config.name).unwrap_or_else(|| Group::new(&config.name));
            group.configure(now, config, probing_eni(snapshot, ix, config.vpc));
            self.groups.insert(config.name.clone(), group);
        }
        self.prober.forget_all();
    }

    fn enter(
        &mut self,
        walk: &mut Walk<'_>,
        eni: EniIx,
        held: Option<Claim>,
    ) -> Result<Passed, Refusal> {
        let view = walk.snapshot.eni(eni);
        let Owner::LoadBalancer(ix) = view.owner else {
            return Err(Refusal::Drop(Drop::NoDestination));
        };
        let dst = walk.tuple.dst;
        let addressed = view.has_address(dst.ip())
            || view.public_ips.iter().any(|public| public.public_ip == dst.ip());
        let load_balancer = walk.snapshot.load_balancer(ix);
        let listener = load_balancer.listener(walk.tuple.protocol, dst.port());
        // "Unintended" traffic is dropped without an answer, as AWS does.
        let listener = listener.filter(|_| addressed).ok_or(Refusal::Drop(Drop::NoListener))?;
        if walk.is_late_tcp() {
            return Err(Refusal::Reset(Drop::NoFlow));
        }
        let group = walk.snapshot.target_group(listener.target_group).name.clone();
        let (claim, target) = self.choose(walk, &group, held).map_err(Refusal::Drop)?;
        walk.tuple.dst = target;
        walk.timeouts = timeouts(listener);
        Ok(Passed { claim, next: view.subnet })
    }

    fn release(&mut self, _now: Time, claim: Claim, _end: FlowEnd) {
        let Some(held) = self.claims.remove(claim.0) else { return };
        if let Some(group) = self.groups.get_mut(&held.group) {
            group.flow_closed(held.target);
        }
    }

    fn receive(&mut self, now: Time, eni: EniIx, frame: &[u8]) -> bool {
        let Some(answer) = self.prober.receive(eni, frame) else { return false };
        self.judge(now, &answer);
        true
    }

    fn advance(&mut self, now: Time, send: &mut Vec<Originated>) {
        for lost in self.prober.expire(now) {
            self.judge(now, &lost);
        }
        for (name, group) in &mut self.groups {
            group.start_probes(now, name, &mut self.prober);
        }
        self.prober.take_frames(send);
    }

    fn next_deadline(&self) -> Option<Time> {
        let probes = self.groups.values().filter_map(Group::next_probe);
        probes.chain(self.prober.next_deadline()).min()
    }
}

impl Nlb {
    fn judge(&mut self, now: Time, outcome: &Outcome) {
        if let Some(group) = self.groups.get_mut(&outcome.group) {
            group.probed(now, outcome.target, outcome.passed);
        }
    }
}

/// An ENI to probe a group's targets from: of a load balancer that forwards to the group.
fn probing_eni(
    snapshot: &Snapshot,
    group: TargetGroupIx,
    vpc: nf_core::vpc::VpcIx,
) -> Option<health::Source> {
    let uses = |lb: &&LoadBalancer| lb.listeners.iter().any(|it| it.target_group == group);
    let lb = snapshot.load_balancers().map(|(_, lb)| lb).filter(uses).find(|lb| lb.vpc == vpc)?;
    let node = lb.nodes.first()?;
    Some(health::Source { eni: node.eni, addresses: snapshot.eni(node.eni).addresses().collect() })
}

fn timeouts(listener: &Listener) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if listener.protocol == Protocol::Tcp {
        timeouts.tcp_established = listener.idle_timeout;
    } else {
        timeouts.udp = listener.idle_timeout;
        timeouts.udp_stream = listener.idle_timeout;
    }
    // "Instances must respond to a new request within 30 seconds in order to establish a return
    // path."
    timeouts.tcp_opening = std::time::Duration::from_secs(30);
    timeouts
}
