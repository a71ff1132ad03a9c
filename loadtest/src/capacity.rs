//! The `capacity` subcommand: how many connections a stateful gateway tracks, how fast it takes
//! new ones and how fast it lets them go, by the method of RFC 9693.
//!
//! A trial has the two phases of the RFC. In the first the clients' end sends one frame of each
//! flow at the rate under test, and the servers' end notes from which address each arrives. In the
//! second the servers' end answers all of them, at a rate that is no test: an answer passes only
//! where the gateway still has the flow. A trial is passed if every flow's answer reaches its
//! client. Each trial has flows of its own, so none finds the state of the one before.

mod command;
mod options;
mod report;
mod search;
mod tear_down;
#[cfg(test)]
mod tests;
mod trial;

use halfspace_testbed::Interrupt;

pub use options::Arguments;

use crate::error::Error;
use crate::output::Outcome;
use report::Report;
use trial::Bench;

/// Measures what was asked for and prints it.
///
/// # Errors
///
/// What keeps the frames from being sent or counted, or a command of the user's from running.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for interrupts", source })?;
    arguments.check()?;
    let mut bench = Bench::open(arguments, &interrupt)?;
    let mut report = Report::new(&bench);
    if arguments.measures_rate() {
        report.establishment_rate = Some(search::establishment_rate(&mut bench)?);
    }
    if arguments.measures_capacity() {
        // RFC 9693 stays well below the rate that just so works.
        let known = report.establishment_rate.as_ref().map(|found| found.connections_per_second);
        report.capacity = Some(search::capacity(&mut bench, known)?);
    }
    if arguments.measures_tear_down() {
        report.tear_down_rate = Some(tear_down::measure(&mut bench)?);
    }
    report.finish(&bench)?;
    arguments.output.print(&report)?;
    Ok(Outcome::of(report.complaints(), interrupt.is_raised()))
}
