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
//! | `curl`, `iperf3`, `interfaces` | what programs and the kernel say |
//! | `scenes` | what is shown, one file a scene |
//! | `report`, `tables`, `progress` | how it is told |

mod curl;
mod daemon;
mod error;
mod interfaces;
mod iperf3;
mod lab;
mod plan;
mod progress;
mod report;
mod scenes;
mod tables;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, Output, Process, Requirement, Testbed, missing, wait_until};

use crate::config::node::DatapathChoice;
use daemon::Daemon;
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

/// The visitor's ports from here on are used one after the other.
const FIRST_VISITOR_PORT: u16 = 10_000;

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
    /// Whether the fast path is in the kernel.
    in_kernel: bool,
    /// The port that the visitor's next request comes from.
    visitor_port: u16,
}

impl Stage {
    /// Ends the demo here if Ctrl-C was pressed.
    fn go_on(&self) -> Result<(), Error> {
        Error::if_raised(&self.interrupt)
    }

    /// Waits for a program to end, however it does. Ctrl-C ends the waiting.
    fn wait(&self, program: &mut Process, limit: Duration) -> Result<Output, Error> {
        // One that is too slow is for `output` to tell of.
        let _ = wait_until(limit, "the program to end", || {
            !program.is_running() || self.interrupt.is_raised()
        });
        self.go_on()?;
        Ok(program.output(Duration::ZERO)?)
    }
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
    show(arguments, &progress).map_or_else(
        |error| {
            progress.line(&progress.coloured(Mark::Fail, &format!("\ndemo: FAIL: {error}")));
            Err(Failed)
        },
        |(report, took)| verdict(&report, took),
    )
}

/// Shows everything and cleans up; how long it took to show.
fn show(arguments: &Arguments, progress: &Progress) -> Result<(Report, Duration), Error> {
    let started = Instant::now();
    let lacking: Vec<_> = missing(&NEEDS).iter().map(ToString::to_string).collect();
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking));
    }
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for Ctrl-C", source })?;
    let mut stage = set_up(arguments, progress, interrupt)?;
    let played = scenes::play(&mut stage);
    let took = started.elapsed();
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
    played.map(|()| (report, took))
}

/// Lays everything out and starts the gateway.
fn set_up(
    arguments: &Arguments,
    progress: &Progress,
    interrupt: Interrupt,
) -> Result<Stage, Error> {
    let report = Report::new(progress.clone());
    report.scene("A gateway between two customers and the internet");
    let step = progress.step("laying out networks and servers, starting the gateway");
    let lab = Lab::lay_out(Testbed::new("demo")?, arguments.datapath)?;
    drop(step);
    let datapath = lab.daemon.status()?.datapath;
    report.note(format!("data path: {} ({})", datapath.kind, datapath.why));
    Ok(Stage {
        lab,
        report,
        interrupt,
        environments: arguments.environments.into(),
        in_kernel: datapath.kind == "ebpf",
        visitor_port: FIRST_VISITOR_PORT,
    })
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
        format!("ip netns exec {} curl {}", daemon.namespace.name(), Daemon::metrics_url()),
        format!("less {}/resources.toml", daemon.directory().display()),
    ] {
        progress.line(&format!("  {command}"));
    }
    progress.line("Ctrl-C cleans up.");
    while !stage.interrupt.is_raised() {
        stage.interrupt.sleep(Duration::from_hours(1));
    }
}

/// The tables, and the last word.
fn verdict(report: &Report, took: Duration) -> Result<(), Failed> {
    let progress = &report.progress;
    for (title, table) in [
        ("Who was seen as whom", tables::sources(&report.sources)),
        ("What was sent, and what was counted", tables::counts(&report.counts)),
    ] {
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
