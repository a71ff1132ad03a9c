//! `halfspace-loadtest` loads a gateway, Halfspace or another, and measures it.
//!
//! Each subcommand is a module of its own; what they share (test frames, generator, far end) is
//! beside them.

mod bench;
mod binary;
mod capacity;
mod conform;
mod connections;
mod environments;
mod error;
mod frames;
mod guard;
mod histogram;
mod maglev;
mod output;
mod packets;
mod serve;
mod soak;
mod sockets;
mod streams;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Error;
use output::Outcome;

/// Loads a gateway, Halfspace or any other, and measures it.
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
    /// Makes pages of what `bench` measured.
    Report(bench::report::Arguments),
    /// Measures how many connections a stateful gateway tracks, how fast it takes and removes them.
    Capacity(capacity::Arguments),
    /// Holds a NAT to the requirements of its RFCs, by what hosts at both its ends see of each other.
    Conform(conform::Arguments),
    /// Is the hosts in front of a NAT for a `conform` on another machine.
    ConformPeer(conform::peer::Arguments),
    /// Writes a page of what `conform` finds out about NATs that it sets up itself.
    Conformance(conform::document::Arguments),
    /// Sends raw frames of many flows, and checks, counts and times them behind the gateway.
    Packets(packets::Arguments),
    /// Opens TCP connections, or sends requests on kept ones, and measures rates and latencies.
    Connections(connections::Arguments),
    /// Answers `connections` and `streams`: the far end, to be run behind the gateway.
    Serve(serve::Arguments),
    /// Sends bulk TCP streams or datagrams, and measures what arrives and what it costs.
    Streams(streams::Arguments),
    /// Attaches and detaches execution environments, and measures how fast a gateway follows.
    Environments(environments::Arguments),
    /// Builds a table of the load balancer, and measures what it costs and how much it moves.
    Maglev(maglev::Arguments),
    /// Loads a gateway with everything at once, and checks afterwards that it has let go of it all.
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Report(arguments) => bench::report::run(&arguments).map(|()| Outcome::Fine),
        Command::Capacity(arguments) => capacity::run(&arguments),
        Command::Conform(arguments) => conform::run(&arguments),
        Command::ConformPeer(arguments) => conform::peer::run(&arguments),
        Command::Conformance(arguments) => conform::document::run(&arguments),
        Command::Packets(arguments) => packets::run(&arguments),
        Command::Connections(arguments) => connections::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Streams(arguments) => streams::run(&arguments),
        Command::Environments(arguments) => environments::run(&arguments),
        Command::Maglev(arguments) => maglev::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
    };
    match result {
        Ok(outcome) => {
            if let Outcome::Unverified(complaints) = &outcome {
                eprintln!("halfspace-loadtest: {}", complaints.join("\n"));
            }
            outcome.exit_code()
        }
        Err(error) => {
            eprintln!("halfspace-loadtest: {}", explain(&error));
            match error {
                // As clap ends.
                Error::Usage(_) | Error::Outside { .. } => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
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
