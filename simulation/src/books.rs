//! What the flow logs ought to have told, by the counters of all flows that there were.
//!
//! Every frame of an instance's own port passes the instance's interface, so what the flows of such
//! a port have counted is what records of its interface add up to.

use std::collections::{BTreeMap, BTreeSet};

use nf_core::engine::FlowView;
use nf_core::fast_path::Direction;
use nf_core::flow::Flow;
use nf_core::flow_log::Action;
use nf_core::id::FlowId;
use nf_core::testing::World;
use nf_core::vpc::{AggregationInterval, TrafficDirection};

use crate::judge::{self, Broken, must};

/// The instances with ports of their own: interface and port.
const INSTANCES: [(&str, &str); 2] = [("eni-0i1", "t0i1"), ("eni-1i1", "t1i1")];

/// Packets and bytes.
type Sum = [u64; 2];

/// By interface and direction.
type Sums = BTreeMap<(&'static str, TrafficDirection), Sum>;

/// The books of one process.
#[derive(Debug, Default)]
pub(crate) struct Books {
    open: BTreeMap<FlowId, Open>,
    /// By flows that have ended.
    expected: Sums,
    told: Sums,
    /// Records seen, of whatever interface.
    pub(crate) records: u64,
}

/// A flow that goes on.
#[derive(Clone, Debug)]
struct Open {
    flow: Flow,
    /// The interfaces that its packets pass, each with the way that those of the forward direction
    /// do.
    passed: Vec<(&'static str, TrafficDirection)>,
    /// Of which records need not tell, and what it has counted; by direction.
    before: [Sum; 2],
    counted: [Sum; 2],
}

impl Books {
    /// A process starts: what its flows have counted already is not its to tell.
    pub(crate) fn take_over(&mut self, world: &mut World) {
        *self = Self { records: self.records, ..Self::default() };
        self.observe(world);
        for open in self.open.values_mut() {
            open.before = open.counted;
        }
    }

    /// Looks at every flow, after each step.
    pub(crate) fn observe(&mut self, world: &mut World) {
        self.listen(world);
        let flows = judge::flows(world);
        let there: BTreeSet<_> = flows.iter().map(|view| view.id).collect();
        let gone: Vec<_> = self.open.keys().filter(|id| !there.contains(id)).copied().collect();
        for id in gone {
            self.close(id);
        }
        for view in flows {
            let counted = counts(&view);
            let is_another = self.open.get(&view.id).is_some_and(|open| {
                let is_less = open.counted.as_flattened().iter().zip(counted.as_flattened());
                let keys = |flow: &Flow| (flow.forward, flow.reverse, flow.since);
                keys(&open.flow) != keys(&view.flow) || is_less.into_iter().any(|(a, b)| b < a)
            });
            if is_another {
                self.close(view.id);
            }
            let open = self.open.entry(view.id).or_insert_with(|| Open {
                flow: view.flow,
                passed: passed(&view.flow, world),
                before: Default::default(),
                counted,
            });
            open.counted = counted;
        }
    }

    /// Closes every window, as a process does that ends by itself, and compares.
    pub(crate) fn balance(&mut self, world: &mut World) -> Result<(), Broken> {
        self.observe(world);
        let World { engine, path, now, .. } = world;
        engine.flow_logs_mut().close_early(*now);
        while engine.continue_flow_logs(*now, path) {}
        self.listen(world);
        let mut expected = self.expected.clone();
        for open in self.open.values() {
            open.add_to(&mut expected);
        }
        let told = &self.told;
        must!(*told == expected, "flow logs tell of {told:?}, and flows have {expected:?}");
        Ok(())
    }

    /// Forgets what the records tell that there are; whether there was anything to forget.
    pub(crate) fn lose_records(&mut self, world: &mut World) -> bool {
        let before = self.told.clone();
        self.listen(world);
        let told = std::mem::replace(&mut self.told, before);
        told != self.told
    }

    fn close(&mut self, id: FlowId) {
        if let Some(open) = self.open.remove(&id) {
            open.add_to(&mut self.expected);
        }
    }

    /// Takes the records that there are.
    fn listen(&mut self, world: &mut World) {
        while let Some(batch) = world.engine.flow_logs_mut().take_any() {
            self.records += batch.records.len() as u64;
            for record in &batch.records {
                let interface = batch.interfaces.get(record.interface);
                let id = interface.map(|it| it.eni().id.to_string());
                let known = INSTANCES.iter().find(|(eni, _)| id.as_deref() == Some(eni));
                let traffic = record.traffic.as_ref().filter(|it| it.action == Action::Accept);
                let (Some((eni, _)), Some(traffic)) = (known, traffic) else { continue };
                if record.interval == AggregationInterval::OneMinute {
                    let sum = [traffic.packets, traffic.bytes];
                    add(&mut self.told, (eni, traffic.direction), sum);
                }
            }
        }
    }
}

impl Open {
    fn add_to(&self, sums: &mut Sums) {
        for (eni, way) in &self.passed {
            for direction in [Direction::Forward, Direction::Reverse] {
                let (before, counted) =
                    (self.before[direction as usize], self.counted[direction as usize]);
                let way = match (direction, way) {
                    (Direction::Forward, way) => *way,
                    (Direction::Reverse, TrafficDirection::Egress) => TrafficDirection::Ingress,
                    (Direction::Reverse, TrafficDirection::Ingress) => TrafficDirection::Egress,
                };
                add(sums, (eni, way), [counted[0] - before[0], counted[1] - before[1]]);
            }
        }
    }
}

fn add(sums: &mut Sums, key: (&'static str, TrafficDirection), [packets, bytes]: Sum) {
    // What saw nothing is in no record.
    if packets > 0 {
        let sum = sums.entry(key).or_default();
        *sum = [sum[0] + packets, sum[1] + bytes];
    }
}

fn counts(view: &FlowView) -> [Sum; 2] {
    [view.forward, view.reverse].map(|usage| [usage.packets, usage.bytes])
}

/// The interfaces of instances that a flow passes: at either end.
fn passed(flow: &Flow, world: &World) -> Vec<(&'static str, TrafficDirection)> {
    let ends = [
        (flow.forward.port, TrafficDirection::Egress),
        (flow.reverse.port, TrafficDirection::Ingress),
    ];
    let mut passed = Vec::new();
    for (port, way) in ends {
        let name = world.name_of(port);
        passed.extend(INSTANCES.iter().filter(|(_, it)| name == Some(it)).map(|it| (it.0, way)));
    }
    passed
}
