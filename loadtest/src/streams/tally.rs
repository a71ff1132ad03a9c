//! What a thread of `streams` counts.

use crate::sockets::failures::Failures;
use crate::sockets::protocol::FlowCounts;
use crate::sockets::sources::Sources;

/// Counts of one thread, or of all.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Bytes that the server acknowledged in the measured time, or datagrams' bytes it received.
    pub bytes_up: u64,
    /// Bytes that arrived here in the measured time.
    pub bytes_down: u64,
    /// Whole blocks of TCP streams that were verified, by the server or by us.
    pub blocks: u64,
    /// TCP segments that we sent again in the measured time.
    pub retransmitted: u64,
    /// Streams and flows that failed.
    pub failures: Failures,
    /// Where the server saw the client.
    pub sources: Sources,
    /// Datagrams sent.
    pub sent: u64,
    /// What the server counted of these.
    pub flows: FlowCounts,
    /// With a rate: datagrams that were due and not sent.
    pub left_over: u64,
}

impl Tally {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        self.blocks += other.blocks;
        self.retransmitted += other.retransmitted;
        self.failures.merge(&other.failures);
        self.sources.merge(&other.sources);
        self.sent += other.sent;
        self.flows.received += other.flows.received;
        self.flows.bytes += other.flows.bytes;
        self.flows.reordered += other.flows.reordered;
        self.flows.duplicated += other.flows.duplicated;
        self.flows.corrupt += other.flows.corrupt;
        self.left_over += other.left_over;
    }
}
