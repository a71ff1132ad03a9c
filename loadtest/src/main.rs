//! `halfspace-loadtest` loads a gateway, Halfspace or another, and measures it.
//!
//! Each subcommand is a module of its own; what they share (test frames, generator, far end) is
//! beside them.

mod bench;
mod error;
mod frame;
mod generator;
mod relay;
mod sink;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Error;

/// Loads a gateway and measures it, inside network namespaces that it makes and removes itself.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures Halfspace and its peers in turns, and prints the ratios.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("halfspace-loadtest: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, one line.
fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors already quote their cause.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
