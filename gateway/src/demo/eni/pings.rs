//! The program ping, and what it says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use halfspace_testbed::{Namespace, Process};
use nix::sys::signal::Signal;

use super::plan::{self, Instance};
use super::track::{Answer, Track};
use crate::demo::error::Error;

/// From one to the next.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long ping may take to sum up.
const LIMIT: Duration = Duration::from_secs(5);

/// A ping under way.
#[derive(Debug)]
pub(super) struct Pings {
    process: Process,
    /// When the load began.
    began: SystemTime,
}

impl Pings {
    /// Starts to ask.
    pub(super) fn start(client: &Namespace, began: SystemTime) -> Result<Self, Error> {
        let (interval, address) = (INTERVAL.as_secs_f64().to_string(), plan::PUBLIC.to_string());
        // -D: with the time of each answer.
        let process = client.spawn(["ping", "-D", "-n", "-i", &interval, &address])?;
        Ok(Self { process, began })
    }

    /// Stops asking.
    pub(super) fn finish(mut self) -> Result<Track, Error> {
        let until = self.began.elapsed().unwrap_or_default();
        // As Ctrl-C does: it sums up and ends. Its exit status tells of losses, which are to be
        // expected.
        self.process.signal(Signal::SIGINT);
        let said = self.process.output(LIMIT)?.stdout;
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let answers: Vec<_> = said.lines().filter_map(|line| answer(line, began)).collect();
        let asked = said.lines().find_map(asked).unwrap_or_default();
        Ok(Track::new(asked, answers, until))
    }
}

/// `[1700000000.123456] 64 bytes from 203.0.113.50: icmp_seq=1 ttl=63 time=0.081 ms`
fn answer(line: &str, began: Duration) -> Option<Answer> {
    let (stamp, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (seconds, microseconds) = stamp.split_once('.')?;
    let seconds = Duration::from_secs(seconds.parse().ok()?);
    let at = seconds + Duration::from_micros(microseconds.parse().ok()?);
    let value = |name| rest.split(' ').find_map(|word| word.strip_prefix(name));
    Some(Answer {
        number: value("icmp_seq=")?.parse().ok()?,
        at: at.saturating_sub(began),
        from: Instance::of_ttl(value("ttl=")?.parse().ok()?)?,
    })
}

/// `20 packets transmitted, 19 received, 5% packet loss, time 95ms`
fn asked(line: &str) -> Option<u32> {
    line.split_once(" packets transmitted")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::eni::plan::WEB2;

    #[test]
    fn what_ping_says_is_read() {
        let began = Duration::from_secs(1_700_000_000);
        let line =
            "[1700000000.123456] 64 bytes from 203.0.113.50: icmp_seq=7 ttl=127 time=0.081 ms";
        let at = Duration::from_micros(123_456);
        assert_eq!(answer(line, began), Some(Answer { number: 7, at, from: WEB2 }));
        let unreachable =
            "[1700000000.123456] From 203.0.113.2 icmp_seq=8 Destination Host Unreachable";
        assert_eq!(answer(unreachable, began), None);
        let summary = "20 packets transmitted, 19 received, 5% packet loss, time 95ms";
        assert_eq!(asked(summary), Some(20));
    }
}
