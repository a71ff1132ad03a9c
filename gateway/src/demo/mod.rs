//! `halfspace demo`: the gateway at work with real programs, in network namespaces of its own.
//! Whatever is shown is also checked.
//!
//! | file | idea |
//! | --- | --- |
//! | `tour` | what is shown if nothing is said: functions, tenants, restarts |
//! | `eni` | a network interface that moves from one instance to another under load |
//! | `stage` | a show from its beginning to its end |
//! | `daemon` | the gateway under a show, and how it is asked |
//! | `curl` | what curl and the servers say |
//! | `report`, `tables`, `progress` | how it is told |

mod curl;
mod daemon;
mod eni;
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
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    subject: Option<Subject>,

    /// Environments behind one managed network interface
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u16).range(4..=2000))]
    environments: u16,

    #[command(flatten)]
    options: Options,
}

/// What there is to show beside the tour.
#[derive(Clone, Debug, clap::Subcommand)]
enum Subject {
    /// Move a network interface between two instances under load, and print the blackout
    #[command(after_help = "\
Needs root, curl, nginx and ping; takes about a quarter of a minute, checks what it shows, and
leaves nothing behind.

Examples:
  halfspace demo eni
  halfspace demo eni --datapath userspace")]
    Eni(Options),
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
    let shown = match &arguments.subject {
        None => tour::show(arguments.environments, &arguments.options, &progress),
        Some(Subject::Eni(options)) => eni::show(options, &progress),
    };
    shown.map_or_else(
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
        let line = Line::try_parse_from(["demo"].iter().chain(words))?;
        Ok(line.arguments)
    }

    #[test]
    fn without_a_subject_it_is_the_tour() {
        let tour = parse(&["--environments", "8", "--datapath", "userspace"]).unwrap();
        assert!(tour.subject.is_none());
        assert_eq!((tour.environments, tour.options.keep), (8, false));
        assert_eq!(tour.options.datapath, DatapathChoice::Userspace);
    }

    #[test]
    fn a_subject_has_its_options_behind_it() {
        let eni = parse(&["eni", "--keep"]).unwrap();
        assert!(matches!(eni.subject, Some(Subject::Eni(Options { keep: true, .. }))));
    }

    #[test]
    fn options_of_the_tour_before_a_subject_are_not_lost_in_silence() {
        let refused = parse(&["--environments", "8", "eni"]).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::ArgumentConflict);
    }
}
