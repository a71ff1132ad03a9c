//! `environments`: execution environments come and go at a gateway, and how fast it follows.
//!
//! | file | idea |
//! | --- | --- |
//! | `api` | the gateway's API, as a platform's control plane would use it |
//! | `pool` | the links |
//! | `wire` | what goes over them, from all environments at once |
//! | `probe` | what an environment says first, and whether the answer is one |
//! | `churn` | who is attached, probed and detached when |
//! | `report` | what it comes to |

pub mod api;
pub mod churn;
pub mod pool;
mod probe;
pub mod report;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use halfspace_testbed::{Interrupt, Requirement, Testbed, missing};

use crate::error::Error;
use crate::guard::Guard;
use crate::output::{
    Outcome, Output, Progress, Rate, human, parse_duration, parse_duration_or_zero,
};

use api::Client;
use churn::{Ask, Plan, Setting};
use pool::{Inside, Pool};
use report::Results;
use wire::Wire;

/// What is to be done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Runs in the gateway's network namespace, or is told which that is. Makes veths into it, attaches
and detaches them through the API, and checks that each is heard when it is attached and silent
when it is not.

Examples:
  ip netns exec gateway halfspace-loadtest environments --bridge bridge-blue --count 100
  halfspace-loadtest environments --gateway-netns gateway --bridge bridge-blue \\
    --rate 20 --hold 5s --duration 1m --probe 10.0.1.50:7 --detach-vanish 0.1")]
pub struct Arguments {
    /// The gateway's API socket
    #[arg(long, default_value = "/run/halfspace/api.sock", value_name = "PATH")]
    api: PathBuf,

    /// The bridge to attach to
    #[arg(long, value_name = "ID")]
    bridge: String,

    /// Environments that there are
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    count: u32,

    /// Environments that are being attached, probed or detached at once, at the most
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,

    /// Attachments a second, whether the gateway follows or not [default: as fast as it goes]
    #[arg(long)]
    rate: Option<Rate>,

    /// How long to go on
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,

    /// How long an environment is kept
    #[arg(long, default_value = "0s", value_parser = parse_duration_or_zero)]
    hold: Duration,

    /// Share of the environments that end by their link being deleted, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = parse_share, value_name = "SHARE")]
    detach_vanish: f64,

    /// A host that answers pings, or a UDP echo server, to ask once attached
    #[arg(long, value_name = "ADDR[:PORT]")]
    probe: Option<Ask>,

    /// How long an answer to a packet may take
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    patience: Duration,

    /// The gateway's network namespace, as `ip netns` calls it [default: this one]
    #[arg(long, value_name = "NAME")]
    gateway_netns: Option<String>,

    /// Every environment's address
    #[arg(long, default_value = "169.254.100.2", value_name = "ADDR")]
    address: Ipv4Addr,

    /// Every environment's default gateway
    #[arg(long, default_value = "169.254.100.1", value_name = "ADDR")]
    gateway: Ipv4Addr,

    #[command(flatten)]
    guard: Guard,

    #[command(flatten)]
    output: Output,
}

/// Every environment's MAC address: clones of one snapshot have the same.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0x64, 0, 0x02];

/// What it takes to lay links.
const NEEDED: [Requirement; 2] = [Requirement::Root, Requirement::Program("ip")];

/// Does it.
///
/// # Errors
///
/// [`Error`], if it could not be measured.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for interrupts", source })?;
    let results = measure(arguments, &interrupt)?;
    arguments.output.print(&results)?;
    Ok(Outcome::of(results.complaints(), results.interrupted))
}

fn measure(arguments: &Arguments, interrupt: &Interrupt) -> Result<Results, Error> {
    let lacking = missing(&NEEDED);
    if !lacking.is_empty() {
        return Err(Error::Requirements(lacking.iter().map(ToString::to_string).collect()));
    }
    let bed = Testbed::new("environments")?;
    let gateway = arguments.gateway_namespace();
    if let Some(ask) = arguments.probe {
        // Probes leave from where the gateway is.
        let there = bed.existing_namespace(&gateway)?;
        there.enter(|| arguments.guard.check_target(ask.address()))??;
    }
    let mut client = Client::new(&arguments.api);
    // Before anything is made: most mistakes are a wrong socket.
    let before = listed(&mut client)?;
    let plan = arguments.plan();
    let progress = Progress::of_time(plan.duration);
    progress.say("making links");
    let inside = Inside { mac: MAC, address: arguments.address, gateway: arguments.gateway };
    let pool = Pool::lay(&bed, &gateway, inside, arguments.count as usize)?;
    let wire = Wire::open(&pool)?;
    let tally = churn::run(
        &plan,
        Setting {
            api: &arguments.api,
            pool: &pool,
            wire: &wire,
            stop: &|| interrupt.is_raised(),
            excuse: &|_, _| false,
            watch: &|elapsed, tally| {
                progress.elapsed(elapsed);
                #[expect(clippy::cast_precision_loss, reason = "for people")]
                progress.say(format!("{} attached", human(tally.attach.count() as f64)));
            },
        },
    );
    drop(wire);
    let after = listed(&mut client);
    progress.say("removing links");
    let links_left = pool.remove()?;
    let mut results = Results::new(&plan, arguments.count as usize, &tally, &before, &after?);
    results.links_left = links_left;
    results.interrupted = interrupt.is_raised();
    Ok(results)
}

/// The ids of the environments that the gateway lists.
fn listed(client: &mut Client) -> Result<BTreeSet<String>, Error> {
    let listed = client.environments().map_err(|error| Error::Api(Box::new(error)))?;
    Ok(listed.into_keys().collect())
}

impl Arguments {
    fn plan(&self) -> Plan {
        Plan {
            bridge: self.bridge.clone(),
            concurrency: self.concurrency as usize,
            rate: self.rate,
            hold: self.hold,
            duration: self.duration,
            vanish: self.detach_vanish,
            ask: self.probe,
            patience: self.patience,
        }
    }

    fn gateway_namespace(&self) -> PathBuf {
        match &self.gateway_netns {
            Some(name) => Path::new("/run/netns").join(name),
            None => PathBuf::from("/proc/thread-self/ns/net"),
        }
    }
}

impl Ask {
    fn address(self) -> IpAddr {
        match self {
            Self::Udp(server) => (*server.ip()).into(),
            Self::Host(host) => host.into(),
        }
    }
}

impl FromStr for Ask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let server = text.parse::<SocketAddrV4>().map(Self::Udp);
        server
            .or_else(|_| text.parse().map(Self::Host))
            .map_err(|_| format!("`{text}` is neither an IPv4 address nor one with a port"))
    }
}

/// Parses a share, for clap.
///
/// # Errors
///
/// What is wrong with the text.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is no share: write a number from 0 to 1")),
    }
}
