//! What a thread of `connections` counts.

use crate::histogram::Latencies;
use crate::sockets::failures::Failures;
use crate::sockets::sources::Sources;

/// Counts and latencies of one thread, or of all.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Operations completed, from when each was due to its last byte.
    pub operations: Latencies,
    /// Connections established, from when each was due.
    pub connects: Latencies,
    /// With one operation a connection: from established to the last byte.
    pub requests: Latencies,
    /// With a rate: from when an operation was due to when it was started. This is our own share
    /// of the latencies.
    pub start_delays: Latencies,
    /// Operations completed before the end of the measured time: what rates are made of.
    pub in_time: u64,
    /// Connections established within the measured time.
    pub connected_in_time: u64,
    /// Operations and connections that failed.
    pub failures: Failures,
    /// Kept connections that the server closed between two requests, as it may.
    pub reconnects: u64,
    /// With a rate: operations that were due and never started.
    pub left_over: u64,
    /// With a rate: how long the first of these had waited at the end, in nanoseconds.
    pub behind: u64,
    /// Where the server saw the client.
    pub sources: Sources,
}

impl Tally {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.operations.merge(&other.operations);
        self.connects.merge(&other.connects);
        self.requests.merge(&other.requests);
        self.start_delays.merge(&other.start_delays);
        self.in_time += other.in_time;
        self.connected_in_time += other.connected_in_time;
        self.failures.merge(&other.failures);
        self.reconnects += other.reconnects;
        self.left_over += other.left_over;
        self.behind = self.behind.max(other.behind);
        self.sources.merge(&other.sources);
    }
}
