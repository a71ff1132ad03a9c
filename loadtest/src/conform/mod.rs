//! `halfspace-loadtest conform`: holds any NAT to the requirements of its RFCs, from outside: hosts
//! behind it and in front of it, which the prober is itself, talk to each other, and what they see
//! of each other tells.
//!
//! | file | idea |
//! | --- | --- |
//! | `end` | a few hosts on one interface |
//! | `probe` | both ends, and what checks are made of: a datagram out, one in, a connection |
//! | `fragments` | packets in fragments |
//! | `check` | a requirement, and what comes of checking it |
//! | `checks` | all of them, a file for each document |
//! | `policy` | which of them have to be met |
//! | `report` | the matrix |
//! | `stage` | NATs that are known |
//! | `document` | the page that compares them |

mod check;
mod checks;
pub mod document;
mod end;
mod fragments;
mod policy;
mod probe;
mod report;
mod stage;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use halfspace_testbed::Interrupt;

use self::end::End;
use self::policy::Policy;
use self::probe::{Plan, Probe};
use self::report::{Matrix, Row};
use crate::error::Error;
use crate::frames::place::Place;
use crate::guard::Guard;
use crate::output::{Outcome, Output, Progress};

/// The two sides of a NAT.
#[derive(Clone, Debug, clap::Args)]
pub struct Ends {
    /// Interface behind the NAT
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub inside: Place,
    /// The NAT's address there
    #[arg(long, value_name = "IP")]
    pub gateway: Ipv4Addr,
    /// Hosts behind the NAT
    #[arg(long, value_name = "IP", value_delimiter = ',', required = true)]
    pub client: Vec<Ipv4Addr>,
    /// Interface in front of it
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub outside: Place,
    /// Hosts in front of it
    #[arg(long, value_name = "IP", value_delimiter = ',', required = true)]
    pub server: Vec<Ipv4Addr>,
    /// The NAT's own addresses in front, which the hosts there reach by ARP
    #[arg(long, value_name = "IP", value_delimiter = ',', required = true)]
    pub external: Vec<Ipv4Addr>,
    /// MTU of the link in front, if it takes less than the one behind
    #[arg(long, value_name = "BYTES")]
    pub outside_mtu: Option<u16>,
}

/// How much is checked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct How {
    /// Only requirements whose ids begin with this
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub only: String,
    /// Check timers too, which takes minutes
    #[arg(long)]
    pub slow: bool,
}

/// Options of `conform`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The prober is the hosts itself: the kernel must have none of the addresses of --client and --server,
or it would answer for them. It needs two of each. An option that takes several values takes them
with commas.

Exit code 3 if a MUST failed that the policy does not expect to. A policy is a TOML file:
  expected_to_fail = [\"RFC4787-REQ-1\", \"RFC5382-REQ-1\"]")]
pub struct Arguments {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    how: How,
    /// Which requirements are expected to fail
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print Markdown instead of tables
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    guard: Guard,
}

/// Checks everything and prints the matrix.
///
/// # Errors
///
/// [`Error::Usage`], [`Error::Outside`], and whatever an interface refuses.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let Arguments { ends, how, guard, .. } = arguments;
    let policy = arguments.policy.as_deref().map(Policy::read).transpose()?.unwrap_or_default();
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for interrupts", source })?;
    let matrix = check(ends, how, *guard, &interrupt)?;
    if arguments.markdown {
        print!("{}", matrix.markdown());
    } else {
        arguments.output.print(&matrix)?;
    }
    Ok(Outcome::of(policy.complaints(&matrix.requirements), interrupt.is_raised()))
}

fn check(ends: &Ends, how: &How, guard: Guard, interrupt: &Interrupt) -> Result<Matrix, Error> {
    if ends.client.len() < 2 || ends.server.len() < 2 {
        return Err(Error::Usage(
            "two hosts are needed at either end: --client IP,IP and --server IP,IP".to_owned(),
        ));
    }
    let wanted: Vec<_> = checks::all().filter(|check| check.id.starts_with(&how.only)).collect();
    if wanted.is_empty() {
        return Err(Error::Usage(format!("no requirement's id begins with {}", how.only)));
    }
    let plan = Plan {
        clients: ends.client.clone(),
        servers: ends.server.clone(),
        external: ends.external.clone(),
        outside_mtu: ends.outside_mtu,
        slow: how.slow,
    };
    let inside = End::open(&ends.inside, &ends.client, ends.gateway, guard)?;
    let outside = End::open(&ends.outside, &ends.server, ends.external[0], guard)?;
    // Another run shortly before has left mappings behind.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first_port = 20_000 + (now.subsec_nanos() % 40_000) as u16;
    let mut probe = Probe::new(inside, outside, plan, first_port);
    let progress = Progress::of_steps(wanted.len() as u64);
    let mut requirements = Vec::new();
    for check in wanted {
        if interrupt.is_raised() {
            break;
        }
        progress.say(check.id);
        probe.inside.forget()?;
        probe.outside.forget()?;
        let verdict = (check.run)(&mut probe)?;
        requirements.push(Row { id: check.id, level: check.level, asks: check.asks, verdict });
        progress.step();
    }
    Ok(Matrix { requirements })
}
