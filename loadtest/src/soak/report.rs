//! What a soak comes to.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::Serialize;

use super::holdings::Holdings;
use super::memory::Memory;
use super::talk::Conversations;
use crate::environments::report::Results as Environments;
use crate::output::{self, Report, human_seconds};

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// How long the load went on.
    pub seconds: f64,
    /// Conversations by kind.
    pub conversations: BTreeMap<&'static str, Conversations>,
    /// The environments' churn.
    pub environments: Environments,
    /// How often the resource document was changed.
    pub document_changes: usize,
    /// How often the daemon was killed and started again.
    pub kills: usize,
    /// The most flows seen at once.
    pub peak_flows: u64,
    /// Resident memory of the daemon.
    pub memory: Memory,
    /// How long it took until nothing was held any more, or how long that was waited for.
    pub drain_seconds: f64,
    /// What the gateway held before the load.
    pub before: Holdings,
    /// What it held at the end.
    pub after: Holdings,
    /// What is wrong, a sentence each.
    pub complaints: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl Report for Results {
    fn tables(&self) -> Vec<Table> {
        let mut talk = output::table([
            "conversations",
            "done",
            "failed",
            "excused",
            "sent again",
            "p50",
            "p99",
            "max",
        ]);
        for (kind, it) in &self.conversations {
            talk.add_row([
                (*kind).to_owned(),
                it.done.to_string(),
                it.failures.values().sum::<u64>().to_string(),
                it.excused.values().sum::<u64>().to_string(),
                it.repeated_datagrams.to_string(),
                human_seconds(it.latency_seconds.p50),
                human_seconds(it.latency_seconds.p99),
                human_seconds(it.latency_seconds.max),
            ]);
        }
        let mut totals = output::table(["soak", ""]);
        totals.add_row(["loaded for", &human_seconds(self.seconds)]);
        totals.add_row(["document changes", &self.document_changes.to_string()]);
        totals.add_row(["kills", &self.kills.to_string()]);
        totals.add_row(["most flows at once", &self.peak_flows.to_string()]);
        totals.add_row(["waited for all to be back", &human_seconds(self.drain_seconds)]);
        let memory = &self.memory;
        let mib = |bytes: f64| format!("{:.1} MiB", bytes / (1024.0 * 1024.0));
        totals.add_row(["memory at the start", &mib(memory.start_bytes)]);
        totals.add_row(["memory, second quarter", &mib(memory.after_first_quarter_bytes)]);
        totals.add_row(["memory, last quarter", &mib(memory.end_bytes)]);
        let slope = format!("{:.0} B/s", memory.slope_bytes_per_second);
        totals.add_row(["memory, slope", &slope]);
        if !memory.judged {
            totals.add_row(["memory", "too short a run to judge"]);
        }
        let mut held = output::table(["held", "before", "after"]);
        let mut row = |what: &str, pick: fn(&Holdings) -> u64| {
            held.add_row([
                what.to_owned(),
                pick(&self.before).to_string(),
                pick(&self.after).to_string(),
            ]);
        };
        row("flows", |it| it.flows);
        row("timers", |it| it.flow_timers);
        row("leased ports", |it| it.leased_ports);
        row("quarantined ports", |it| it.quarantined_ports);
        row("ports set aside", |it| it.set_aside_ports);
        row("environments", |it| it.environments.values().sum());
        row("kernel map entries", |it| it.map_entries.values().sum());
        row("links", |it| it.links);
        row("next hops", |it| it.neighbours);
        row("file descriptors", |it| it.open_fds);
        let mut tables = vec![totals, talk];
        tables.extend(self.environments.tables());
        tables.push(held);
        tables
    }
}
