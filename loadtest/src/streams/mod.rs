//! `halfspace-loadtest streams`: bulk TCP streams and datagram flows to and from `serve`, what they
//! carried, and what processor time it took.

mod plan;
mod report;
mod tally;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::sync::atomic::{AtomicU64, Ordering};

use halfspace_testbed::Interrupt;

use crate::error::Error;
use crate::output::{Outcome, human};
use crate::sockets::origin::Origin;
use crate::sockets::raise_descriptor_limit;
use crate::sockets::sources::Sources;
use crate::sockets::threads::{self, Worker};
pub use plan::Arguments;
use plan::Direction;
use report::Report;
use tally::Tally;
use tcp::TcpWorker;
use udp::{Share, UdpWorker};

/// Loads the target and reports.
///
/// # Errors
///
/// [`Error::Usage`], [`Error::Outside`], or what the kernel refused. Failed streams are part of
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
    arguments.check()?;
    arguments.guard.check_target(arguments.target.ip())?;
    raise_descriptor_limit();
    let origin = Origin::new(arguments.target, &arguments.source)?;
    let moved: Vec<_> = (0..arguments.threads).map(|_| AtomicU64::new(0)).collect();
    let each = (0..arguments.threads).zip(&moved).map(|(thread, moved)| {
        let connections = threads::share(arguments.connections, thread, arguments.threads);
        let sources = Sources::expecting(&arguments.expect_source);
        (thread, moved, connections, sources, origin.clone().starting_at(thread as usize))
    });
    if arguments.udp {
        let workers = each.map(|(thread, moved, flows, sources, origin)| {
            let share = Share {
                thread,
                threads: arguments.threads,
                flows,
                bytes: arguments.datagram_bytes as usize,
                rate: arguments.rate,
            };
            UdpWorker::new(arguments.timing, share, origin, sources, interrupt, moved)
        });
        return run_threads(arguments, workers.collect(), interrupt, &moved);
    }
    let workers = each.map(|(_, moved, connections, sources, origin)| {
        let split = match arguments.direction {
            Direction::Up => (connections, 0),
            Direction::Down => (0, connections),
            Direction::Both => (connections, connections),
        };
        TcpWorker::new(arguments.timing, origin, split, sources, interrupt, moved)
            .map_err(|source| Error::System { action: "prepare a thread", source })
    });
    run_threads(arguments, workers.collect::<Result<_, _>>()?, interrupt, &moved)
}

fn run_threads<W: Worker<Tally = Tally>>(
    arguments: &Arguments,
    workers: Vec<W>,
    interrupt: &Interrupt,
    moved: &[AtomicU64],
) -> Result<Report, Error> {
    let run = threads::run(workers, &arguments.timing, &arguments.watch, interrupt, || {
        let bytes: u64 = moved.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let bytes = human(bytes as f64);
        format!("{bytes} bytes")
    })?;
    let mut tally = Tally::default();
    for other in &run.tallies {
        tally.merge(other);
    }
    let interrupted = interrupt.is_raised();
    Ok(Report::new(arguments, &tally, run.measured, run.cpu_seconds, interrupted))
}
