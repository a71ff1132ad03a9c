//! iperf3's report of a transfer.

use std::time::Duration;

use halfspace_testbed::{Namespace, Process};
use serde::Deserialize;

use super::Stage;
use super::lab;
use crate::demo::error::Error;

/// Seconds from one interval of the report to the next.
const INTERVAL: &str = "0.25";

/// How much longer than the transfer itself the client may take.
const GRACE: Duration = Duration::from_secs(10);

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer {
    process: Process,
    limit: Duration,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Finished {
    intervals: Vec<Interval>,
    end: End,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Interval {
    sum: Sum,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct End {
    sum_received: Sum,
}

/// Bytes in a span of time, in seconds since the transfer began.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct Sum {
    start: f64,
    end: f64,
    /// Payload.
    pub bytes: u64,
    bits_per_second: f64,
}

impl Sum {
    /// Billions of bits a second.
    pub(super) fn gigabits(self) -> f64 {
        self.bits_per_second / 1e9
    }
}

/// TCP connections that iperf3 makes for one transfer: one for the data and one to talk about it.
pub(super) const CONNECTIONS: u64 = 2;

impl Transfer {
    /// Starts to send to the internet as fast as it goes; the data's connection comes from `port`.
    pub(super) fn start(client: &Namespace, port: u16, seconds: u32) -> Result<Self, Error> {
        let (server, at) = (lab::IPERF3.ip().to_string(), lab::IPERF3.port().to_string());
        let (port, time) = (port.to_string(), seconds.to_string());
        let process = client.spawn([
            "iperf3",
            "--client",
            &server,
            "--port",
            &at,
            "--cport",
            &port,
            "--time",
            &time,
            "--interval",
            INTERVAL,
            "--connect-timeout",
            "3000",
            "--json",
        ])?;
        Ok(Self { process, limit: Duration::from_secs(seconds.into()) + GRACE })
    }

    /// Waits for its end; what went wrong, if it broke.
    pub(super) fn finish(mut self, stage: &Stage) -> Result<Result<Finished, String>, Error> {
        let output = stage.wait(&mut self.process, self.limit)?;
        if !output.status.success() {
            return Ok(Err(complaint(&output.stdout, &output.stderr)));
        }
        let report = serde_json::from_str(&output.stdout);
        report.map(Ok).map_err(|source| Error::Answer { command: "iperf3 --json".into(), source })
    }
}

impl Finished {
    /// What arrived in all.
    pub(super) fn received(&self) -> Sum {
        self.end.sum_received
    }

    /// The bytes of each interval that lies wholly between two moments, in seconds.
    pub(super) fn between(&self, from: f64, to: f64) -> Vec<u64> {
        let inside = self.intervals.iter().filter(|it| it.sum.start >= from && it.sum.end <= to);
        inside.map(|it| it.sum.bytes).collect()
    }
}

/// With `--json` even complaints are part of the report.
fn complaint(stdout: &str, stderr: &str) -> String {
    let report: Option<serde_json::Value> = serde_json::from_str(stdout).ok();
    let error = report.as_ref().and_then(|report| report["error"].as_str());
    error.map_or_else(|| stderr.trim().to_owned(), |error| format!("iperf3: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_intervals_between_two_moments_count() {
        let sum = |start, end, bytes| Sum { start, end, bytes, bits_per_second: 0.0 };
        let interval = |start, end, bytes| Interval { sum: sum(start, end, bytes) };
        let finished = Finished {
            intervals: vec![
                interval(0.0, 0.25, 1),
                interval(0.25, 0.5, 2),
                interval(0.5, 0.75, 3),
                interval(0.75, 1.0, 4),
            ],
            end: End { sum_received: sum(0.0, 1.0, 10) },
        };
        assert_eq!(finished.between(0.2, 0.8), [2, 3]);
        assert!(finished.between(0.8, 0.9).is_empty());
    }

    #[test]
    fn a_report_without_a_transfer_tells_what_went_wrong() {
        let report = r#"{ "intervals": [], "end": {}, "error": "unable to connect" }"#;
        assert_eq!(complaint(report, ""), "iperf3: unable to connect");
        assert_eq!(complaint("", "no such option\n"), "no such option");
    }
}
