//! `halfspace-loadtest conform`: holds any NAT to the requirements of its RFCs, from outside: hosts
//! behind it and in front of it, which the prober is itself, talk to each other, and what they see
//! of each other tells.
//!
//! | file | idea |
//! | --- | --- |
//! | `wire` | what frames go by: an interface on which the prober is a few hosts |
//! | `peer` | the same on another machine |
//! | `end` | the hosts, and what came in for them |
//! | `probe` | both ends, and what checks are made of: a datagram out, one in |
//! | `segments` | the same for TCP: a segment, a connection |
//! | `messages` | the same for ICMP: a ping, an error |
//! | `fragments` | packets in fragments |
//! | `nat64` | how hosts with IPv6 name those with IPv4 |
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
mod messages;
mod nat64;
pub mod peer;
mod policy;
mod probe;
mod report;
mod segments;
mod stage;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use halfspace_testbed::Interrupt;

use self::check::{Check, Verdict};
use self::end::End;
use self::nat64::Prefix64;
use self::peer::Remote;
use self::policy::Policy;
use self::probe::{Plan, Probe};
use self::report::{Matrix, Row};
use self::wire::Interface;
use crate::error::Error;
use crate::frames::place::Place;
use crate::guard::Guard;
use crate::output::{Outcome, Output, Progress};

/// The side behind the NAT.
#[derive(Clone, Debug, clap::Args)]
pub struct Behind {
    /// Interface behind the NAT
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub inside: Place,
    /// The NAT's address there
    #[arg(long, value_name = "IP", requires = "client")]
    pub gateway: Option<Ipv4Addr>,
    /// Hosts behind the NAT
    #[arg(long, value_name = "IP", value_delimiter = ',', requires = "gateway")]
    pub client: Vec<Ipv4Addr>,
    /// A NAT64's address there
    #[arg(long, value_name = "IP", requires = "client6")]
    pub gateway6: Option<Ipv6Addr>,
    /// Hosts behind the NAT64
    #[arg(long, value_name = "IP", value_delimiter = ',', requires = "gateway6")]
    pub client6: Vec<Ipv6Addr>,
    /// Prefix by which they name hosts in front of it
    #[arg(long, value_name = "PREFIX", default_value_t = Prefix64::WELL_KNOWN)]
    pub nat64_prefix: Prefix64,
    /// Ports that the NAT gives a host at most, if it has such a limit; name a third host then
    #[arg(long, value_name = "N")]
    pub ports_per_host: Option<u16>,
}

/// The side in front of it.
#[derive(Clone, Debug, clap::Args)]
pub struct InFront {
    /// Interface in front of the NAT
    #[arg(long, value_name = "IFACE[@NETNS]")]
    pub outside: Option<Place>,
    /// Hosts in front of it
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub server: Vec<Ipv4Addr>,
    /// The NAT's own addresses in front, which the hosts there reach by ARP
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub external: Vec<Ipv4Addr>,
    /// MTU of the link in front, if it takes less than the one behind
    #[arg(long, value_name = "BYTES")]
    pub outside_mtu: Option<u16>,
}

/// The two sides of a NAT.
#[derive(Clone, Debug, clap::Args)]
pub struct Ends {
    #[command(flatten)]
    pub inside: Behind,
    #[command(flatten)]
    pub outside: InFront,
    /// Where `conform-peer` listens, if the side in front is on another machine
    #[arg(
        long,
        value_name = "ADDR:PORT",
        conflicts_with_all = ["outside", "server", "external", "outside_mtu"]
    )]
    pub peer: Option<SocketAddr>,
}

/// How much is checked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct How {
    /// Only requirements whose ids begin with this
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub only: String,
    /// Check timers too, which takes most of an hour
    #[arg(long)]
    pub slow: bool,
}

/// Options of `conform`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The prober is the hosts itself: the kernel must have none of their addresses, or it would answer for
them. It needs two on each side. An option that takes several values takes them with commas. With
--client it checks a NAT between IPv4 and IPv4, with --client6 a NAT64, with both both.

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
/// [`Error::Usage`], [`Error::Outside`], [`Error::Peer`], and whatever an interface refuses.
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
    let wanted = |check: &&Check| check.id.starts_with(&how.only);
    let Behind { gateway, client, gateway6, client6, nat64_prefix, .. } = &ends.inside;
    let halves = [
        Half {
            checks: checks::nat44().filter(wanted).collect(),
            clients: client.iter().copied().map(IpAddr::V4).collect(),
            gateway: gateway.map(IpAddr::V4),
            prefix: None,
        },
        Half {
            checks: checks::nat64().filter(wanted).collect(),
            clients: client6.iter().copied().map(IpAddr::V6).collect(),
            gateway: gateway6.map(IpAddr::V6),
            prefix: Some(*nat64_prefix),
        },
    ];
    let count = halves.iter().map(|half| half.checks.len()).sum::<usize>();
    if count == 0 {
        return Err(Error::Usage(format!("no requirement's id begins with {}", how.only)));
    }
    if gateway.is_none() && gateway6.is_none() {
        return Err(Error::Usage(
            "hosts behind the NAT are needed: --gateway and --client, or --gateway6 and --client6"
                .to_owned(),
        ));
    }
    let progress = Progress::of_steps(count as u64);
    let mut requirements = Vec::new();
    for half in &halves {
        requirements.extend(half.run(ends, (how.slow, guard), &progress, interrupt)?);
    }
    Ok(Matrix { requirements })
}

/// What is checked with hosts of one family behind the NAT.
struct Half {
    checks: Vec<&'static Check>,
    clients: Vec<IpAddr>,
    gateway: Option<IpAddr>,
    prefix: Option<Prefix64>,
}

impl Half {
    fn run(
        &self,
        ends: &Ends,
        how: (bool, Guard),
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Vec<Row>, Error> {
        let mut probe = match self.gateway {
            Some(gateway) if !self.checks.is_empty() => {
                Some(open(ends, &self.clients, (gateway, self.prefix), how, interrupt)?)
            }
            _ => None,
        };
        let option = if self.prefix.is_some() { "--client6" } else { "--client" };
        let mut rows = Vec::new();
        for check in &self.checks {
            if interrupt.is_raised() {
                break;
            }
            progress.say(check.id);
            rows.push(if let Some(probe) = &mut probe {
                Row::of(check, probe)?
            } else {
                let why = format!("there are no hosts for it ({option})");
                Row::new(check, Verdict::NotApplicable(why))
            });
            progress.step();
        }
        Ok(rows)
    }
}

/// Becomes hosts of one family inside, and those outside.
fn open(
    ends: &Ends,
    clients: &[IpAddr],
    (gateway, prefix): (IpAddr, Option<Prefix64>),
    (slow, guard): (bool, Guard),
    interrupt: &Interrupt,
) -> Result<Probe, Error> {
    let (outside, side) = match ends.peer {
        Some(address) => {
            let (wire, side) = Remote::connect(address)?;
            (End::new(wire), side)
        }
        None => (End::new(ends.outside.open(guard)?), ends.outside.clone()),
    };
    if clients.len() < 2 || side.server.len() < 2 {
        return Err(Error::Usage(
            "two hosts are needed at either end: --client IP,IP and --server IP,IP".to_owned(),
        ));
    }
    let inside = Interface::open(&ends.inside.inside, clients, gateway, guard)?;
    let plan = Plan {
        clients: clients.to_vec(),
        servers: side.server,
        external: side.external,
        outside_mtu: side.outside_mtu,
        prefix,
        ports_per_host: ends.inside.ports_per_host,
        slow,
    };
    // Another run shortly before has left mappings behind.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first_port = 20_000 + (now.subsec_nanos() % 40_000) as u16;
    Ok(Probe::new(End::new(inside), outside, plan, first_port, interrupt))
}

impl InFront {
    /// Becomes the hosts in front.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it is not said which and where; as [`Interface::open`].
    fn open(&self, guard: Guard) -> Result<Interface, Error> {
        let (Some(place), Some(first)) = (&self.outside, self.external.first()) else {
            return Err(Error::Usage(
                "hosts in front of the NAT are needed: --outside, --server and --external"
                    .to_owned(),
            ));
        };
        let servers: Vec<_> = self.server.iter().copied().map(IpAddr::V4).collect();
        Interface::open(place, &servers, (*first).into(), guard)
    }
}
