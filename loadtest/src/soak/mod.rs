//! `soak`: everything at once for a while, and then the question whether everything is back.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | who is where, and the resource documents |
//! | `lab` | namespaces, links, servers |
//! | `daemon` | the gateway's process |
//! | `talk` | conversations of every kind |
//! | `trouble` | changes and kills, and what they excuse |
//! | `holdings` | what the gateway holds, before and after |
//! | `kernel_maps` | entries of its pinned maps |
//! | `memory` | whether its memory is flat |
//! | `report` | what it comes to |

pub mod daemon;
mod holdings;
pub mod kernel_maps;
pub mod lab;
mod memory;
mod plan;
mod report;
mod talk;
#[cfg(test)]
pub mod tests;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use halfspace_testbed::{Interrupt, Requirement, missing};

use crate::binary;
use crate::environments;
use crate::environments::churn::{self, Ask, Plan, Setting};
use crate::environments::pool::{Inside, Pool};
use crate::environments::report::Results as EnvironmentResults;
use crate::environments::wire::Wire;
use crate::error::Error;
use crate::output::{Outcome, Output, Progress, Rate, human_seconds, parse_duration};

pub use daemon::Datapath;
use holdings::Holdings;
use lab::Lab;
use memory::{Memory, Sample};
use report::Results;
use talk::{Kind, Tally};
use trouble::{Scope, Troubles};

/// Between two samples of memory.
const SAMPLE: Duration = Duration::from_secs(1);

/// How soon a thread notices that the time is up.
const BEAT: Duration = Duration::from_millis(50);

/// What is to be done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Lays its own network in namespaces: clients behind a NAT gateway, a load balancer with targets, a
bridge with environments. Conversations, changing targets and environments that come and go load
the gateway; then all of it stops, and everything the gateway held has to come back.

Exit status: 0 all came back, 1 it could not be measured, 3 something leaked or failed, 130
interrupted.

Examples:
  halfspace-loadtest soak --duration 10m
  halfspace-loadtest soak --duration 2m --kill-every 20s --json | jq .complaints")]
pub struct Arguments {
    /// How long the load goes on
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    duration: Duration,

    /// The `halfspace` binary [default: $HALFSPACE, or the one beside this program]
    #[arg(long, value_name = "PATH")]
    halfspace: Option<PathBuf>,

    /// What moves the packets
    #[arg(long, value_enum, default_value_t)]
    datapath: Datapath,

    /// Speakers of each kind of conversation
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    speakers: u32,

    /// Environments that there are
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    environments: u32,

    /// Environments attached a second
    #[arg(long, default_value = "10")]
    environment_rate: Rate,

    /// How long an environment is kept
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    environment_hold: Duration,

    /// Share of the environments that end by their link being deleted, 0 to 1
    #[arg(
        long,
        default_value_t = 0.1,
        value_parser = environments::parse_share,
        value_name = "SHARE"
    )]
    detach_vanish: f64,

    /// How often the load balancer's targets change
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    change_every: Duration,

    /// Kill the daemon this often and start it again [default: never]
    #[arg(long, value_parser = parse_duration)]
    kill_every: Option<Duration>,

    /// How flows end when the load has: by being idle, or by a document without functions
    #[arg(long, value_enum, default_value_t)]
    finish: Finish,

    /// How long the gateway may take to give everything back
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    drain: Duration,

    /// By how many per cent resident memory may grow once the first quarter is over
    #[arg(long, default_value_t = 5.0)]
    memory_growth: f64,

    #[command(flatten)]
    output: Output,
}

/// How flows end when the load has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Finish {
    /// By being idle: two minutes for UDP through the load balancer (AWS fixes that).
    #[default]
    Idle,
    /// By a resource document without functions, which is then taken back.
    Remove,
}

/// Does it.
///
/// # Errors
///
/// [`Error`], if it could not be measured.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for interrupts", source })?;
    let lacking = missing(&[Requirement::Root, Requirement::Program("ip")]);
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking.iter().map(ToString::to_string).collect()));
    }
    let binary = binary::find(arguments.halfspace.as_deref())?;
    let lab = Lab::lay("soak", binary, arguments.datapath)?;
    let results = soak(&lab, arguments, &interrupt)?;
    arguments.output.print(&results)?;
    if !results.complaints.is_empty() {
        let log = lab.daemon.log_tail();
        if !log.is_empty() {
            eprintln!("--- the gateway logged ---\n{log}\n--- end ---");
        }
    }
    Ok(Outcome::of(results.complaints, results.interrupted))
}

/// What the threads of a load share.
struct Load<'a> {
    lab: &'a Lab,
    arguments: &'a Arguments,
    interrupt: &'a Interrupt,
    began: Instant,
    over: AtomicBool,
    troubles: Troubles,
    tallies: BTreeMap<Kind, Mutex<Tally>>,
    /// Memory of the process that runs now.
    samples: Mutex<Vec<Sample>>,
    peak_flows: AtomicU64,
    /// What broke the soak itself.
    broken: Mutex<Option<Error>>,
}

fn soak(lab: &Lab, arguments: &Arguments, interrupt: &Interrupt) -> Result<Results, Error> {
    let progress = Progress::of_time(arguments.duration);
    progress.say("making links");
    let inside = Inside {
        mac: environments::MAC,
        address: [169, 254, 100, 2].into(),
        gateway: [169, 254, 100, 1].into(),
    };
    let count = arguments.environments as usize;
    let pool = Pool::lay(&lab.bed, lab.daemon.namespace.path(), inside, count)?;
    let wire = Wire::open(&pool)?;
    let before = Holdings::of(&lab.daemon)?;
    let load = Load {
        lab,
        arguments,
        interrupt,
        began: Instant::now(),
        over: AtomicBool::new(false),
        troubles: Troubles::default(),
        tallies: Kind::ALL.into_iter().map(|kind| (kind, Mutex::default())).collect(),
        samples: Mutex::default(),
        peak_flows: AtomicU64::new(0),
        broken: Mutex::default(),
    };
    let plan = arguments.plan();
    let tally = load.run(&plan, &pool, &wire, &progress);
    let seconds = load.began.elapsed().as_secs_f64();
    drop(wire);
    if let Some(error) = load.broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    progress.say("waiting until everything is given back");
    let links_left = pool.remove()?;
    let draining = Instant::now();
    let after = drain(lab, arguments.finish, arguments.drain, &before, interrupt)?;
    let drain_seconds = draining.elapsed().as_secs_f64();

    let nobody = BTreeSet::new();
    let left = lab.daemon.client().environments().map_err(|error| Error::Api(Box::new(error)))?;
    let left = left.into_keys().collect();
    let mut environments = EnvironmentResults::new(&plan, count, &tally, &nobody, &left);
    environments.links_left = links_left;
    let samples = load.samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    let memory = Memory::of(&samples);
    let tallies = load.tallies.into_iter().map(|(kind, tally)| {
        (kind.name(), tally.into_inner().unwrap_or_else(PoisonError::into_inner).summary())
    });
    let mut results = Results {
        seconds,
        conversations: tallies.collect(),
        environments,
        document_changes: load.troubles.count(Scope::Balancer),
        kills: load.troubles.count(Scope::All),
        peak_flows: load.peak_flows.into_inner(),
        memory,
        drain_seconds,
        before,
        after,
        complaints: Vec::new(),
        interrupted: interrupt.is_raised(),
    };
    results.complaints = complaints(&results, arguments);
    Ok(results)
}

/// Waits until the gateway holds nothing any more, or for as long as it may take.
fn drain(
    lab: &Lab,
    finish: Finish,
    limit: Duration,
    before: &Holdings,
    interrupt: &Interrupt,
) -> Result<Holdings, Error> {
    let all: Vec<_> = (0..plan::TARGETS).collect();
    let full = plan::document(&all);
    if finish == Finish::Remove {
        lab.daemon.change_document(&plan::bare_document())?;
    }
    // With the document as it was before, functions tell again what they hold.
    lab.daemon.change_document(&full)?;
    let deadline = Instant::now() + limit;
    loop {
        let now = Holdings::of(&lab.daemon)?;
        if now.leaks(before).is_empty() || Instant::now() >= deadline || interrupt.is_raised() {
            return Ok(now);
        }
        interrupt.sleep(SAMPLE / 2);
    }
}

fn complaints(results: &Results, arguments: &Arguments) -> Vec<String> {
    let mut complaints = Vec::new();
    for (kind, talk) in &results.conversations {
        if talk.done == 0 {
            complaints.push(format!("{kind}: no conversation came to its end"));
        }
        for (reason, count) in &talk.failures {
            complaints.push(format!("{kind}: {reason}: {count}"));
        }
    }
    complaints.extend(results.environments.complaints());
    complaints.extend(results.memory.complaint(arguments.memory_growth / 100.0));
    // Whoever stops early did not wait for it.
    if !results.interrupted {
        complaints.extend(results.after.leaks(&results.before));
    }
    complaints
}

impl Load<'_> {
    /// Loads the gateway until the time is up.
    fn run(&self, plan: &Plan, pool: &Pool, wire: &Wire, progress: &Progress) -> churn::Tally {
        let socket = self.lab.daemon.socket();
        let stop = || self.stops();
        let excuse = |from, to| self.troubles.excuse(Scope::All, from, to);
        let watch = |elapsed, _: &churn::Tally| {
            progress.elapsed(elapsed);
            let flows = self.peak_flows.load(Ordering::Relaxed);
            progress
                .say(format!("at most {flows} flows, {} in", human_seconds(elapsed.as_secs_f64())));
        };
        let setting =
            Setting { api: &socket, pool, wire, stop: &stop, excuse: &excuse, watch: &watch };
        std::thread::scope(|scope| {
            for kind in Kind::ALL {
                for _ in 0..self.arguments.speakers {
                    scope.spawn(move || self.speak(kind));
                }
            }
            scope.spawn(|| self.sample());
            scope.spawn(|| self.or_break(|| self.make_trouble()));
            let tally = churn::run(plan, setting);
            self.over.store(true, Ordering::Relaxed);
            tally
        })
    }

    fn stops(&self) -> bool {
        self.over.load(Ordering::Relaxed)
            || self.interrupt.is_raised()
            || self.began.elapsed() >= self.arguments.duration
    }

    fn or_break(&self, work: impl FnOnce() -> Result<(), Error>) {
        if let Err(error) = work() {
            self.over.store(true, Ordering::Relaxed);
            self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    fn speak(&self, kind: Kind) {
        let Some(tally) = self.tallies.get(&kind) else { return };
        let lab = self.lab;
        let namespace = if kind.is_from_client() { &lab.client } else { &lab.internet };
        self.or_break(|| {
            let speak = || talk::speak(kind, tally, &self.troubles, &|| self.stops());
            Ok(namespace.enter(speak)?)
        });
    }

    /// Takes a sample every second.
    fn sample(&self) {
        let mut process = 0;
        while !self.stops() {
            // While it is being restarted there is nothing to see.
            if let Ok(page) = self.lab.daemon.metrics()
                && let Some(bytes) = page.sum("process_resident_memory_bytes", &[])
            {
                let flows = page.sum("halfspace_flows", &[]).unwrap_or(0);
                self.peak_flows.fetch_max(flows, Ordering::Relaxed);
                #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
                let sample = (self.began.elapsed().as_secs_f64(), bytes as f64);
                let started = page.sum("process_start_time_seconds", &[]).unwrap_or(0);
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                if started != process {
                    process = started;
                    samples.clear();
                }
                samples.push(sample);
            }
            self.interrupt.sleep(SAMPLE);
        }
    }

    /// Changes the targets and kills the daemon, each when its time has come.
    fn make_trouble(&self) -> Result<(), Error> {
        let Arguments { change_every, kill_every, .. } = *self.arguments;
        let daemon = &self.lab.daemon;
        let mut change = Instant::now() + change_every;
        let mut kill = kill_every.map(|every| Instant::now() + every);
        let mut changes = 0;
        while !self.stops() {
            let now = Instant::now();
            if kill.is_some_and(|due| now >= due) {
                self.troubles.during(Scope::All, || daemon.kill_and_restart())?;
                kill = kill_every.map(|every| Instant::now() + every);
            } else if now >= change {
                // One target goes, the next time it is back and another one goes.
                let targets: Vec<_> =
                    (0..plan::TARGETS).filter(|it| *it != changes % plan::TARGETS).collect();
                let document = plan::document(&targets);
                self.troubles.during(Scope::Balancer, || daemon.change_document(&document))?;
                changes += 1;
                change = Instant::now() + change_every;
            }
            if !daemon.runs() {
                let log = daemon.log_tail();
                return Err(Error::Missing(format!("the gateway has ended by itself\n{log}")));
            }
            std::thread::sleep(BEAT);
        }
        Ok(())
    }
}

impl Arguments {
    fn plan(&self) -> Plan {
        Plan {
            bridge: plan::BRIDGE.to_owned(),
            concurrency: 4,
            rate: Some(self.environment_rate),
            hold: self.environment_hold,
            duration: self.duration,
            vanish: self.detach_vanish,
            ask: Some(Ask::Udp(std::net::SocketAddrV4::new(plan::SERVER, plan::ECHO))),
            patience: Duration::from_secs(5),
        }
    }
}
