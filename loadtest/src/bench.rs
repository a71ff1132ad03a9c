//! `halfspace-loadtest bench`: Halfspace against its peers, scenario by scenario, in interleaved
//! rounds; and `halfspace-loadtest report`, which makes pages of what was measured.
//!
//! What counts is what arrives at the far end as it should. A contender that is not installed, or
//! fails, is reported as missing with the reason, never as a zero.

mod core;
mod ends;
mod gateways;
mod lane;
mod machine;
mod ratios;
pub mod report;
mod results;
mod rounds;
mod samples;
mod scenario;
mod scenarios;
mod stats;
mod topology;
mod unit;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use halfspace_testbed::{Interrupt, Requirement, missing};

use crate::binary;
use crate::error::Error;
use crate::output::Outcome;
use machine::Machine;
use results::{Results, Settings};
use rounds::Plan;
use samples::Samples;
use scenario::{Scenario, Turn};

/// Without these nothing can be measured.
const NEEDS: [Requirement; 4] = [
    Requirement::Root,
    Requirement::Bpf,
    Requirement::Program("ip"),
    Requirement::Program("ethtool"),
];

/// A quick run: rounds, and how long each contender is measured in each.
const QUICK: (u32, Duration) = (3, Duration::from_millis(400));

/// How to measure, and whom.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these scenarios
    #[arg(long, value_delimiter = ',', value_parser = scenario_names())]
    only: Vec<String>,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_parser = contender_names())]
    contenders: Vec<String>,
    /// Rounds; medians are over these
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds that each contender is measured in each round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Three rounds of 0.4 seconds, and fewer points on curves: under three minutes for all
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// The `halfspace` binary [default: $HALFSPACE, or the one beside this program]
    #[arg(long)]
    halfspace: Option<PathBuf>,
    /// Where to write the results
    #[arg(long, default_value = "target/bench/results.json")]
    output: PathBuf,
    /// Print the results as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Fail if a target is missed, or Halfspace itself could not be measured
    #[arg(long)]
    enforce: bool,
}

fn scenario_names() -> PossibleValuesParser {
    PossibleValuesParser::new(scenarios::ALL.iter().map(|scenario| scenario.name))
}

fn contender_names() -> PossibleValuesParser {
    let entries = scenarios::ALL.iter().flat_map(|scenario| scenario.contenders);
    PossibleValuesParser::new(entries.map(|entry| entry.name).collect::<BTreeSet<_>>())
}

/// Measures and reports.
///
/// # Errors
///
/// [`Error::Requirements`], [`Error::Nothing`], [`Error::Targets`], or what failed.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let lacking: Vec<_> = missing(&NEEDS).iter().map(ToString::to_string).collect();
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking));
    }
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for signals", source })?;
    let halfspace = binary::find(arguments.halfspace.as_deref())?;
    let (rounds, duration) = if arguments.quick {
        QUICK
    } else {
        (arguments.rounds, Duration::from_secs(arguments.seconds.into()))
    };
    let plan = Plan {
        rounds,
        turn: Turn::new(duration, &interrupt),
        quick: arguments.quick,
        contenders: &arguments.contenders,
        halfspace: &halfspace,
    };
    let scenarios: Vec<_> = scenarios::ALL.iter().filter(|it| arguments.wants(it)).collect();
    let mut machine = Machine::look(&halfspace, programs(&scenarios));
    let mut samples = Samples::default();
    for scenario in scenarios {
        if !interrupt.is_raised() {
            plan.run(scenario, &mut samples, &mut machine.tunings)?;
        }
    }
    if interrupt.is_raised() {
        eprintln!("Interrupted: this is what was measured until then.");
    }
    if samples.is_empty() && !interrupt.is_raised() {
        return Err(Error::Nothing(samples.reasons()));
    }
    let settings = Settings {
        rounds,
        seconds: duration.as_secs_f64(),
        quick: arguments.quick,
        unoptimised: cfg!(debug_assertions) || is_debug_build(&halfspace),
        interrupted: interrupt.is_raised(),
    };
    conclude(arguments, &samples.results(machine, settings))
}

fn conclude(arguments: &Arguments, results: &Results) -> Result<Outcome, Error> {
    let json = results.json()?;
    report::write(&arguments.output, &format!("{json}\n"))?;
    if arguments.json {
        println!("{json}");
    } else {
        println!("{}\nWritten to {}", report::terminal(results), arguments.output.display());
    }
    let missed = results.missed();
    if arguments.enforce && !missed.is_empty() {
        return Err(Error::Targets(missed));
    }
    Ok(Outcome::of(Vec::new(), results.settings.interrupted))
}

impl Arguments {
    fn wants(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario.name)
    }
}

/// The programs that scenarios need, on top of those that all do.
fn programs(scenarios: &[&Scenario]) -> impl Iterator<Item = &'static str> {
    let entries = scenarios.iter().flat_map(|scenario| scenario.contenders);
    NEEDS.iter().chain(entries.flat_map(|entry| entry.needs)).filter_map(|need| match need {
        Requirement::Program(name) => Some(*name),
        Requirement::Root | Requirement::Bpf => None,
    })
}

/// Whether a binary lies where Cargo puts those that are not optimised. It does not tell itself.
fn is_debug_build(binary: &Path) -> bool {
    binary.parent().is_some_and(|directory| directory.ends_with("debug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_build_is_known_by_where_it_lies() {
        assert!(is_debug_build(Path::new("target/debug/halfspace")));
        assert!(!is_debug_build(Path::new("target/release/halfspace")));
        assert!(!is_debug_build(Path::new("halfspace")));
    }
}
