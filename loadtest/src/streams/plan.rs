//! The options of `streams`.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use ipnet::IpNet;
use serde::Serialize;

use crate::error::Error;
use crate::guard::Guard;
use crate::output::{Output, Rate, parse_count};
use crate::sockets::cpu::Watch;
use crate::sockets::protocol::DATAGRAM_HEAD;
use crate::sockets::timing::Timing;

/// Which way TCP streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the server
    Up,
    /// From the server
    Down,
    /// Both at once, with --connections each
    Both,
}

/// Whom to load, how, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where `halfspace-loadtest serve` listens
    #[arg(long, value_name = "ADDR:PORT")]
    pub target: SocketAddr,
    /// Send datagrams instead of TCP streams
    #[arg(long)]
    pub udp: bool,
    /// Which way TCP streams go
    #[arg(long, value_enum, default_value_t = Direction::Up)]
    pub direction: Direction,
    /// Connections, or flows of datagrams, over all threads
    #[arg(long, default_value = "1", value_parser = parse_count)]
    pub connections: u64,
    /// Threads, each with its share of connections and rate
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Bytes of a datagram without IP and UDP header, at least the 24 of its own head
    #[arg(long, default_value = "1400", value_parser = parse_count)]
    pub datagram_bytes: u64,
    /// Datagrams a second, over all flows [default: as fast as they go]
    #[arg(long, requires = "udp")]
    pub rate: Option<Rate>,
    /// Send from these addresses in turn
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub source: Vec<IpAddr>,
    /// Networks that the server must see the client in
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub expect_source: Vec<IpNet>,
    /// Share of datagrams that may get lost, from 0 to 1
    #[arg(long, default_value_t = 0.0, requires = "udp")]
    pub max_loss: f64,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub watch: Watch,
    #[command(flatten)]
    pub guard: Guard,
    #[command(flatten)]
    pub output: Output,
}

impl Arguments {
    /// Whether the options go together.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if not.
    pub fn check(&self) -> Result<(), Error> {
        let usage = |what: &str| Err(Error::Usage(what.to_owned()));
        if !(0.0..=1.0).contains(&self.max_loss) {
            return usage("--max-loss is a share: from 0 to 1");
        }
        if self.connections < u64::from(self.threads) {
            return usage("--connections must be at least --threads: each thread needs one");
        }
        if self.connections > 100_000 {
            return usage("--connections may be at most 100,000");
        }
        if !(DATAGRAM_HEAD as u64..=65_507).contains(&self.datagram_bytes) {
            return usage(
                "--datagram-bytes: from 24 to 65,507, the most that UDP over IPv4 carries",
            );
        }
        if self.udp && self.direction != Direction::Up {
            return usage("--udp goes up only: leave out --direction");
        }
        Ok(())
    }
}
