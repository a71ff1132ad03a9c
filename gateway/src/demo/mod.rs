//! `halfspace demo`: the gateway at work with real programs, in network namespaces of its own.
//! Whatever is shown is also checked.
//!
//! | file | idea |
//! | --- | --- |
//! | `tour` | what is shown if nothing is said: functions, tenants, restarts |
//! | `stage` | a show from its beginning to its end |
//! | `daemon` | the gateway under a show, and how it is asked |
//! | `curl` | what curl and the servers say |
//! | `report`, `tables`, `progress` | how it is told |

mod curl;
mod daemon;
mod error;
mod progress;
mod report;
mod stage;
mod tables;
mod tour;

use std::time::Duration;

use crate::config::node::DatapathChoice;
use progress::{Mark, Progress};
use report::Report;

/// What to show, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Environments behind one managed network interface
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u16).range(4..=2000))]
    environments: u16,

    #[command(flatten)]
    options: Options,
}

/// How to show it, whatever it is.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// What moves the packets
    #[arg(long, value_enum, default_value_t)]
    datapath: DatapathChoice,

    /// Stop before cleaning up, and say how to look around
    #[arg(long)]
    keep: bool,
}

/// Not everything was as it should be; the output says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the demo did not pass")]
pub struct Failed;

/// Shows everything, and prints what came of it.
///
/// # Errors
///
/// [`Failed`] if a check did, or if not everything could be shown.
pub fn run(arguments: &Arguments) -> Result<(), Failed> {
    let progress = Progress::new();
    tour::show(arguments.environments, &arguments.options, &progress).map_or_else(
        |error| {
            progress.line(&progress.coloured(Mark::Fail, &format!("\ndemo: FAIL: {error}")));
            Err(Failed)
        },
        |(report, took)| verdict(&report, took),
    )
}

/// The tables, and the last word.
fn verdict(report: &Report, took: Duration) -> Result<(), Failed> {
    let progress = &report.progress;
    for (title, table) in report.tables.iter() {
        progress.line(&format!("\n{}\n{table}", progress.bold(title)));
    }
    let seconds = took.as_secs();
    let (passed, failed) = (report.passed(), report.failed());
    progress.line("");
    if failed.is_empty() {
        let last = format!("demo: PASS ({passed} checks, {seconds} s)");
        progress.line(&progress.coloured(Mark::Pass, &last));
        return Ok(());
    }
    let last = format!("demo: FAIL ({} of {} checks)", failed.len(), passed + failed.len());
    progress.line(&progress.coloured(Mark::Fail, &last));
    for name in failed {
        progress.line(&format!("  {name}"));
    }
    Err(Failed)
}
