//! What `capacity` reports.

use comfy_table::Table;
use serde::Serialize;

use super::search::{Capacity, EstablishmentRate};
use super::tear_down::TearDownRate;
use super::trial::Bench;
use crate::error::Error;
use crate::frames::Protocol;
use crate::frames::sender::Choice;
use crate::output::{self, human, human_seconds};

/// The result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was carried.
    pub protocol: Protocol,
    /// Seed of the ports.
    pub seed: u64,
    /// How frames were sent.
    pub engine: Choice,
    /// If it was measured.
    pub establishment_rate: Option<EstablishmentRate>,
    /// If it was measured.
    pub capacity: Option<Capacity>,
    /// If it was measured.
    pub tear_down_rate: Option<TearDownRate>,
    /// Trials made.
    pub trials: u32,
    /// Time for all.
    pub seconds: f64,
    /// Frames that arrived broken: wrong checksum, payload or addresses, at either end.
    pub broken: u64,
    /// Connections that the gateway tracked before, by its own count.
    pub connections_before: u64,
}

impl Report {
    /// One without results yet.
    pub fn new(bench: &Bench) -> Self {
        Self {
            protocol: bench.stage.plan.protocol,
            seed: bench.stage.plan.seed,
            engine: bench.stage.choice.clone(),
            establishment_rate: None,
            capacity: None,
            tear_down_rate: None,
            trials: 0,
            seconds: 0.0,
            broken: 0,
            connections_before: bench.base,
        }
    }

    /// Adds what is known at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn finish(&mut self, bench: &Bench) -> Result<(), Error> {
        self.trials = bench.trials;
        self.seconds = bench.elapsed().as_secs_f64();
        self.broken = bench.stage.arrived()?.broken() + bench.stage.returned()?.broken();
        Ok(())
    }

    /// What was not as it should be.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.broken > 0 {
            complaints.push(format!("{} broken frames arrived", self.broken));
        }
        let none =
            self.establishment_rate.as_ref().is_some_and(|r| r.connections_per_second == 0.0)
                || self.capacity.as_ref().is_some_and(|c| c.connections == 0);
        if none {
            complaints.push(
                "no trial passed: is there a route to --destination, and back for answers?"
                    .to_owned(),
            );
        }
        complaints
    }
}

impl output::Report for Report {
    fn tables(&self) -> Vec<Table> {
        let mut table = output::table(["", "result", "limited by", "trials"]);
        if let Some(rate) = &self.establishment_rate {
            table.add_row([
                "maximum connection establishment rate".to_owned(),
                format!("{}/s", human(rate.connections_per_second)),
                rate.limited_by.to_owned(),
                rate.trials.len().to_string(),
            ]);
        }
        if let Some(capacity) = &self.capacity {
            table.add_row([
                "connection tracking table capacity".to_owned(),
                capacity.connections.to_string(),
                capacity.limited_by.to_owned(),
                capacity.trials.len().to_string(),
            ]);
        }
        if let Some(rate) = &self.tear_down_rate {
            let result = rate.connections_per_second.map_or_else(
                || rate.note.clone().unwrap_or_else(|| "not in time".to_owned()),
                |per_second| {
                    let time = human_seconds(rate.seconds);
                    format!("{}/s ({} in {time})", human(per_second), rate.connections)
                },
            );
            let row = ["connection tear-down rate".to_owned(), result, rate.trigger.to_owned()];
            table.add_row(row.into_iter().chain(["1".to_owned()]));
        }
        let mut how = output::table(["protocol", "sent by", "why", "seed"]);
        how.add_row([
            format!("{:?}", self.protocol).to_lowercase(),
            self.engine.name.to_owned(),
            self.engine.why.clone(),
            self.seed.to_string(),
        ]);
        vec![table, how]
    }
}
