//! What NAT gateways carry, as CloudWatch has it: what came in and went out on either side, what was
//! dropped, connections, and the highest rates of the last minute.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nat::Nat;
use nf_core::engine::{Carriage, Traffic};
use nf_core::pipeline::MeterKey;
use nf_core::translator::RealmUsage;
use nf_core::vpc::id::ResourceId as _;

use super::page::{counted, label, leveled};
use crate::control::Shared;
use crate::worker::{Stopped, Worker};

/// CloudWatch: "the packet rate averaged over 10 seconds".
const INTERVAL: Duration = Duration::from_secs(10);

/// Intervals of the minute that a peak is of.
const INTERVALS: usize = 6;

/// What every NAT gateway of the document has carried, by id.
pub(super) fn of(worker: &mut Worker) -> Vec<(String, Traffic)> {
    let Worker { engine, datapath } = worker;
    let all = engine.traffic::<Nat>(datapath.fast_path());
    let nat: Option<&Nat> = engine.function_as();
    let ids = nat.into_iter().flat_map(Nat::usage).map(|(id, _)| id);
    let traffic = |id: &str| all.get(&MeterKey::of(id)).copied().unwrap_or_default();
    ids.map(|id| (id.to_string(), traffic(id.as_str()))).collect()
}

/// The rates of the last minute.
#[derive(Debug, Default)]
pub(super) struct Peaks(Mutex<HashMap<String, Rates>>);

/// Those of one gateway.
#[derive(Debug, Default)]
struct Rates {
    /// Bytes and packets that had come in, either way, when they were last looked at.
    last: (u64, u64),
    /// What came in each of the last intervals.
    intervals: VecDeque<(u64, u64)>,
}

/// The highest rates of a gateway in the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peak {
    pub(super) bytes_per_second: u64,
    pub(super) packets_per_second: u64,
}

impl Peaks {
    /// Looks at the counters on a fixed beat, as long as there is a worker.
    pub(super) async fn follow(&self, shared: &Shared) {
        let mut beat = tokio::time::interval(INTERVAL);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            match shared.worker.call(|worker, _| of(worker)).await {
                Ok(traffic) => self.note(&traffic),
                Err(Stopped) => return,
            }
        }
    }

    /// An interval is over.
    fn note(&self, traffic: &[(String, Traffic)]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| traffic.iter().any(|(known, _)| known == id));
        for (id, traffic) in traffic {
            let Traffic { from_source, from_destination } = traffic;
            let bytes = from_source.bytes_in + from_destination.bytes_in;
            let packets = from_source.packets + from_destination.packets;
            // What came before the first look came in no interval.
            let known = all.contains_key(id);
            let rates = all.entry(id.clone()).or_default();
            if known {
                let (bytes_before, packets_before) = rates.last;
                let came =
                    (bytes.saturating_sub(bytes_before), packets.saturating_sub(packets_before));
                rates.intervals.truncate(INTERVALS - 1);
                rates.intervals.push_front(came);
            }
            rates.last = (bytes, packets);
        }
    }

    /// The highest of each gateway.
    pub(super) fn all(&self) -> HashMap<String, Peak> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = |rates: &Rates| {
            let seconds = INTERVAL.as_secs();
            let bytes = rates.intervals.iter().map(|(bytes, _)| *bytes).max();
            let packets = rates.intervals.iter().map(|(_, packets)| *packets).max();
            Peak {
                bytes_per_second: bytes.unwrap_or_default() / seconds,
                packets_per_second: packets.unwrap_or_default() / seconds,
            }
        };
        all.iter().map(|(id, rates)| (id.clone(), peak(rates))).collect()
    }
}

/// Puts it on the page.
pub(super) fn tell(
    usage: &[(String, RealmUsage)],
    traffic: &[(String, Traffic)],
    peaks: &HashMap<String, Peak>,
) {
    connections(usage);
    carried(usage, traffic);
    let bytes = leveled(
        "halfspace_nat_gateway_peak_bytes_per_second",
        "Highest of the last six averages over ten seconds of the bytes that came to a NAT gateway.",
    );
    let packets = leveled(
        "halfspace_nat_gateway_peak_packets_per_second",
        "Highest of the last six averages over ten seconds of the packets that came to a NAT gateway.",
    );
    for (id, _) in usage {
        let peak = peaks.get(id).copied().unwrap_or_default();
        let labels = || vec![label("nat_gateway_id", id)];
        bytes.with(labels(), peak.bytes_per_second);
        packets.with(labels(), peak.packets_per_second);
    }
}

fn connections(usage: &[(String, RealmUsage)]) {
    let active = leveled(
        "halfspace_nat_gateway_active_connections",
        "TCP connections through a NAT gateway, those that are opening or closing included.",
    );
    let attempts = counted(
        "halfspace_nat_gateway_connection_attempts_total",
        "TCP connections through a NAT gateway that were begun.",
    );
    let established = counted(
        "halfspace_nat_gateway_connections_established_total",
        "Answers to the first segment of a TCP connection through a NAT gateway.",
    );
    for (id, usage) in usage {
        let labels = || vec![label("nat_gateway_id", id)];
        active.with(labels(), usage.active_connections);
        attempts.with(labels(), usage.connection_attempts_total);
        established.with(labels(), usage.connections_established_total);
    }
}

fn carried(usage: &[(String, RealmUsage)], traffic: &[(String, Traffic)]) {
    let received_packets = counted(
        "halfspace_nat_gateway_received_packets_total",
        "Packets that came to a NAT gateway, from sources or from destinations.",
    );
    let received_bytes = counted(
        "halfspace_nat_gateway_received_bytes_total",
        "Bytes of IP packets that came to a NAT gateway, from sources or from destinations.",
    );
    let sent_packets = counted(
        "halfspace_nat_gateway_sent_packets_total",
        "Packets that a NAT gateway sent on, to destinations or to sources.",
    );
    let sent_bytes = counted(
        "halfspace_nat_gateway_sent_bytes_total",
        "Bytes of IP packets that a NAT gateway sent on, to destinations or to sources.",
    );
    let dropped = counted(
        "halfspace_nat_gateway_dropped_packets_total",
        "Packets that a NAT gateway refused, from sources or from destinations.",
    );
    let traffic: HashMap<_, _> = traffic.iter().map(|(id, traffic)| (id, *traffic)).collect();
    for (id, usage) in usage {
        let Traffic { from_source, from_destination } =
            traffic.get(id).copied().unwrap_or_default();
        let ways = [
            ("source", "destination", from_source, usage.dropped_from_source),
            ("destination", "source", from_destination, usage.dropped_from_destination),
        ];
        for (from, to, Carriage { packets, bytes_in, bytes_out }, refused) in ways {
            let from = || vec![label("nat_gateway_id", id), label("from", from)];
            let to = || vec![label("nat_gateway_id", id), label("to", to)];
            received_packets.with(from(), packets + refused.packets);
            received_bytes.with(from(), bytes_in + refused.bytes);
            dropped.with(from(), refused.packets);
            sent_packets.with(to(), packets);
            sent_bytes.with(to(), bytes_out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(packets: u64, bytes: u64) -> Vec<(String, Traffic)> {
        let half = Carriage { packets: packets / 2, bytes_in: bytes / 2, bytes_out: bytes / 2 };
        let traffic = Traffic { from_source: half, from_destination: half };
        vec![("nat-a".to_owned(), traffic)]
    }

    #[test]
    fn a_peak_is_the_highest_interval_of_the_last_six() {
        let peaks = Peaks::default();
        let peak = || peaks.all()["nat-a"];
        peaks.note(&traffic(1_000_000, 1_000_000_000));
        assert_eq!(peak(), Peak::default(), "what came before counts nowhere");
        peaks.note(&traffic(1_000_400, 1_000_080_000));
        assert_eq!(peak(), Peak { bytes_per_second: 8_000, packets_per_second: 40 });
        for _ in 0..5 {
            peaks.note(&traffic(1_000_400, 1_000_080_000));
        }
        assert_eq!(peak(), Peak { bytes_per_second: 8_000, packets_per_second: 40 });
        peaks.note(&traffic(1_000_420, 1_000_080_200));
        assert_eq!(peak(), Peak { bytes_per_second: 20, packets_per_second: 2 });
        peaks.note(&[]);
        assert!(peaks.all().is_empty(), "the gateway is gone");
    }
}
