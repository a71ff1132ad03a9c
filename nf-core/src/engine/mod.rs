//! The engine: takes what the fast path hands over, walks first packets through the functions,
//! and keeps the fast path's entries right.
//!
//! One worker owns one engine. Every input is a method with the moment as its argument: a punted
//! packet, a TCP event, a port, an environment, a snapshot, the passing of time. Every effect goes
//! out through [`FastPath`].
//!
//! | file | idea |
//! | --- | --- |
//! | `ports` | what each port is for, and the addresses the gateway answers to |
//! | `ingress` | one punted packet, from its bytes to its verdict |
//! | `fragments` | packets that come in fragments |
//! | `walk` | a first packet's way through the VPC model and the functions |
//! | `passage` | the network interfaces it passes |
//! | `public` | public addresses: which lead inside, and which nobody outside can have |
//! | `groups` | what security groups have turned away |
//! | `flows` | set up, forward, expire, end |
//! | `farewell` | what both ends of an idle connection are told |
//! | `flow_log` | what the flow logs are told of them |
//! | `classes` | flows that the fast path makes itself, by a template for their class |
//! | `resume` | taking over a flow whose entries stand already |
//! | `sweep` | flows under a new snapshot, a slice at a time |
//! | `moved` | before all others, those of interfaces that have moved to another port |
//! | `recover` | flows that an earlier process left in the fast path |
//! | `control` | ARP, NDP, echo to the gateway, errors to senders |
//! | `limiter` | how often senders are told of errors |
//! | `meters` | what gateways have carried |
//! | `icmp_error` | errors about translated flows |

mod carried;
mod classes;
mod control;
mod counters;
mod farewell;
mod flow_log;
mod flows;
mod fragments;
mod groups;
mod icmp_error;
mod ingress;
mod limiter;
mod meters;
mod moved;
mod passage;
mod ports;
mod public;
mod recover;
mod resume;
mod sweep;
mod translation;
mod walk;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;

pub use counters::Counters;
pub use flows::FlowView;
pub use groups::Rejected;
pub use meters::{Carriage, Traffic};
pub(crate) use passage::Passages;
pub use ports::{EnvironmentError, EnvironmentView, PortInfo};
pub use recover::Recovered;

use crate::fast_path::FastPath;
use crate::flow::wheel::Wheel;
use crate::flow::{Capacity, FlowTable};
use crate::flow_log::Ledger;
use crate::fragment::{Fragments, Limits};
use crate::id::{FlowId, Generation};
use crate::neighbour::{Change, Neighbours, Solicitation};
use crate::packet::MacAddr;
use crate::pipeline::{Function, Originated};
use crate::time::Time;
use crate::vpc::{Document, Snapshot};
use classes::Classes;
use farewell::Farewells;
use groups::Groups;
use meters::Meters;
use ports::Ports;
use sweep::Sweep;

/// Sizes that are fixed for an engine's life.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Flows the table holds.
    pub flows: Capacity,
    /// Next hops, environments included; [`Neighbours::MOST`] at the most.
    pub adjacencies: usize,
    /// Keys every hash and draws every random number.
    pub seed: u64,
}

/// The state of one worker. See the module's own words.
pub struct Engine {
    snapshot: Arc<Snapshot>,
    functions: Vec<Box<dyn Function>>,
    ports: Ports,
    flows: FlowTable,
    classes: Classes,
    wheel: Wheel,
    neighbours: Neighbours,
    fragments: Fragments,
    sweep: Option<Sweep>,
    farewells: Farewells,
    meters: Meters,
    ledger: Ledger,
    groups: Groups,
    counters: Counters,
    /// Reused from call to call.
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    fired: Vec<u32>,
    ask: Vec<Solicitation>,
    changes: Vec<Change>,
    originated: Vec<Originated>,
}

/// Timers looked at in one call of [`Engine::advance`], so that packets do not wait behind them.
const TIMERS_AT_ONCE: usize = 4096;

impl Engine {
    /// An engine without ports, under an empty desired state.
    #[must_use]
    pub fn new(config: EngineConfig, functions: Vec<Box<dyn Function>>, now: Time) -> Self {
        Self {
            snapshot: Arc::new(nothing_desired()),
            functions,
            ports: Ports::new(config.seed),
            flows: FlowTable::new(config.flows, config.seed),
            classes: Classes::new(config.seed),
            wheel: Wheel::new(config.flows.flows as u32, now),
            neighbours: Neighbours::new(config.adjacencies, config.seed),
            fragments: Fragments::new(Limits::DEFAULT, config.seed),
            sweep: None,
            farewells: Farewells::new(config.seed),
            meters: Meters::new(config.seed),
            ledger: Ledger::new(config.flows.flows, config.seed),
            groups: Groups::default(),
            counters: Counters::default(),
            scratch: Scratch::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The desired state in force.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// A function by its type, for what it tells of itself.
    #[must_use]
    pub fn function_as<F: Function>(&self) -> Option<&F> {
        self.functions.iter().find_map(|function| {
            let function: &dyn Any = function.as_ref();
            function.downcast_ref()
        })
    }

    /// Flows tracked.
    #[must_use]
    pub fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// Timers armed; every flow has one.
    #[must_use]
    pub fn timer_count(&self) -> usize {
        self.wheel.armed() as usize
    }

    /// Flows the table can hold.
    #[must_use]
    pub fn flow_capacity(&self) -> usize {
        self.flows.capacity()
    }

    /// Next hops known or asked for.
    #[must_use]
    pub fn neighbour_count(&self) -> usize {
        self.neighbours.len()
    }

    /// Datagrams under way in fragments.
    #[must_use]
    pub fn fragments(&self) -> &Fragments {
        &self.fragments
    }

    /// Lets time pass: idle flows, silent next hops, probes, the rest of a sweep. Returns when it
    /// wants to be called again at the latest; at once if more is due than one call does.
    pub fn advance(&mut self, now: Time, fast_path: &mut dyn FastPath) -> Option<Time> {
        let mut fired = std::mem::take(&mut self.scratch.fired);
        let more = self.wheel.advance(now, TIMERS_AT_ONCE, &mut fired);
        for slot in fired.drain(..) {
            self.flow_timer(now, FlowId(slot), fast_path);
        }
        self.scratch.fired = fired;

        let mut originated = std::mem::take(&mut self.scratch.originated);
        for function in &mut self.functions {
            function.advance(now, &mut originated);
        }
        for packet in originated.drain(..) {
            self.originate(now, packet, fast_path);
        }
        self.scratch.originated = originated;

        self.drive_neighbours(now, fast_path);
        self.fragments.advance(now);
        self.count_lost_fragments();
        self.look_at_classes(now, fast_path);
        self.continue_sweep(now, fast_path);
        let flow_logs = self.ledger.advance(now, &self.flows, fast_path);
        if more || self.sweep.is_some() {
            return Some(now);
        }
        let functions = self.functions.iter().filter_map(|function| function.next_deadline());
        let deadlines = [
            self.wheel.next_deadline(),
            self.neighbours.next_deadline(),
            self.fragments.next_deadline(),
            self.classes.next_deadline(),
            flow_logs,
        ];
        functions.chain(deadlines.into_iter().flatten()).min()
    }

    /// The generation whose desired state is in force.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.snapshot.generation()
    }

    /// Whether every flow has been looked at under the desired state in force.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.sweep.is_none()
    }

    /// The MAC address that frames leave `port` with, and the largest IP packet it takes.
    fn port_link(&self, port: crate::id::PortId) -> Option<(MacAddr, u16)> {
        self.ports.get(port).map(|port| (port.info.mac, port.info.mtu))
    }
}

fn nothing_desired() -> Snapshot {
    Snapshot::build(Generation::default(), &Document::default())
        .unwrap_or_else(|_| unreachable!("a document without resources has nothing to be wrong"))
}
