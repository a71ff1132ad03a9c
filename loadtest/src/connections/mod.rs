//! `halfspace-loadtest connections`: TCP connections with one request each (CRR), or requests on
//! kept connections (RR), as fast as they go or at a set rate, against `serve` or any web server.
//!
//! At a set rate latencies count from when an operation was due, so that those that a stall holds
//! up are in the figures.

mod halfspace;
mod http;
mod plan;
mod report;
mod slot;
mod speech;
mod tally;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};

use halfspace_testbed::Interrupt;

use crate::error::Error;
use crate::output::{Outcome, human};
use crate::sockets::raise_descriptor_limit;
use crate::sockets::threads::{self, Run};
pub use plan::Arguments;
use plan::{Plan, Spoken};
use report::Report;
use speech::Speech;
use tally::Tally;
use worker::{Share, Worker};

/// Loads the target and reports.
///
/// # Errors
///
/// [`Error::Usage`], [`Error::Outside`], or what the kernel refused. Failed operations are part of
/// the report.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for signals", source })?;
    let report = measure(arguments, &interrupt)?;
    arguments.output.print(&report)?;
    Ok(Outcome::of(report.complaints(), interrupt.is_raised()))
}

/// Loads the target from the calling thread's network namespace.
fn measure(arguments: &Arguments, interrupt: &Interrupt) -> Result<Report, Error> {
    let (plan, spoken) = Plan::new(arguments)?;
    arguments.guard.check_target(arguments.target.ip())?;
    raise_descriptor_limit();
    let run = match spoken {
        Spoken::Halfspace(speech) => run_threads(arguments, &plan, &speech, interrupt)?,
        Spoken::Http(speech) => run_threads(arguments, &plan, &speech, interrupt)?,
    };
    let mut tally = Tally::default();
    for other in &run.tallies {
        tally.merge(other);
    }
    let interrupted = interrupt.is_raised();
    Ok(Report::new(arguments, &tally, run.measured, run.cpu_seconds, interrupted))
}

fn run_threads<S: Speech>(
    arguments: &Arguments,
    plan: &Plan,
    speech: &S,
    interrupt: &Interrupt,
) -> Result<Run<Tally>, Error> {
    let done: Vec<_> = (0..arguments.threads).map(|_| AtomicU64::new(0)).collect();
    let mut workers = Vec::new();
    for (thread, done) in (0..arguments.threads).zip(&done) {
        let threads = arguments.threads;
        let connections = threads::share(arguments.connections, thread, threads) as usize;
        let share = Share { thread, threads, connections };
        let worker = Worker::new(plan, speech.clone(), share, interrupt, done)
            .map_err(|source| Error::System { action: "prepare a thread", source })?;
        workers.push(worker);
    }
    threads::run(workers, &arguments.timing, &arguments.watch, interrupt, || {
        let count: u64 = done.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let count = human(count as f64);
        format!("{count} operations")
    })
}
