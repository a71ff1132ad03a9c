//! What `capacity` can be asked for.

use std::time::Duration;

use clap::ValueEnum;

use crate::error::Error;
use crate::frames::place::Place;
use crate::frames::stage;
use crate::output::{Output, Rate, parse_count, parse_duration, parse_duration_or_zero};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// The most connections a second of which none is lost.
    EstablishmentRate,
    /// The most connections of which none is lost.
    Capacity,
    /// How fast the gateway removes connections.
    TearDownRate,
    /// All of them.
    All,
}

/// Options of `capacity`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub stage: stage::Options,
    /// Interface behind the gateway that notes the flows and answers them
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub receive: Place,
    /// What to measure
    #[arg(long, value_enum, default_value = "all")]
    pub measure: Measure,
    /// Largest table that is tried
    #[arg(long, default_value = "1M", value_parser = parse_count)]
    pub max_flows: u64,
    /// Connections of a trial for the establishment rate, and of the tear-down
    #[arg(long, default_value = "10k", value_parser = parse_count)]
    pub flows: u64,
    /// Highest rate that is tried, connections a second
    #[arg(long, default_value = "1M")]
    pub max_rate: Rate,
    /// Connections a second while a table is filled whose rate is not under test; by default 0.8
    /// of the establishment rate, if that was measured, or 50k
    #[arg(long)]
    pub fill_rate: Option<Rate>,
    /// Answers a second in the second phase
    #[arg(long, default_value = "50k")]
    pub validation_rate: Rate,
    /// Command that empties the gateway's table before each trial
    #[arg(long, value_name = "COMMAND")]
    pub reset_command: Option<String>,
    /// Command that prints how many connections the gateway tracks
    #[arg(long, value_name = "COMMAND")]
    pub count_command: Option<String>,
    /// Command that has the gateway remove all connections, for the tear-down rate; without it TCP
    /// connections are reset, and others left to their idle time
    #[arg(long, value_name = "COMMAND")]
    pub tear_down_command: Option<String>,
    /// Network namespace that these commands run in: the gateway's
    #[arg(long, value_name = "NETNS")]
    pub gateway_namespace: Option<String>,
    /// How long to wait between two trials for the gateway to let go of connections, if there is a
    /// count command
    #[arg(long, default_value = "10s", value_parser = parse_duration_or_zero)]
    pub settle: Duration,
    /// How long the tear-down may take
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub patience: Duration,
    /// Most trials
    #[arg(long, default_value_t = 100)]
    pub max_trials: u32,
    /// Longest time for all
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    pub max_time: Duration,
    #[command(flatten)]
    pub output: Output,
}

impl Arguments {
    pub fn measures_rate(&self) -> bool {
        matches!(self.measure, Measure::EstablishmentRate | Measure::All)
    }

    pub fn measures_capacity(&self) -> bool {
        matches!(self.measure, Measure::Capacity | Measure::All)
    }

    pub fn measures_tear_down(&self) -> bool {
        matches!(self.measure, Measure::TearDownRate | Measure::All)
    }

    /// The largest table, as a number of flows.
    pub fn most_flows(&self) -> u32 {
        // Checked before anything is measured.
        u32::try_from(self.max_flows.max(self.flows)).unwrap_or(u32::MAX)
    }

    /// Refuses what does not go together.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Usage(why));
        if self.flows == 0 || self.max_flows == 0 {
            return refuse("--flows and --max-flows must be above zero".to_owned());
        }
        let room = u64::from(self.stage.distinct());
        let most = self.max_flows.max(self.flows);
        if most > room {
            return refuse(format!(
                "the addresses of --source have room for {room} flows, not for {most}: give a \
                 larger one, or a lower --max-flows"
            ));
        }
        if self.measure == Measure::TearDownRate && self.count_command.is_none() {
            return refuse(
                "the tear-down rate needs --count-command, to see the table empty".to_owned(),
            );
        }
        Ok(())
    }
}
