//! What a churn of environments comes to.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::Table;
use serde::Serialize;

use super::churn::{Plan, Tally};
use crate::histogram::Summary;
use crate::output::{self, Report, human, human_seconds};

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// How long environments were attached.
    pub seconds: f64,
    /// Links there were.
    pub environments: usize,
    /// Environments that were being attached, probed or detached at once, at the most.
    pub concurrency: usize,
    /// The rate asked for, if one was.
    pub rate_per_second: Option<f64>,
    /// Environments attached.
    pub attaches: u64,
    /// The same, a second.
    pub attaches_per_second: f64,
    /// From the request (at a set rate: from when it was due) to the answer.
    pub attach_latency_seconds: Summary,
    /// From the attachment's answer to the gateway's ARP answer.
    pub first_packet_latency_seconds: Summary,
    /// From the attachment's answer to the answer to the probe.
    pub first_answer_latency_seconds: Summary,
    /// Environments detached through the API.
    pub detaches: u64,
    /// From the request to the answer.
    pub detach_latency_seconds: Summary,
    /// Environments that ended by their link being deleted.
    pub vanishes: u64,
    /// From when the link was gone until the gateway no longer listed the environment.
    pub vanish_latency_seconds: Summary,
    /// Detached environments that were found silent.
    pub silent_after_detach: u64,
    /// Attachments that were due and not begun before the time was up.
    pub attaches_behind: u64,
    /// What failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// What failed while something was done to the gateway that may well fail it.
    pub excused: BTreeMap<String, u64>,
    /// Environments that are listed and were not before.
    pub leftovers: BTreeSet<String>,
    /// Environments that were listed before and are not any more.
    pub disappeared: BTreeSet<String>,
    /// Links that could not be removed.
    pub links_left: usize,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl Results {
    /// Of what happened, and of the environments listed before and after it.
    pub fn new(
        plan: &Plan,
        count: usize,
        tally: &Tally,
        before: &BTreeSet<String>,
        after: &BTreeSet<String>,
    ) -> Self {
        let seconds = tally.elapsed.as_secs_f64();
        let attaches = tally.attach.count();
        Self {
            seconds,
            environments: count,
            concurrency: plan.concurrency,
            rate_per_second: plan.rate.map(crate::output::Rate::get),
            attaches,
            attaches_per_second: per_second(attaches, seconds),
            attach_latency_seconds: tally.attach.summary(),
            first_packet_latency_seconds: tally.first_packet.summary(),
            first_answer_latency_seconds: tally.first_answer.summary(),
            detaches: tally.detach.count(),
            detach_latency_seconds: tally.detach.summary(),
            vanishes: tally.vanish.count(),
            vanish_latency_seconds: tally.vanish.summary(),
            silent_after_detach: tally.silent,
            attaches_behind: tally.behind,
            failures: tally.failures.clone(),
            excused: tally.excused.clone(),
            leftovers: after.difference(before).cloned().collect(),
            disappeared: before.difference(after).cloned().collect(),
            links_left: 0,
            interrupted: false,
        }
    }

    /// What is wrong, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<_> = self
            .failures
            .iter()
            .map(|(reason, count)| format!("environments: {reason}: {count}"))
            .collect();
        let mut list = |what: &str, ids: &BTreeSet<String>| {
            const SHOWN: usize = 5;
            if ids.is_empty() {
                return;
            }
            let shown: Vec<_> = ids.iter().take(SHOWN).map(String::as_str).collect();
            let more = if ids.len() > SHOWN { ", …" } else { "" };
            complaints.push(format!("{} {what}: {}{more}", ids.len(), shown.join(", ")));
        };
        list("environments are left over", &self.leftovers);
        list("environments that were there before have gone", &self.disappeared);
        if self.links_left > 0 {
            complaints.push(format!("{} links could not be removed", self.links_left));
        }
        complaints
    }
}

impl Report for Results {
    fn tables(&self) -> Vec<Table> {
        let mut latencies =
            output::table(["", "count", "min", "p50", "p90", "p99", "p99.9", "max"]);
        for (what, summary) in [
            ("attach", &self.attach_latency_seconds),
            ("first packet", &self.first_packet_latency_seconds),
            ("first answer", &self.first_answer_latency_seconds),
            ("detach", &self.detach_latency_seconds),
            ("vanish", &self.vanish_latency_seconds),
        ] {
            if summary.count > 0 {
                latencies.add_row([vec![what.to_owned()], summary.cells().to_vec()].concat());
            }
        }
        let mut totals = output::table(["environments", ""]);
        totals.add_row(["links", &self.environments.to_string()]);
        totals.add_row(["measured for", &human_seconds(self.seconds)]);
        totals.add_row(["attached a second", &human(self.attaches_per_second)]);
        totals.add_row(["silent after detach", &self.silent_after_detach.to_string()]);
        if self.rate_per_second.is_some() {
            totals.add_row(["due and not begun", &self.attaches_behind.to_string()]);
        }
        for (reason, count) in &self.failures {
            totals.add_row([format!("failed: {reason}"), count.to_string()]);
        }
        for (reason, count) in &self.excused {
            totals.add_row([format!("excused: {reason}"), count.to_string()]);
        }
        totals.add_row(["left over", &self.leftovers.len().to_string()]);
        vec![totals, latencies]
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 in any run")]
    let count = count as f64;
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plan() -> Plan {
        Plan {
            bridge: "bridge-a".to_owned(),
            concurrency: 2,
            rate: None,
            hold: Duration::ZERO,
            duration: Duration::from_secs(2),
            vanish: 0.0,
            ask: None,
            patience: Duration::from_secs(1),
        }
    }

    fn ids(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn a_listing_that_is_not_as_before_is_complained_of_both_ways() {
        let tally = Tally::default();
        let same = Results::new(&plan(), 5, &tally, &ids(&["a", "b"]), &ids(&["a", "b"]));
        assert_eq!(same.complaints(), Vec::<String>::new());

        let other = Results::new(&plan(), 5, &tally, &ids(&["a", "b"]), &ids(&["b", "c"]));
        assert_eq!(
            other.complaints(),
            [
                "1 environments are left over: c",
                "1 environments that were there before have gone: a"
            ]
        );
    }

    #[test]
    fn rates_and_counts_are_of_what_happened() {
        let mut tally = Tally { elapsed: Duration::from_secs(2), ..Tally::default() };
        for _ in 0..50 {
            tally.attach.record(Duration::from_millis(16));
        }
        tally.failures.insert("no answer to the probe".to_owned(), 3);
        let results = Results::new(&plan(), 5, &tally, &ids(&[]), &ids(&[]));
        assert!((results.attaches_per_second - 25.0).abs() < 1e-9);
        assert_eq!(results.complaints(), ["environments: no answer to the probe: 3"]);
        let json = serde_json::to_value(&results).unwrap();
        assert_eq!(json["attach_latency_seconds"]["count"], 50);
        assert_eq!(json["failures"]["no answer to the probe"], 3);
    }
}
