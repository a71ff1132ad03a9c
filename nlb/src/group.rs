//! A target group: its targets and their health, and the Maglev table that new flows are spread
//! by.
//!
//! The table holds the healthy targets. When none is, it holds all of them: a health check that
//! fails everywhere is more likely wrong itself, so the group fails open, as AWS's does.

use std::net::SocketAddr;
use std::time::Duration;

use nf_core::maglev::{Backend, HashSeed, MaglevTable, TableSize, flow_hash};
use nf_core::time::Time;
use nf_core::tuple::Tuple;
use nf_core::vpc::id::{ResourceId as _, TargetGroupName};
use nf_core::vpc::{HealthCheck, TargetGroup};

use crate::health::{Prober, Source};
use crate::{TargetState, TargetView};

/// One target group.
pub(crate) struct Group {
    seed: HashSeed,
    check: Option<HealthCheck>,
    source: Option<Source>,
    targets: Vec<Target>,
    /// No target is healthy, so all of them serve.
    fail_open: bool,
    table: Option<MaglevTable>,
    /// Targets or their health have changed since the table was built. The next new flow has it built
    /// anew: when a thousand targets become healthy in a row, that happens once.
    stale: bool,
    /// When the first of the targets is due.
    due: Time,
}

/// One target.
pub(crate) struct Target {
    address: SocketAddr,
    weight: u32,
    state: TargetState,
    /// Probes in a row that ended otherwise than the state says.
    contrary: u32,
    next_probe: Time,
    active_flows: u64,
    flows_total: u64,
}

impl Target {
    /// Whether it can answer this client: of its family, and not itself.
    fn suits(&self, tuple: &Tuple) -> bool {
        self.address.is_ipv4() == tuple.is_ipv4() && self.address.ip() != tuple.src.ip()
    }

    pub(crate) fn view(&self, group: &TargetGroupName) -> TargetView {
        TargetView {
            group: group.clone(),
            target: self.address,
            state: self.state,
            active_flows: self.active_flows,
            flows_total: self.flows_total,
        }
    }
}

impl Group {
    pub(crate) fn new(name: &TargetGroupName) -> Self {
        // Every node spreads a group's flows alike, and no two groups alike.
        const NAMES: HashSeed = HashSeed { k0: 0x6861_6c66_7370_6163, k1: 0x7461_7267_6574_7300 };
        let k0 = NAMES.hash(name.as_str().as_bytes());
        let k1 = HashSeed { k0, ..NAMES }.hash(name.as_str().as_bytes());
        Self {
            seed: HashSeed { k0, k1 },
            check: None,
            source: None,
            targets: Vec::new(),
            fail_open: true,
            table: None,
            stale: true,
            due: Time::default(),
        }
    }

    /// Takes over what the desired state says; targets that stay keep their health.
    pub(crate) fn configure(&mut self, now: Time, config: &TargetGroup, source: Option<Source>) {
        let mut before = std::mem::take(&mut self.targets);
        for target in &config.targets {
            let address = SocketAddr::new(target.ip, target.port);
            let known = before.iter().position(|known| known.address == address);
            let mut kept = match known {
                Some(at) => before.swap_remove(at),
                None => Target {
                    address,
                    weight: target.weight,
                    state: TargetState::Initial,
                    contrary: 0,
                    next_probe: now,
                    active_flows: 0,
                    flows_total: 0,
                },
            };
            kept.weight = target.weight;
            kept.state = match (kept.state, &source) {
                (_, None) => TargetState::Unused,
                (TargetState::Unused, Some(_)) => TargetState::Initial,
                (state, Some(_)) => state,
            };
            self.targets.push(kept);
        }
        self.check = Some(config.health_check.clone());
        self.source = source;
        self.due = now;
        self.stale = true;
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter()
    }

    /// Whether an address and port is one of the group's targets, healthy or not.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.targets.iter().any(|target| target.address == address)
    }

    /// The target of a new flow. A client that is a target itself is never sent to itself: its
    /// packets would come back with its own address as their source.
    pub(crate) fn pick(&mut self, tuple: &Tuple, tcp_sequence: u32) -> Option<SocketAddr> {
        if std::mem::take(&mut self.stale) {
            self.rebuild();
        }
        let hash = flow_hash(self.seed, tuple, tcp_sequence);
        let first = &self.targets[self.table.as_ref()?.lookup(hash)?];
        if first.suits(tuple) {
            return Some(first.address);
        }
        let others: Vec<_> =
            self.targets.iter().filter(|it| self.share(it) > 0 && it.suits(tuple)).collect();
        let at = hash.checked_rem(others.len() as u64)?;
        Some(others[at as usize].address)
    }

    pub(crate) fn flow_opened(&mut self, address: SocketAddr) {
        if let Some(target) = self.targets.iter_mut().find(|target| target.address == address) {
            target.active_flows += 1;
            target.flows_total += 1;
        }
    }

    pub(crate) fn flow_closed(&mut self, address: SocketAddr) {
        if let Some(target) = self.targets.iter_mut().find(|target| target.address == address) {
            target.active_flows = target.active_flows.saturating_sub(1);
        }
    }

    /// Starts the probes that are due.
    pub(crate) fn start_probes(&mut self, now: Time, name: &TargetGroupName, prober: &mut Prober) {
        let (Some(check), Some(source)) = (&self.check, &self.source) else { return };
        if self.due > now {
            return;
        }
        for target in self.targets.iter_mut().filter(|target| target.next_probe <= now) {
            let port = check.port.map_or(target.address.port(), Into::into);
            let to = SocketAddr::new(target.address.ip(), port);
            prober.start(now, name, target.address, to, source, check.timeout);
            target.next_probe = now + check.interval;
        }
        let first = self.targets.iter().map(|target| target.next_probe).min();
        self.due = first.unwrap_or(now + check.interval);
    }

    /// When the next probe is due.
    pub(crate) fn next_probe(&self) -> Option<Time> {
        let probes = self.source.is_some() && !self.targets.is_empty();
        probes.then_some(self.due)
    }

    /// A probe ended.
    pub(crate) fn probed(&mut self, now: Time, address: SocketAddr, passed: bool) {
        let Some(check) = &self.check else { return };
        let Some(target) = self.targets.iter_mut().find(|target| target.address == address) else {
            return;
        };
        let before = target.state;
        let agrees = match before {
            TargetState::Healthy => passed,
            TargetState::Unhealthy => !passed,
            TargetState::Initial | TargetState::Unused => false,
        };
        target.contrary = if agrees { 0 } else { target.contrary + 1 };
        let threshold = match before {
            // A new target is in service after one passed probe, whatever the threshold.
            TargetState::Initial if passed => 1,
            _ if passed => check.healthy_threshold,
            _ => check.unhealthy_threshold,
        };
        if !agrees && target.contrary >= threshold {
            target.state = if passed { TargetState::Healthy } else { TargetState::Unhealthy };
            target.contrary = 0;
        } else if !passed && before == TargetState::Healthy {
            // The first failure is asked about again soon, not an interval later.
            target.next_probe = target.next_probe.min(now + Duration::from_secs(1));
            self.due = self.due.min(target.next_probe);
        }
        self.stale |= target.state != before;
    }

    fn rebuild(&mut self) {
        self.fail_open = !self.targets.iter().any(|it| it.state == TargetState::Healthy);
        let ids: Vec<_> = self.targets.iter().map(|target| id(target.address)).collect();
        let backends: Vec<_> = self
            .targets
            .iter()
            .zip(&ids)
            .map(|(target, id)| Backend { id, weight: self.share(target) })
            .collect();
        // The snapshot bounds the number of targets and has no two alike, so this cannot fail.
        self.table = MaglevTable::build(TableSize::default(), self.seed, &backends).ok();
    }

    /// A target's share of new flows.
    fn share(&self, target: &Target) -> u32 {
        let serves = self.fail_open || target.state == TargetState::Healthy;
        if serves { target.weight } else { 0 }
    }
}

/// The name of a target on every node: address and port in network order.
fn id(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    let mut id = [0; 18];
    id[..16].copy_from_slice(&ip.octets());
    id[16..].copy_from_slice(&address.port().to_be_bytes());
    id
}
