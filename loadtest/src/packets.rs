//! The `packets` subcommand: raw frames of many flows through a gateway, as fast as it goes or at
//! a rate, every one of them checked at the far end.

mod measure;
mod options;
mod report;
#[cfg(test)]
mod tests;

use halfspace_testbed::Interrupt;

pub use options::Arguments;

use crate::error::Error;
use crate::output::Outcome;
use report::Report;

/// Runs a trial for each frame size and prints what came of them.
///
/// # Errors
///
/// What keeps the frames from being sent or counted.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for interrupts", source })?;
    // The same flows in all trials.
    let mut arguments = arguments.clone();
    arguments.stage.seed = Some(arguments.stage.seed());
    let mut report = Report::new(&arguments);
    for size in &arguments.size.0 {
        if interrupt.is_raised() {
            break;
        }
        report.trials.push(measure::trial(&arguments, size, &interrupt)?);
    }
    arguments.output.print(&report)?;
    Ok(Outcome::of(report.complaints(arguments.max_loss), interrupt.is_raised()))
}
