//! What `packets` reports.

use comfy_table::Table;
use serde::Serialize;

use super::measure::Window;
use super::options::{Arguments, TrialSize};
use crate::frames::Protocol;
use crate::frames::sender::Choice;
use crate::frames::sink::Counters;
use crate::frames::stage::Stage;
use crate::histogram::{Latencies, Summary};
use crate::output::{self, human};

/// The result of all trials.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was carried.
    pub protocol: Protocol,
    /// Flows that took turns; of new flows how many the addresses have.
    pub flows: u64,
    /// Whether every frame was a flow of its own.
    pub new_flows: bool,
    /// Whether somebody looked what arrived.
    pub verified: bool,
    /// Seed of the ports.
    pub seed: u64,
    /// One for each frame size.
    pub trials: Vec<Trial>,
}

/// The result of one trial.
#[derive(Debug, Serialize)]
pub struct Trial {
    /// Frame size as it was asked for.
    pub size: String,
    /// Average frame size in bytes, without the check sequence.
    pub frame_bytes: f64,
    /// How frames were sent.
    pub engine: Choice,
    /// Whether the far end's program was run by the driver.
    pub receives_natively: Option<bool>,
    /// Flows that the gateway let through before the trial.
    pub flows_established: u64,
    /// Time over which the rates were taken; the counts are of the whole trial.
    pub seconds: f64,
    /// Frames sent.
    pub sent: u64,
    /// Valid frames that arrived, each once.
    pub received: u64,
    /// Frames that did not arrive.
    pub lost: u64,
    /// Their share of those sent.
    pub loss: f64,
    /// Frames that arrived again.
    pub duplicated: u64,
    /// Frames that arrived after a later one of their flow (RFC 4737).
    pub reordered: u64,
    /// Their share of those received.
    pub reordering: f64,
    /// Frames with a wrong checksum.
    pub bad_checksum: u64,
    /// Frames with a wrong payload.
    pub bad_marker: u64,
    /// Frames from a wrong address.
    pub bad_source: u64,
    /// Frames sent a second.
    pub sent_per_second: f64,
    /// Frames that arrived a second.
    pub received_per_second: f64,
    /// Sent on layer 2, without check sequence, preamble and gap.
    pub sent_bits_per_second: f64,
    /// Arrived on layer 2.
    pub received_bits_per_second: f64,
    /// One way, of a sample of the frames.
    pub latency_seconds: Summary,
}

impl Report {
    /// One without trials yet. The seed must be known by now.
    pub fn new(arguments: &Arguments) -> Self {
        Self {
            protocol: arguments.stage.protocol,
            flows: if arguments.new_flows {
                arguments.stage.distinct().into()
            } else {
                arguments.flows
            },
            new_flows: arguments.new_flows,
            verified: arguments.receive.is_some(),
            seed: arguments.stage.seed(),
            trials: Vec::new(),
        }
    }

    /// What was not as it should be.
    pub fn complaints(&self, max_loss: Option<f64>) -> Vec<String> {
        let mut complaints = Vec::new();
        for trial in self.trials.iter().filter(|_| self.verified) {
            let broken = trial.bad_checksum + trial.bad_marker + trial.bad_source;
            let mut say = |what: String| complaints.push(format!("size {}: {what}", trial.size));
            if broken > 0 {
                say(format!(
                    "{broken} broken frames arrived: {} with a wrong checksum, {} with a wrong \
                     payload, {} from a wrong address",
                    trial.bad_checksum, trial.bad_marker, trial.bad_source
                ));
            }
            if trial.sent > 0 && trial.received == 0 {
                say("no frame arrived: is there a route to --destination, and back for ARP?"
                    .to_owned());
            } else if let Some(most) = max_loss
                && trial.loss > most
            {
                say(format!("{} of {} frames were lost", trial.lost, trial.sent));
            }
        }
        complaints
    }
}

impl Trial {
    #[expect(clippy::too_many_arguments, reason = "the one place where all figures meet")]
    #[expect(clippy::cast_precision_loss, reason = "a run sends far less than 2^52 bytes")]
    pub fn new(
        arguments: &Arguments,
        size: &TrialSize,
        stage: &Stage,
        flows_established: u64,
        window: Window,
        sent: u64,
        arrived: Counters,
        latencies: &Latencies,
    ) -> Self {
        let sizes = stage.plan.sizes.get();
        let bare = arguments.new_flows && arguments.stage.protocol == Protocol::Tcp;
        let frame_bytes = if bare {
            f64::from(stage.plan.bare_size())
        } else {
            sizes.iter().map(|&size| f64::from(size)).sum::<f64>() / sizes.len() as f64
        };
        let lost = if arguments.receive.is_some() { sent.saturating_sub(arrived.valid) } else { 0 };
        let per_second = |count: f64| count / window.time.as_secs_f64().max(1e-9);
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        Self {
            size: size.name.clone(),
            frame_bytes,
            engine: stage.choice.clone(),
            receives_natively: stage.receives_natively(),
            flows_established,
            seconds: window.time.as_secs_f64(),
            sent,
            received: arrived.valid,
            lost,
            loss: share(lost, sent),
            duplicated: arrived.duplicated,
            reordered: arrived.reordered,
            reordering: share(arrived.reordered, arrived.valid),
            bad_checksum: arrived.bad_checksum,
            bad_marker: arrived.bad_marker,
            bad_source: arrived.bad_source,
            sent_per_second: per_second(window.sent as f64),
            received_per_second: per_second(window.arrived.valid as f64),
            sent_bits_per_second: per_second(window.sent as f64 * frame_bytes * 8.0),
            received_bits_per_second: per_second(window.arrived.bytes as f64 * 8.0),
            latency_seconds: latencies.summary(),
        }
    }
}

impl output::Report for Report {
    fn tables(&self) -> Vec<Table> {
        let mut frames = output::table([
            "size",
            "sent/s",
            "received/s",
            "sent bit/s",
            "received bit/s",
            "lost",
            "reordered",
            "twice",
            "broken",
        ]);
        let [count, min, p50, p90, p99, p99_9, max] = Summary::HEADER;
        let mut times = output::table(["one way, size", count, min, p50, p90, p99, p99_9, max]);
        let mut how = output::table(["size", "sent by", "why"]);
        for trial in &self.trials {
            let broken = trial.bad_checksum + trial.bad_marker + trial.bad_source;
            let percent = |share: f64| format!("{:.3} %", share * 100.0);
            frames.add_row([
                trial.size.clone(),
                human(trial.sent_per_second),
                human(trial.received_per_second),
                human(trial.sent_bits_per_second),
                human(trial.received_bits_per_second),
                percent(trial.loss),
                percent(trial.reordering),
                trial.duplicated.to_string(),
                broken.to_string(),
            ]);
            times.add_row([trial.size.clone()].into_iter().chain(trial.latency_seconds.cells()));
            how.add_row([
                trial.size.clone(),
                trial.engine.name.to_owned(),
                trial.engine.why.clone(),
            ]);
        }
        let mut plan = output::table(["flows", "new flows", "verified", "seed"]);
        plan.add_row([
            self.flows.to_string(),
            self.new_flows.to_string(),
            self.verified.to_string(),
            self.seed.to_string(),
        ]);
        vec![frames, times, how, plan]
    }
}
