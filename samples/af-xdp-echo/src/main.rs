//! `af-xdp-echo`: the library's echo, as a program.

use std::process::ExitCode;

use af_xdp_echo::summary::{EndedBy, Summary};
use af_xdp_echo::{Arguments, Error, run};
use clap::Parser as _;
use halfspace_testbed::Interrupt;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match echo(&arguments) {
        Ok(summary) if summary.ended_by == EndedBy::InterfaceGone => ExitCode::from(3),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("af-xdp-echo: {error}");
            // As clap ends.
            if matches!(error, Error::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn echo(arguments: &Arguments) -> Result<Summary, Error> {
    let failed = |action| move |source| Error::System { action, source, advice: "" };
    let interrupt = Interrupt::listen().map_err(failed("listen for signals"))?;
    let announce = |sentence: &str| eprintln!("af-xdp-echo: {sentence}");
    let summary = run(arguments, announce, || interrupt.is_raised())?;
    if arguments.json {
        let json = serde_json::to_string(&summary)
            .map_err(|error| failed("write the summary as JSON")(error.into()))?;
        println!("{json}");
    } else {
        println!("{summary}");
    }
    if summary.ended_by == EndedBy::InterfaceGone {
        eprintln!("af-xdp-echo: the interface {} is gone", summary.interface);
    }
    Ok(summary)
}
