//! `halfspace-loadtest bench`: Halfspace's NAT gateway against its peers, in interleaved rounds.
//!
//! All contenders are set up side by side, each on a stage of its own, and then take turns, so
//! that what disturbs the machine for a while disturbs all. What counts is what arrives at the far
//! end as it should; every flow is set up, and seen to pass, before it is measured.

mod contender;
mod core;
mod halfspace;
mod lane;
mod machine;
mod report;
mod stats;
mod topology;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use halfspace_testbed::{Interrupt, Requirement, Testbed, missing};
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::Error;
use crate::explain;
use contender::Contender;
use lane::Lane;
use machine::Machine;
use report::{FLOW_COUNTS, Samples};

/// Without these nothing can be measured.
const NEEDS: [Requirement; 4] = [
    Requirement::Root,
    Requirement::Bpf,
    Requirement::Program("ip"),
    Requirement::Program("ethtool"),
];

/// How to measure, and whom.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Rounds; medians are over these
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds that each contender is measured in each round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Three rounds of one second
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Only these contenders
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::ALL)]
    contenders: Vec<Contender>,
    /// The `halfspace` binary [default: $HALFSPACE, or the one beside this program]
    #[arg(long)]
    halfspace: Option<PathBuf>,
    /// Where to write the results
    #[arg(long, default_value = "target/bench/results.json")]
    output: PathBuf,
    /// Print the results as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Fail if a target is missed
    #[arg(long)]
    enforce: bool,
}

/// Measures and reports.
///
/// # Errors
///
/// [`Error::Requirements`], [`Error::Nothing`], [`Error::Targets`], or what failed. A contender
/// that fails is reported as missing and the others go on.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let lacking: Vec<_> = missing(&NEEDS).iter().map(ToString::to_string).collect();
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking));
    }
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for signals", source })?;
    let options = halfspace::Options {
        binary: binary(arguments)?,
        flows: FLOW_COUNTS.into_iter().max().unwrap_or(1),
    };
    let mut machine = Machine::look(&options.binary.to_string_lossy());
    let mut samples = Samples::default();

    let bed = Testbed::new("bench")?;
    let mut lanes = BTreeMap::new();
    for contender in Contender::ALL {
        if !arguments.contenders.contains(&contender) {
            samples.drop_out(contender, "not asked for".to_owned());
        } else if !interrupt.is_raised() {
            match Lane::set_up(contender, &bed, &FLOW_COUNTS, &options) {
                Ok(lane) => {
                    machine.notes.extend_from_slice(lane.notes());
                    lanes.insert(contender, lane);
                }
                Err(error) => samples.drop_out(contender, explain(&error)),
            }
        }
    }
    measure(arguments, lanes, &mut samples, &interrupt);
    drop(bed);
    if interrupt.is_raised() {
        eprintln!("Interrupted: this is what was measured until then.");
    }
    if samples.is_empty() {
        return Err(Error::Nothing(samples.reasons()));
    }
    report(arguments, &samples, machine)
}

fn measure(
    arguments: &Arguments,
    mut lanes: BTreeMap<Contender, Lane>,
    samples: &mut Samples,
    interrupt: &Interrupt,
) {
    let (rounds, seconds) =
        if arguments.quick { (3, 1) } else { (arguments.rounds, arguments.seconds) };
    let steps = u64::from(rounds) * (FLOW_COUNTS.len() * lanes.len()) as u64;
    // Draws on the terminal only, if there is one.
    let bar = ProgressBar::new(steps).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {eta:>4} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    for round in 1..=rounds {
        for flows in FLOW_COUNTS {
            for contender in Contender::ALL {
                let Some(lane) = lanes.get(&contender) else { continue };
                if interrupt.is_raised() {
                    bar.abandon_with_message("interrupted");
                    return;
                }
                bar.set_message(format!("round {round}: {}, flows: {flows}", contender.title()));
                match lane.round(flows, Duration::from_secs(seconds.into()), interrupt) {
                    Ok(Some(sample)) => samples.add(contender, flows, sample),
                    Ok(None) => {}
                    Err(error) => {
                        samples.drop_out(contender, explain(&error));
                        lanes.remove(&contender);
                    }
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
}

fn report(arguments: &Arguments, samples: &Samples, machine: Machine) -> Result<(), Error> {
    let results = samples.results(machine);
    let json = serde_json::to_string_pretty(&results).map_err(|error| Error::System {
        action: "write the results as JSON",
        source: error.into(),
    })?;
    write(&arguments.output, &json)?;
    if arguments.json {
        println!("{json}");
    } else {
        println!("{}\nWritten to {}", samples.tables(), arguments.output.display());
    }
    let missed = samples.missed();
    if arguments.enforce && !missed.is_empty() {
        return Err(Error::Targets(missed));
    }
    Ok(())
}

fn write(path: &Path, json: &str) -> Result<(), Error> {
    let failed = |action, source| Error::File { action, path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| failed("make the directory of", source))?;
    }
    fs::write(path, format!("{json}\n")).map_err(|source| failed("write", source))
}

/// The flag, the environment, or what lies beside our own executable.
fn binary(arguments: &Arguments) -> Result<PathBuf, Error> {
    if let Some(named) = &arguments.halfspace {
        return Ok(named.clone());
    }
    if let Some(named) = std::env::var_os("HALFSPACE") {
        return Ok(named.into());
    }
    let own = std::env::current_exe()
        .map_err(|source| Error::System { action: "find our own executable", source })?;
    Ok(own.with_file_name("halfspace"))
}
