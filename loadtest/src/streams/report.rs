//! What `streams` reports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use comfy_table::Table;
use serde::Serialize;

use super::plan::{Arguments, Direction};
use super::tally::Tally;
use crate::output::{self, Rate, human, human_seconds};
use crate::sockets::cpu::{CpuSeconds, per_second};
use crate::sockets::failures::Failures;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    protocol: &'static str,
    direction: Direction,
    target: SocketAddr,
    connections: u64,
    threads: u32,
    /// Measured, without warm-up.
    seconds: f64,
    /// Acknowledged by the server or, of datagrams, received by it.
    bytes_up: u64,
    bytes_down: u64,
    bits_per_second_up: f64,
    bits_per_second_down: f64,
    /// Both ways.
    bytes_per_second: f64,
    /// Both ways, by whose processor time.
    bytes_per_cpu_second: PerCpu,
    /// Whole 64 KiB blocks of TCP streams that were verified at their end.
    blocks_verified: u64,
    /// By us, in the measured time.
    segments_retransmitted: u64,
    /// Null for TCP.
    datagrams: Option<Datagrams>,
    failed: u64,
    failures: Failures,
    /// Where the server saw the client, at most 64 addresses.
    sources: Vec<IpAddr>,
    cpu_seconds: CpuSeconds,
    interrupted: bool,
    #[serde(skip)]
    max_loss: f64,
}

#[derive(Clone, Debug, Serialize)]
struct PerCpu {
    own: Option<f64>,
    others: BTreeMap<u32, Option<f64>>,
    machine_busy: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Datagrams {
    /// Of each, without IP and UDP header.
    bytes: u64,
    rate_asked: Option<Rate>,
    sent: u64,
    /// Due and not sent.
    left_over: u64,
    received: u64,
    received_per_second: f64,
    lost: u64,
    lost_share: f64,
    reordered: u64,
    duplicated: u64,
    corrupt: u64,
}

impl Report {
    /// Sums up what all threads counted in `measured`.
    #[expect(clippy::cast_precision_loss, reason = "petabytes fit")]
    pub fn new(
        arguments: &Arguments,
        tally: &Tally,
        measured: Duration,
        cpu_seconds: CpuSeconds,
        interrupted: bool,
    ) -> Self {
        let seconds = measured.as_secs_f64();
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let bytes = tally.bytes_up + tally.bytes_down;
        let lost = tally.sent.saturating_sub(tally.flows.received);
        let lost_share = if tally.sent > 0 { lost as f64 / tally.sent as f64 } else { 0.0 };
        Self {
            protocol: if arguments.udp { "udp" } else { "tcp" },
            direction: arguments.direction,
            target: arguments.target,
            connections: arguments.connections,
            threads: arguments.threads,
            seconds,
            bytes_up: tally.bytes_up,
            bytes_down: tally.bytes_down,
            bits_per_second_up: 8.0 * rate(tally.bytes_up),
            bits_per_second_down: 8.0 * rate(tally.bytes_down),
            bytes_per_second: rate(bytes),
            bytes_per_cpu_second: PerCpu {
                own: per_second(bytes, Some(cpu_seconds.own)),
                others: cpu_seconds
                    .others
                    .iter()
                    .map(|(pid, seconds)| (*pid, per_second(bytes, *seconds)))
                    .collect(),
                machine_busy: per_second(bytes, cpu_seconds.machine_busy),
            },
            blocks_verified: tally.blocks,
            segments_retransmitted: tally.retransmitted,
            datagrams: arguments.udp.then(|| Datagrams {
                bytes: arguments.datagram_bytes,
                rate_asked: arguments.rate,
                sent: tally.sent,
                left_over: tally.left_over,
                received: tally.flows.received,
                received_per_second: rate(tally.flows.received),
                lost,
                lost_share,
                reordered: tally.flows.reordered,
                duplicated: tally.flows.duplicated,
                corrupt: tally.flows.corrupt,
            }),
            failed: tally.failures.total(),
            failures: tally.failures.clone(),
            sources: tally.sources.seen(),
            cpu_seconds,
            interrupted,
            max_loss: arguments.max_loss,
        }
    }

    /// What is not as it should be, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.bytes_up + self.bytes_down == 0 {
            complaints.push(format!("not one byte was carried to or from {}", self.target));
        }
        if self.failed > 0 {
            let reasons: Vec<_> = self.failures.listed().into_iter().map(|(r, _)| r).collect();
            complaints.push(format!("{} streams failed: {}", self.failed, reasons.join(", ")));
        }
        if let Some(datagrams) = self.datagrams {
            if datagrams.corrupt > 0 {
                complaints.push(format!("{} datagrams had wrong content", datagrams.corrupt));
            }
            if datagrams.lost_share > self.max_loss {
                let Datagrams { lost, sent, .. } = datagrams;
                complaints.push(format!("{lost} of {sent} datagrams were lost"));
            }
        }
        complaints.extend(self.failures.advice().into_iter().map(str::to_owned));
        complaints
    }
}

impl output::Report for Report {
    fn tables(&self) -> Vec<Table> {
        let mut figures = output::table(["", ""]);
        let mut row = |name: &str, value: String| {
            figures.add_row([name.to_owned(), value]);
        };
        for (name, rate) in [("up", self.bits_per_second_up), ("down", self.bits_per_second_down)] {
            if rate > 0.0 {
                row(name, format!("{}bit/s", spaced(rate)));
            }
        }
        row("measured", human_seconds(self.seconds));
        if let Some(datagrams) = self.datagrams {
            row("datagrams received a second", human(datagrams.received_per_second));
            row("datagrams sent", datagrams.sent.to_string());
            row("lost", format!("{} ({:.3} %)", datagrams.lost, 100.0 * datagrams.lost_share));
            row("reordered", datagrams.reordered.to_string());
            row("duplicated", datagrams.duplicated.to_string());
            if datagrams.left_over > 0 {
                row("due but not sent", datagrams.left_over.to_string());
            }
        } else {
            row("blocks verified", self.blocks_verified.to_string());
            row("segments sent again", self.segments_retransmitted.to_string());
        }
        for (reason, count) in self.failures.listed() {
            row(&format!("failed: {reason}"), count.to_string());
        }
        if !self.sources.is_empty() {
            let seen: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
            row("client seen as", seen.join(" "));
        }
        for (name, value) in self.cpu_seconds.rows() {
            row(&name, value);
        }
        let per = |rate: Option<f64>| {
            rate.map_or("unknown".to_owned(), |rate| format!("{}B", spaced(rate)))
        };
        row("per processor second, own", per(self.bytes_per_cpu_second.own));
        for (pid, rate) in &self.bytes_per_cpu_second.others {
            row(&format!("per processor second, process {pid}"), per(*rate));
        }
        row("per processor second, whole machine", per(self.bytes_per_cpu_second.machine_busy));
        vec![figures]
    }
}

/// A number with its suffix, ready for a unit.
fn spaced(value: f64) -> String {
    let text = human(value);
    if text.contains(' ') { text } else { format!("{text} ") }
}
