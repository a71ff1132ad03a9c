//! Sending frames of a plan by whichever way the link allows: live frames (XDP) or a packet socket.

use std::fs;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::Plan;
use super::build::TcpFlags;
use super::generator::Generator;
use super::packet_socket::PacketSocket;
use super::place::Link;
use crate::error::Error;

/// How long the first frame may take to be counted by the link.
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// The names of the two ways.
const XDP: &str = "xdp";
const PACKET_SOCKET: &str = "packet-socket";

/// What to send: `count` frames, of flows that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Frames to send.
    pub count: u64,
    /// Least time between two, or zero.
    pub interval: Duration,
    /// Number of the first flow.
    pub first: u32,
    /// Number of flows. Another order may have others only where all had their turn before.
    pub flows: u32,
    /// Of TCP frames only.
    pub flags: TcpFlags,
}

impl Order {
    /// Data of flows from zero on, without end or pause.
    pub fn endless(flows: u32) -> Self {
        let (count, interval) = (u64::MAX, Duration::ZERO);
        Self { count, interval, first: 0, flows, flags: TcpFlags::PUSH }
    }

    /// One frame of each of `flows` flows from `first` on.
    pub fn pass(first: u32, flows: u32) -> Self {
        Self { count: flows.into(), first, ..Self::endless(flows) }
    }

    /// The same at so many frames a second.
    #[must_use]
    pub fn at(self, rate: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        Self { interval, ..self }
    }

    /// The same with other TCP flags.
    #[must_use]
    pub fn with(self, flags: TcpFlags) -> Self {
        Self { flags, ..self }
    }
}

/// The way frames are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// XDP if the link takes such frames, else a packet socket.
    #[default]
    Auto,
    /// An XDP program run on live frames (Linux 5.18), a core's worth of millions a second.
    Xdp,
    /// An `AF_PACKET` socket: any link, a few hundred thousand a second.
    PacketSocket,
}

/// The way that was taken, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// `xdp` or `packet-socket`.
    pub name: &'static str,
    /// Why that one.
    pub why: String,
}

impl Choice {
    /// Whether it is live frames.
    pub fn is_xdp(&self) -> bool {
        self.name == XDP
    }
}

/// Sends frames. Its methods must be called in the namespace of the link.
pub enum Sender {
    /// Live frames.
    Xdp(Box<Generator>),
    /// A packet socket.
    Socket(PacketSocket),
}

impl Sender {
    /// Opens the way that was asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::System`], [`Error::Unsendable`].
    pub fn open(
        engine: Engine,
        plan: &Plan,
        name: &str,
        link: Link,
    ) -> Result<(Self, Choice), Error> {
        let choice = choose(engine, plan, name, link)?;
        let sender = if choice.is_xdp() {
            Self::Xdp(Box::new(Generator::load(plan, link.index)?))
        } else {
            Self::Socket(PacketSocket::open(plan, link.index)?)
        };
        Ok((sender, choice))
    }

    /// Frames sent so far.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn sent(&self) -> Result<u64, Error> {
        match self {
            Self::Xdp(generator) => generator.sent(),
            Self::Socket(socket) => Ok(socket.sent()),
        }
    }

    /// How long the last order took that had a rate.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn took(&self) -> Result<Duration, Error> {
        match self {
            Self::Xdp(generator) => generator.took(),
            Self::Socket(socket) => Ok(socket.took()),
        }
    }

    /// Carries an order out, unless `stop` ends it before.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`], [`Error::System`].
    pub fn obey(&self, order: &Order, stop: impl Fn() -> bool) -> Result<(), Error> {
        match self {
            Self::Xdp(generator) => generator.obey(order, stop),
            Self::Socket(socket) => socket.obey(order, stop),
        }
    }

    /// Ends an order from another thread, at once. Its `stop` must hold by then.
    ///
    /// # Errors
    ///
    /// [`Error::Bpf`].
    pub fn halt(&self) -> Result<(), Error> {
        match self {
            Self::Xdp(generator) => generator.halt(),
            // It looks at `stop` often enough.
            Self::Socket(_) => Ok(()),
        }
    }
}

/// Finds out how frames can leave by a link of the calling thread's namespace.
///
/// # Errors
///
/// [`Error::Unsendable`] if what was asked for does not work.
pub fn choose(engine: Engine, plan: &Plan, name: &str, link: Link) -> Result<Choice, Error> {
    let xdp = |why: &str| Choice { name: XDP, why: why.to_owned() };
    let socket = |why| Choice { name: PACKET_SOCKET, why };
    match engine {
        Engine::PacketSocket => Ok(socket("it was asked for".to_owned())),
        Engine::Xdp => match probe(plan, name, link)? {
            None => Ok(xdp("it was asked for")),
            Some(why) => Err(Error::Unsendable { link: name.to_owned(), why }),
        },
        Engine::Auto => Ok(match probe(plan, name, link) {
            Ok(None) => xdp("the link sends live frames"),
            Ok(Some(why)) => socket(why),
            Err(error) => socket(error.to_string()),
        }),
    }
}

/// Sends one live frame and looks whether the link counts it: redirection has no other answer. A
/// reason if not. The frame is addressed to the link itself, so nobody takes it in.
fn probe(plan: &Plan, name: &str, link: Link) -> Result<Option<String>, Error> {
    let server_port = plan.server_port ^ 1;
    let plan = Plan { source_mac: link.mac, destination_mac: link.mac, server_port, ..*plan };
    let generator = Generator::load(&plan, link.index)?;
    let before = transmitted(name)?;
    generator.obey(&Order::pass(0, 1), || false)?;
    let begun = Instant::now();
    while transmitted(name)? == before {
        if begun.elapsed() > PROBE_PATIENCE {
            let why = "live frames do not leave by this link: its driver sends none, or the peer \
                       of a veth has neither an XDP program nor GRO";
            return Ok(Some(why.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(None)
}

/// Frames that a link of the calling thread's namespace has sent.
fn transmitted(link: &str) -> Result<u64, Error> {
    let path = "/proc/thread-self/net/dev";
    let text = fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.into(),
        source,
    })?;
    Ok(parse_transmitted(&text, link).unwrap_or(0))
}

/// The tenth figure after the link's name: packets sent.
fn parse_transmitted(text: &str, link: &str) -> Option<u64> {
    let figures = text.lines().find_map(|line| {
        let (name, figures) = line.split_once(':')?;
        (name.trim() == link).then_some(figures)
    })?;
    figures.split_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_sent_are_read_from_what_the_kernel_shows() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
                    lo:       1       2    0    0    0     0          0         0        3       4    0    0    0     0       0          0\n  \
                    eth0:     560       8    0    0    0     0          0         0      700      9    0    0    0     0       0          0\n";
        assert_eq!(parse_transmitted(text, "eth0"), Some(9));
        assert_eq!(parse_transmitted(text, "eth"), None);
    }

    #[test]
    fn a_rate_becomes_the_time_between_two_frames() {
        let order = Order::pass(5, 10).at(1000.0);
        assert_eq!(order.interval, Duration::from_millis(1));
        assert_eq!((order.count, order.first, order.flows), (10, 5, 10));
    }
}
