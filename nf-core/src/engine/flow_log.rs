//! What the flow logs are told of flows: which interfaces they pass, and whose they are.

use std::sync::Arc;

use super::Engine;
use super::passage::{Passage, Passages};
use crate::fast_path::{Direction, FastPath, Usage};
use crate::flow::Flow;
use crate::flow_log::{Known, Ledger, Rejection};
use crate::id::{FlowId, PortId};
use crate::time::Time;
use crate::tuple::Tuple;

/// A packet as it came to the gateway, or from one of its functions.
pub(super) struct Came {
    /// The port it came in by.
    pub port: Option<PortId>,
    /// Its addresses.
    pub tuple: Tuple,
    /// What there is of it.
    pub usage: Usage,
    /// The TCP header's flags byte.
    pub tcp_flags: u8,
}

impl Engine {
    /// What is recorded of flows.
    #[must_use]
    pub const fn flow_logs(&self) -> &Ledger {
        &self.ledger
    }

    /// The same, to take its records and to tell it the time of day.
    pub const fn flow_logs_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Does some of what closing the windows of the flow logs takes, if they are to be closed by
    /// `now`. Whether there is more to do; records may have to be taken first.
    pub fn continue_flow_logs(&mut self, now: Time, fast_path: &mut dyn FastPath) -> bool {
        self.ledger.advance(now, &self.flows, fast_path);
        self.ledger.is_closing(now)
    }

    /// A flow begins with its first packet.
    pub(super) fn log_begun(&mut self, now: Time, id: FlowId, flow: &Flow, passages: &Passages) {
        if self.ledger.logs_any() {
            let environment = self.environment_on(flow.forward.port);
            let known = Known { id, passages, environment: environment.as_ref() };
            self.ledger.begin(now, &known, [Usage::default(); 2]);
        }
    }

    /// A flow of an earlier process goes on. What went through before is nobody's to tell: that
    /// process told of some of it, and of how much is not known.
    pub(super) fn log_taken_over(
        &mut self,
        now: Time,
        id: FlowId,
        flow: &Flow,
        passages: &Passages,
        counted: [Usage; 2],
    ) {
        if self.ledger.logs_any() {
            let environment = self.environment_on(flow.forward.port);
            let known = Known { id, passages, environment: environment.as_ref() };
            self.ledger.begin(now, &known, counted);
            self.ledger.skip(passages);
        }
    }

    /// A flow goes on under a new snapshot.
    pub(super) fn log_goes_on(
        &mut self,
        now: Time,
        id: FlowId,
        flow: &Flow,
        passages: &Passages,
        fast_path: &mut dyn FastPath,
    ) {
        if self.ledger.is_active() {
            let environment = self.environment_on(flow.forward.port);
            let known = Known { id, passages, environment: environment.as_ref() };
            self.ledger.follow(now, &known, flow, fast_path);
        }
    }

    /// The groups of an interface have not let a packet pass.
    pub(super) fn log_rejected(&mut self, now: Time, passage: &Passage, came: &Came) {
        if self.ledger.logs_any() {
            let environment = came.port.and_then(|port| self.environment_on(port));
            let rejection = Rejection {
                direction: passage.direction,
                tuple: passage.tuple,
                received: came.tuple,
                environment: environment.as_ref(),
                bytes: came.usage.bytes,
                packets: came.usage.packets,
                tcp_flags: came.tcp_flags,
            };
            self.ledger.reject(now, passage.eni, &rejection);
        }
    }

    /// TCP flags went through a flow.
    pub(super) fn log_tcp_flags(&mut self, id: FlowId, direction: Direction, flags: u8) {
        self.ledger.tcp_flags(id, direction, flags);
    }

    /// The environment that is behind a port.
    fn environment_on(&self, port: PortId) -> Option<Arc<str>> {
        self.ports.get(port)?.environment_id().cloned()
    }
}
