//! What a server counted.

use comfy_table::Table;
use serde::Serialize;

use crate::output::{Report, human, table};

/// Counts of a server, or of one of its threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// How long it served.
    pub seconds: f64,
    /// TCP connections accepted.
    pub connections: u64,
    /// TCP connections closed at once because there were too many.
    pub connections_turned_away: u64,
    /// TCP connections closed because nothing happened on them.
    pub connections_idle: u64,
    /// TCP connections that the client broke.
    pub connections_reset: u64,
    /// TCP connections closed because the client did not speak the protocol.
    pub protocol_errors: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests and streams whose content was not what the client must have sent.
    pub corrupt: u64,
    /// TCP bytes received.
    pub bytes_received: u64,
    /// TCP bytes of streams sent.
    pub stream_bytes_sent: u64,
    /// TCP segments of streams sent again.
    pub segments_retransmitted: u64,
    /// Datagrams received that are ours.
    pub datagrams: u64,
    /// Datagrams that are not ours, or of more flows than are counted.
    pub datagrams_foreign: u64,
    /// Datagrams with content that the client cannot have sent.
    pub datagrams_corrupt: u64,
}

impl Counts {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            seconds,
            connections,
            connections_turned_away,
            connections_idle,
            connections_reset,
            protocol_errors,
            requests,
            corrupt,
            bytes_received,
            stream_bytes_sent,
            segments_retransmitted,
            datagrams,
            datagrams_foreign,
            datagrams_corrupt,
        } = other;
        self.seconds = self.seconds.max(*seconds);
        self.connections += connections;
        self.connections_turned_away += connections_turned_away;
        self.connections_idle += connections_idle;
        self.connections_reset += connections_reset;
        self.protocol_errors += protocol_errors;
        self.requests += requests;
        self.corrupt += corrupt;
        self.bytes_received += bytes_received;
        self.stream_bytes_sent += stream_bytes_sent;
        self.segments_retransmitted += segments_retransmitted;
        self.datagrams += datagrams;
        self.datagrams_foreign += datagrams_foreign;
        self.datagrams_corrupt += datagrams_corrupt;
    }

    /// What should not have been, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let corrupt = self.corrupt + self.datagrams_corrupt;
        if corrupt == 0 {
            return Vec::new();
        }
        vec![format!("{corrupt} requests, streams or datagrams arrived with wrong content")]
    }
}

impl Report for Counts {
    fn tables(&self) -> Vec<Table> {
        let mut table = table(["served", "count"]);
        let rows = [
            ("TCP connections", self.connections),
            ("turned away: too many", self.connections_turned_away),
            ("closed: idle", self.connections_idle),
            ("broken by the client", self.connections_reset),
            ("closed: not our protocol", self.protocol_errors),
            ("requests", self.requests),
            ("wrong content", self.corrupt),
            ("TCP bytes received", self.bytes_received),
            ("TCP stream bytes sent", self.stream_bytes_sent),
            ("TCP segments sent again", self.segments_retransmitted),
            ("datagrams", self.datagrams),
            ("datagrams of others", self.datagrams_foreign),
            ("datagrams with wrong content", self.datagrams_corrupt),
        ];
        for (name, count) in rows.into_iter().filter(|(_, count)| *count > 0) {
            #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
            table.add_row([name.to_owned(), human(count as f64)]);
        }
        vec![table]
    }
}
