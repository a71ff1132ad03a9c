//! `halfspace-perf-guard` notices when packets or flows become more expensive, without a stopwatch:
//! benchmarks on a shared machine are too noisy to fail a build, instruction counts are not.
//!
//! | measured | how |
//! | --- | --- |
//! | kernel programs | instructions that the verifier walked through when it loaded them |
//! | an established flow's packet | `BPF_PROG_TEST_RUN`, the best of many, as a multiple of an empty program's |
//! | first packets, timers | instructions of user space, counted by Callgrind |
//!
//! Each figure is compared with the one in `perf-guard/baseline.toml`. `make perf-guard` does it,
//! `make perf-guard UPDATE=1` writes the figures of now into that file.

mod baseline;
mod callgrind;
mod error;
mod kernel;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use halfspace_testbed::missing;

use baseline::{Baseline, Figures, Groups, MadeWith};
use error::Error;

/// Compares what packets and flows cost with what they did.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The program whose instructions are counted: `halfspace-slow-path`, built with `--release`
    #[arg(long, default_value = "target/release/halfspace-slow-path")]
    slow_path: PathBuf,
    /// The file with the figures to compare with
    #[arg(long, default_value = "perf-guard/baseline.toml")]
    baseline: PathBuf,
    /// Write the figures of now into that file instead
    #[arg(long)]
    update: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf-guard: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let measured = measure(arguments)?;
    let made_with = MadeWith::look();
    if arguments.update {
        let before = Baseline::read(&arguments.baseline).ok();
        Baseline::of(before.as_ref(), made_with, measured)?.write(&arguments.baseline)?;
        println!("Written to {}; commit it.", arguments.baseline.display());
        return Ok(());
    }
    let baseline = Baseline::read(&arguments.baseline)?;
    let comparison = baseline.compare(&measured, &made_with);
    println!("{}", comparison.table());
    if let Some(others) = baseline.made_with.differences(&made_with) {
        println!("The baseline was made with other versions: {others}.");
    }
    comparison.verdict()
}

/// All figures; none of the kernel's where it cannot be asked and that is no fault.
fn measure(arguments: &Arguments) -> Result<Groups<Option<Figures>>, Error> {
    let lacking: Vec<_> = missing(&kernel::NEEDS).iter().map(ToString::to_string).collect();
    let required = arguments.update || std::env::var_os("HALFSPACE_REQUIRE_ALL").is_some();
    let slow_path_instructions = Some(callgrind::instructions(&arguments.slow_path)?);
    if lacking.is_empty() {
        let kernel::Costs { verified, times } = kernel::measure()?;
        return Ok(Groups {
            verified_instructions: Some(verified),
            times_an_empty_program: Some(times),
            slow_path_instructions,
        });
    }
    if required {
        return Err(Error::Requirements(lacking));
    }
    eprintln!("SKIPPED: the kernel programs: {}", lacking.join("; "));
    Ok(Groups { verified_instructions: None, times_an_empty_program: None, slow_path_instructions })
}
