//! `halfspace demo`: the gateway at work with real programs, in network namespaces of its own.
//!
//! Two customers with the same addresses, a hundred environments with one address, a load balancer
//! that loses a target, a gateway that is killed under load. Whatever is shown is also checked.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | who is where: addresses, interfaces, the resource document |
//! | `lab` | the namespaces, links and servers |
//! | `daemon` | the gateway under the demo, and how it is asked |
//! | `curl`, `iperf3`, `scrape` | what the programs and the metrics page say |
//! | `scenes` | what is shown, one file a scene |
//! | `report`, `tables`, `progress` | how it is told |

mod curl;
mod daemon;
mod error;
mod iperf3;
mod lab;
mod plan;
mod progress;
mod report;
mod scenes;
mod scrape;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use halfspace_testbed::{Interrupt, Requirement, Testbed, missing};

use crate::config::node::DatapathChoice;
use error::Error;
use lab::Lab;
use progress::{Mark, Progress};
use report::Report;

/// Without these nothing can be shown.
const NEEDS: [Requirement; 6] = [
    Requirement::Root,
    Requirement::Program("ip"),
    Requirement::Program("ss"),
    Requirement::Program("curl"),
    Requirement::Program("nginx"),
    Requirement::Program("iperf3"),
];

/// How to show it.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Environments behind one managed network interface
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u16).range(4..=2000))]
    environments: u16,
    /// What moves the packets
    #[arg(long, value_enum, default_value_t)]
    datapath: DatapathChoice,
    /// Stop before cleaning up, and say how to look around
    #[arg(long)]
    keep: bool,
}

/// What the scenes work with.
#[derive(Debug)]
struct Stage {
    lab: Lab,
    report: Report,
    interrupt: Interrupt,
    environments: usize,
}

impl Stage {
    /// Ends the demo here if Ctrl-C was pressed.
    fn go_on(&self) -> Result<(), Error> {
        Error::if_raised(&self.interrupt)
    }
}

/// Shows everything; succeeds if every check does.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let progress = Progress::new();
    match show(arguments, &progress) {
        Ok(report) => verdict(&report, started),
        Err(error) => {
            progress.line(&progress.coloured(Mark::Fail, &format!("demo: FAIL: {error}")));
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: &Arguments, progress: &Progress) -> Result<Report, Error> {
    let lacking: Vec<_> = missing(&NEEDS).iter().map(ToString::to_string).collect();
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking));
    }
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for Ctrl-C", source })?;
    let mut stage = set_up(arguments, progress, interrupt)?;
    let played = scenes::play(&mut stage);
    let failed = played.is_err() || !stage.report.failed().is_empty();
    if failed && !stage.interrupt.is_raised() {
        progress.line("\nThe end of the gateway's log:");
        progress.line(&stage.lab.daemon.log_tail());
    }
    if arguments.keep && !stage.interrupt.is_raised() {
        look_around(&stage);
    }
    let Stage { lab, mut report, .. } = stage;
    clean_up(lab, &mut report);
    played.map(|()| report)
}

/// Lays everything out and starts the gateway.
fn set_up(
    arguments: &Arguments,
    progress: &Progress,
    interrupt: Interrupt,
) -> Result<Stage, Error> {
    let mut report = Report::new(progress.clone());
    report.scene("A gateway between two customers and the internet");
    let step = progress.step("laying out networks and servers, starting the gateway");
    let lab = Lab::lay_out(Testbed::new("demo")?, arguments.datapath)?;
    drop(step);
    Ok(Stage { lab, report, interrupt, environments: arguments.environments.into() })
}

/// Removes everything, and looks whether that is so.
fn clean_up(lab: Lab, report: &mut Report) {
    report.scene("Cleaning up");
    let step = report.progress.step("removing networks, programs and pinned maps");
    let prefix = lab.prefix().to_owned();
    drop(lab);
    drop(step);
    let left: Vec<_> = [Path::new("/run/netns").to_owned(), std::env::temp_dir()]
        .iter()
        .flat_map(|directory| named(directory, &prefix))
        .map(|path| path.display().to_string())
        .collect();
    report.holds("nothing is left behind", left.is_empty(), left.join(", "));
}

/// What in `directory` has a name that begins with `prefix`.
fn named(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    ours.map(|entry| entry.path()).collect()
}

/// Waits for Ctrl-C, with everything still in place.
fn look_around(stage: &Stage) {
    let progress = &stage.report.progress;
    let (daemon, prefix) = (&stage.lab.daemon, stage.lab.prefix());
    let environment = stage.lab.blue.environments.first().map_or("", |it| it.name());
    progress.line("");
    progress.line(&progress.bold("Everything is still running. Look around in another terminal:"));
    for command in [
        daemon.command_line("status"),
        daemon.command_line("flows"),
        daemon.command_line("env list"),
        format!("ip netns list | grep {prefix}"),
        format!("ip netns exec {environment} curl http://{}/", plan::SERVICE),
        format!("ip netns exec {} curl {}", daemon.namespace.name(), daemon::METRICS_URL),
        format!("less {}", daemon.configuration().display()),
    ] {
        progress.line(&format!("  {command}"));
    }
    progress.line("Ctrl-C cleans up.");
    while !stage.interrupt.is_raised() {
        stage.interrupt.sleep(Duration::from_secs(3600));
    }
}

/// The tables, and the last word.
fn verdict(report: &Report, started: Instant) -> ExitCode {
    let progress = &report.progress;
    for (title, table) in [
        ("Who was seen as whom", tables::sources(&report.sources)),
        ("What was sent, and what was counted", tables::counts(&report.counts)),
    ] {
        progress.line(&format!("\n{}\n{table}", progress.bold(title)));
    }
    let seconds = started.elapsed().as_secs_f64();
    let (passed, failed) = (report.passed(), report.failed());
    let (mark, code, last) = if failed.is_empty() {
        (Mark::Pass, ExitCode::SUCCESS, format!("demo: PASS ({passed} checks, {seconds:.0} s)"))
    } else {
        let of = passed + failed.len();
        let names = failed.join("\n  ");
        let last = format!("demo: FAIL ({} of {of} checks)\n  {names}", failed.len());
        (Mark::Fail, ExitCode::FAILURE, last)
    };
    progress.line(&format!("\n{}", progress.coloured(mark, &last)));
    code
}
