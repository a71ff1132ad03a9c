//! What the engine counts. The sum of the verdicts equals the packets in.

use std::ops::{Deref, DerefMut};

use crate::pipeline::FlowEnd;
use crate::verdict::{Drop, Punt, Verdict};

/// Counters of one engine. All only grow.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets handed over by the fast path, by reason.
    pub punts: [u64; Punt::ALL.len()],
    /// Packets that ended as [`Verdict::Forwarded`], those that first waited included.
    pub forwarded: u64,
    /// Packets that ended as [`Verdict::Consumed`].
    pub consumed: u64,
    /// Packets that ended as [`Verdict::Dropped`], by reason.
    pub dropped: Drops,
    /// Packets that were ever put in a queue; each is counted again when it leaves it.
    pub queued: u64,
    /// Packets that left a queue.
    pub dequeued: u64,
    /// Flows set up.
    pub flows_created: u64,
    /// Of them, those that the fast path made itself.
    pub flows_made: u64,
    /// Flows taken over from an earlier process.
    pub flows_recovered: u64,
    /// Flows ended, by how.
    pub flows_ended: [u64; FlowEnd::ALL.len()],
    /// Flows found right, or put right, under a newer snapshot.
    pub flows_revalidated: u64,
    /// Packets too large for where they left that were sent on in fragments.
    pub fragmented: u64,
    /// Answers the gateway gave: RST, ICMP errors, echo replies, ARP and NDP.
    pub answers: u64,
    /// RSTs and ICMP errors that were not sent because a port had had its share.
    pub reports_suppressed: u64,
    /// ARP and NDP questions asked.
    pub solicitations: u64,
    /// Packets sent of our own accord: health checks of functions, questions to both ends of an idle
    /// connection. They have verdicts as well.
    pub originated: u64,
}

/// A number for each reason to drop, in the order of [`Drop::ALL`].
#[derive(Clone, Debug)]
pub struct Drops([u64; Drop::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; Drop::ALL.len()])
    }
}

impl Deref for Drops {
    type Target = [u64; Drop::ALL.len()];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Drops {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Counters {
    pub(super) fn verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Forwarded => self.forwarded += 1,
            Verdict::Queued => self.queued += 1,
            Verdict::Consumed => self.consumed += 1,
            Verdict::Dropped(reason) => self.dropped[reason as usize] += 1,
        }
    }

    pub(super) fn ended(&mut self, end: FlowEnd) {
        self.flows_ended[end as usize] += 1;
    }

    /// Packets handed over by the fast path or made by functions.
    #[must_use]
    pub fn packets_in(&self) -> u64 {
        self.punts.iter().sum::<u64>() + self.originated
    }

    /// Packets that have met their end.
    #[must_use]
    pub fn packets_decided(&self) -> u64 {
        self.forwarded + self.consumed + self.dropped.iter().sum::<u64>()
    }

    /// Packets that wait for a next hop, or for the first fragment of their datagram.
    #[must_use]
    pub fn packets_waiting(&self) -> u64 {
        self.queued - self.dequeued
    }
}
