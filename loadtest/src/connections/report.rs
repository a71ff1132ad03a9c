//! What `connections` reports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use comfy_table::Table;
use serde::Serialize;

use super::plan::{Arguments, Mode, Protocol};
use super::tally::Tally;
use crate::histogram::Summary;
use crate::output::{self, Rate, human, human_seconds};
use crate::sockets::cpu::CpuSeconds;
use crate::sockets::failures::Failures;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    mode: Mode,
    protocol: Protocol,
    target: SocketAddr,
    connections: u64,
    threads: u32,
    /// Measured, without warm-up.
    seconds: f64,
    /// Operations that were due in the measured time and completed.
    operations: u64,
    /// Operations completed in the measured time, a second.
    operations_per_second: f64,
    /// Connections established in the measured time, a second.
    connections_per_second: f64,
    /// What was asked for.
    rate_asked: Option<Rate>,
    /// Null without a rate.
    behind: Option<Behind>,
    /// From when an operation was due to its last byte.
    latency_seconds: Summary,
    /// From when a connection was due to when it was established.
    connect_latency_seconds: Summary,
    /// From when the request could go out to its last byte.
    request_latency_seconds: Summary,
    /// From when an operation was due to when it was started: our own share. Null without a rate.
    start_delay_seconds: Option<Summary>,
    /// Operations, and openings of kept connections, that failed.
    failed: u64,
    failures: Failures,
    /// Kept connections that the server closed, and that were opened again.
    reconnects: u64,
    /// Where the server saw the client, at most 64 addresses.
    sources: Vec<IpAddr>,
    cpu_seconds: CpuSeconds,
    interrupted: bool,
    #[serde(skip)]
    max_loss: f64,
}

/// How far the schedule was missed.
#[derive(Clone, Copy, Debug, Serialize)]
struct Behind {
    /// Operations that were due and never started.
    operations: u64,
    /// How long the first of them had waited at the end.
    seconds: f64,
}

impl Report {
    /// Sums up what all threads counted in `measured`.
    pub fn new(
        arguments: &Arguments,
        tally: &Tally,
        measured: Duration,
        cpu_seconds: CpuSeconds,
        interrupted: bool,
    ) -> Self {
        let seconds = measured.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 operations")]
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let operations = tally.operations.summary();
        Self {
            mode: arguments.mode,
            protocol: arguments.protocol,
            target: arguments.target,
            connections: arguments.connections,
            threads: arguments.threads,
            seconds,
            operations: operations.count,
            operations_per_second: rate(tally.in_time),
            connections_per_second: rate(tally.connected_in_time),
            rate_asked: arguments.rate,
            behind: arguments.rate.map(|_| Behind {
                operations: tally.left_over,
                seconds: Duration::from_nanos(tally.behind).as_secs_f64(),
            }),
            latency_seconds: operations,
            connect_latency_seconds: tally.connects.summary(),
            request_latency_seconds: match arguments.mode {
                Mode::Crr => tally.requests.summary(),
                Mode::Rr => operations,
            },
            start_delay_seconds: arguments.rate.map(|_| tally.start_delays.summary()),
            failed: tally.failures.total(),
            failures: tally.failures.clone(),
            reconnects: tally.reconnects,
            sources: tally.sources.seen(),
            cpu_seconds,
            interrupted,
            max_loss: arguments.max_loss,
        }
    }

    /// What is not as it should be, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.failures.wrong() > 0 {
            complaints.push(format!("{} responses were wrong", self.failures.wrong()));
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53 operations")]
        let (failed, all) = (self.failed as f64, (self.failed + self.operations) as f64);
        if self.operations == 0 {
            complaints.push(format!("not one operation was completed at {}", self.target));
        } else if failed > all * self.max_loss {
            complaints.push(format!("{} of {all} operations failed", self.failed));
        }
        if !complaints.is_empty() {
            complaints.extend(self.failures.advice().into_iter().map(str::to_owned));
        }
        complaints
    }
}

impl output::Report for Report {
    fn tables(&self) -> Vec<Table> {
        let mut figures = output::table(["", ""]);
        let mut row = |name: &str, value: String| {
            figures.add_row([name.to_owned(), value]);
        };
        row("operations a second", human(self.operations_per_second));
        row("connections a second", human(self.connections_per_second));
        row("operations", self.operations.to_string());
        row("measured", human_seconds(self.seconds));
        if let Some(behind) = self.behind.filter(|behind| behind.operations > 0) {
            row("due but not started", behind.operations.to_string());
            row("behind the schedule by", human_seconds(behind.seconds));
        }
        for (reason, count) in self.failures.listed() {
            row(&format!("failed: {reason}"), count.to_string());
        }
        if self.reconnects > 0 {
            row("closed by the server, reopened", self.reconnects.to_string());
        }
        if !self.sources.is_empty() {
            let seen: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
            row("client seen as", seen.join(" "));
        }
        for (name, value) in self.cpu_seconds.rows() {
            row(&name, value);
        }

        let [count, min, p50, p90, p99, p99_9, max] = Summary::HEADER;
        let mut latencies = output::table(["latency", count, min, p50, p90, p99, p99_9, max]);
        let rows = [
            ("operation", Some(self.latency_seconds)),
            ("connect", Some(self.connect_latency_seconds)),
            ("request", Some(self.request_latency_seconds)),
            ("our own delay", self.start_delay_seconds),
        ];
        for (name, summary) in rows {
            if let Some(summary) = summary.filter(|summary| summary.count > 0) {
                latencies.add_row(std::iter::once(name.to_owned()).chain(summary.cells()));
            }
        }
        vec![figures, latencies]
    }
}
