//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;

use nf_core::engine::Engine;
use nf_core::tuple::Protocol;
use nf_core::verdict::Drop;

use crate::talk::{End, Way};

/// What happened in a run, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps after which every promise was checked.
    pub steps: u64,
    /// Packets that reached a host and were recognised.
    pub delivered: u64,
    /// How conversations ended.
    pub talks: BTreeMap<(Way, Protocol, End), u64>,
    /// Packets that user space dropped, by reason.
    pub dropped: BTreeMap<Drop, u64>,
    /// Flows that were set up.
    pub flows: u64,
    /// Of them, those that the fast path made itself.
    pub made: u64,
    /// Flows that the fast path made while no process ran.
    pub made_alone: u64,
    /// Flows that a new process took over.
    pub recovered: u64,
    /// Records of the flow logs.
    pub records: u64,
    /// New desired states.
    pub changes: u64,
    /// Processes that ended.
    pub crashes: u64,
    /// A hash over everything that happened, in order.
    pub trace: u64,
}

impl Report {
    /// Conversations that were completed one way, whatever the protocol.
    #[must_use]
    pub fn completed(&self, way: Way) -> u64 {
        let all = self.talks.iter();
        all.filter(|((w, _, end), _)| (*w, *end) == (way, End::Completed)).map(|(_, n)| n).sum()
    }

    /// Adds another run's counts to this one's; the traces are mixed.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.delivered += other.delivered;
        for (what, count) in &other.talks {
            *self.talks.entry(*what).or_default() += count;
        }
        for (reason, count) in &other.dropped {
            *self.dropped.entry(*reason).or_default() += count;
        }
        self.flows += other.flows;
        self.made += other.made;
        self.made_alone += other.made_alone;
        self.recovered += other.recovered;
        self.records += other.records;
        self.changes += other.changes;
        self.crashes += other.crashes;
        self.trace = self.trace.rotate_left(1) ^ other.trace;
    }

    /// Adds what an engine counted in its life.
    pub(crate) fn add_engine(&mut self, engine: &Engine) {
        let counters = engine.counters();
        self.flows += counters.flows_created;
        self.made += counters.flows_made;
        self.recovered += counters.flows_recovered;
        for reason in Drop::ALL {
            let count = counters.dropped[*reason as usize];
            if count > 0 {
                *self.dropped.entry(*reason).or_default() += count;
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} steps, {} packets delivered, {} flows, {} made by templates, {} of these alone, \
             {} taken over, {} records, {} changes, {} crashes, \
             trace {:016x}",
            self.steps,
            self.delivered,
            self.flows,
            self.made,
            self.made_alone,
            self.recovered,
            self.records,
            self.changes,
            self.crashes,
            self.trace
        )?;
        for ((way, protocol, end), count) in &self.talks {
            writeln!(f, "  {way:?} {protocol} {end:?}: {count}")?;
        }
        for (reason, count) in &self.dropped {
            writeln!(f, "  dropped {reason}: {count}")?;
        }
        Ok(())
    }
}
