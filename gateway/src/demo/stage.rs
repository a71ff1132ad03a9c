//! A show from its beginning to its end, whatever is shown: it is laid out, played and removed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, Output, Process, Requirement, Testbed, missing, wait_until};

use super::Options;
use super::daemon::Daemon;
use super::error::Error;
use super::progress::Progress;
use super::report::Report;
use crate::config::node::DatapathChoice;

/// What a show is played on: its network, its servers and its gateway.
pub(super) trait Lab: Sized {
    /// Without these nothing can be shown.
    const NEEDS: &'static [Requirement];

    /// The title of the first lines.
    const OPENING: &'static str;

    /// Its gateway.
    fn daemon(&self) -> &Daemon;

    /// What all its names begin with.
    fn prefix(&self) -> &str;

    /// Commands for those who want to look around in it, beside those that fit every show.
    fn commands(&self) -> Vec<String>;
}

/// What scenes work with.
#[derive(Debug)]
pub(super) struct Stage<L> {
    /// What they are played on.
    pub lab: L,
    /// What they find.
    pub report: Report,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// Whether the fast path is in the kernel.
    pub in_kernel: bool,
}

impl<L> Stage<L> {
    /// Ends the demo here if Ctrl-C was pressed.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        Error::if_raised(&self.interrupt)
    }

    /// Waits for a program to end, however it does. Ctrl-C ends the waiting.
    pub(super) fn wait(&self, program: &mut Process, limit: Duration) -> Result<Output, Error> {
        // One that is too slow is for `output` to tell of.
        let _ = wait_until(limit, "the program to end", || {
            !program.is_running() || self.interrupt.is_raised()
        });
        self.go_on()?;
        Ok(program.output(Duration::ZERO)?)
    }
}

/// Shows everything and cleans up; what was found, and how long it took to show.
pub(super) fn perform<L: Lab>(
    options: &Options,
    progress: &Progress,
    lay_out: impl FnOnce(Testbed, DatapathChoice) -> Result<L, Error>,
    play: impl FnOnce(&mut Stage<L>) -> Result<(), Error>,
) -> Result<(Report, Duration), Error> {
    let started = Instant::now();
    let lacking: Vec<_> = missing(L::NEEDS).iter().map(ToString::to_string).collect();
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking));
    }
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for Ctrl-C", source })?;
    let mut stage = set_up(options, progress, interrupt, lay_out)?;
    let played = play(&mut stage);
    let took = started.elapsed();
    let failed = played.is_err() || !stage.report.failed().is_empty();
    if failed && !stage.interrupt.is_raised() {
        progress.line("\nThe end of the gateway's log:");
        progress.line(&stage.lab.daemon().log_tail());
    }
    if options.keep && !stage.interrupt.is_raised() {
        look_around(&stage);
    }
    let Stage { lab, mut report, .. } = stage;
    clean_up(lab, &mut report);
    played.map(|()| (report, took))
}

/// Lays everything out and starts the gateway.
fn set_up<L: Lab>(
    options: &Options,
    progress: &Progress,
    interrupt: Interrupt,
    lay_out: impl FnOnce(Testbed, DatapathChoice) -> Result<L, Error>,
) -> Result<Stage<L>, Error> {
    let report = Report::new(progress.clone());
    report.scene(L::OPENING);
    let step = progress.step("laying out networks and servers, starting the gateway");
    let lab = lay_out(Testbed::new("demo")?, options.datapath)?;
    drop(step);
    let datapath = lab.daemon().status()?.datapath;
    report.note(format!("data path: {} ({})", datapath.kind, datapath.why));
    Ok(Stage { lab, report, interrupt, in_kernel: datapath.kind == "ebpf" })
}

/// Removes everything, and looks whether that is so.
fn clean_up<L: Lab>(lab: L, report: &mut Report) {
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
fn look_around<L: Lab>(stage: &Stage<L>) {
    let progress = &stage.report.progress;
    let (daemon, prefix) = (stage.lab.daemon(), stage.lab.prefix());
    progress.line("");
    progress.line(&progress.bold("Everything is still running. Look around in another terminal:"));
    let always = [
        daemon.command_line("status"),
        daemon.command_line("flows"),
        format!("ip netns list | grep {prefix}"),
        format!("ip netns exec {} curl {}", daemon.namespace.name(), Daemon::metrics_url()),
        format!("less {}/resources.toml", daemon.directory().display()),
    ];
    for command in always.into_iter().chain(stage.lab.commands()) {
        progress.line(&format!("  {command}"));
    }
    progress.line("Ctrl-C cleans up.");
    while !stage.interrupt.is_raised() {
        stage.interrupt.sleep(Duration::from_hours(1));
    }
}
