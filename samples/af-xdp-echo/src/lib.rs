//! A sample of OS-bypass on an ENI: it opens an AF_XDP socket on an instance's end of a port,
//! answers for addresses of the ENI that the kernel does not have, and echoes. docs/os-bypass.md
//! explains what that is good for, and walks through a run.
//!
//! It is a package of its own, because it is the one program here that runs on the *instance's*
//! side and because it is there to be read and copied: neither the gateway nor the load generator
//! is in the way. It is a library with a small binary around it, so that the gateway's own tests
//! can run it too.
//!
//! | file | idea |
//! | --- | --- |
//! | `bpf/steer.bpf.c`, `steering` | which frames go past the kernel's stack |
//! | `socket` | the socket, its memory and its rings |
//! | `answer` | what is said to a frame: bytes in, bytes out |
//! | `summary` | what a run came to |
//!
//! # Whose frames
//!
//! The program takes what is for its own `--address`es, and the ARP requests and neighbour
//! solicitations for them. All else goes up the kernel's stack as before (`--others pass`), for an
//! instance is managed over its interface as well: it keeps its ssh on the ENI's other addresses,
//! as an instance with an EFA keeps its IP traffic on the ENA device of the same interface. With
//! `--others drop` the interface is the application's alone, and what it does not take is dropped
//! and counted. A frame for the program's addresses that is not answered is counted by its reason;
//! it never falls back to the kernel, which does not have the address.
//!
//! # Checksums
//!
//! The kernel hands a frame to an AF_XDP socket as it is. One from a stack on the same machine
//! may carry the pseudo-header's sum only, because its sender left the rest to an interface that
//! never computes it (a veth). It is completed before the datagram goes back; a sum that is wrong in
//! any other way is refused and never made to look right.

pub mod answer;
mod error;
pub mod interface;
pub mod socket;
pub mod steering;
pub mod summary;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use clap::{Parser, value_parser};

use answer::{Host, Refusal, Request};
pub use error::Error;
use interface::Interface;
pub use socket::Mode;
use socket::{Exchange, Fate, Socket};
pub use steering::Others;
use steering::Steering;
use summary::{EndedBy, Summary};

/// How long the kernel may take to send the last answers.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Echoes over an AF_XDP socket: answers ARP, neighbour discovery, ping and UDP for addresses that
/// the kernel does not have, past the kernel's stack.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  af-xdp-echo --interface eth0 --address 10.0.1.21
  af-xdp-echo --interface eth0 --address 10.0.1.21,fd00:10:0:1::21 --others drop --json

Exit status: 0 after --duration, SIGINT or SIGTERM; 1 if something could not be done; 2 if it was
called wrongly; 3 if the interface went away. The summary is printed with 0 and with 3."
)]
pub struct Arguments {
    /// Interface to echo on, in the network namespace that this runs in
    #[arg(long, value_name = "NAME")]
    pub interface: String,
    /// Receive queue that the socket is bound to
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub queue: u32,
    /// Addresses to answer for, at most one IPv4 and one IPv6: the ENI's, but not the kernel's
    #[arg(long, required = true, value_delimiter = ',', value_name = "ADDRESS")]
    pub address: Vec<IpAddr>,
    /// What becomes of frames that are not for those addresses
    #[arg(long, value_enum, default_value_t)]
    pub others: Others,
    /// How frames get into the shared memory; without it, zero-copy where the driver can do that
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Frames that the shared memory (UMEM) holds, 4 KiB each: a power of two
    #[arg(long, default_value_t = 1024, value_parser = parse_frames, value_name = "N")]
    pub frames: u32,
    /// End after this long, for example 10s or 2m; without it, by a signal only
    #[arg(long, value_parser = value_parser!(humantime::Duration))]
    pub duration: Option<humantime::Duration>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

fn parse_frames(text: &str) -> Result<u32, String> {
    let frames: u32 = text.parse().map_err(|error| format!("{error}"))?;
    // Fewer are overrun by any burst, and more than 4 GiB are too much for a slip of the finger.
    if frames.is_power_of_two() && (64..=1 << 20).contains(&frames) {
        Ok(frames)
    } else {
        Err("it must be a power of two from 64 to 1048576".to_owned())
    }
}

/// Echoes until its time is over or `stop` says so. `announce` is called once it is ready, with a
/// sentence on what it does.
///
/// # Errors
///
/// Any of [`Error`]'s.
pub fn run(
    arguments: &Arguments,
    announce: impl FnOnce(&str),
    stop: impl Fn() -> bool,
) -> Result<Summary, Error> {
    let interface = Interface::find(&arguments.interface)?;
    let host = host(&interface, &arguments.address)?;
    let queue = arguments.queue;
    let mut socket = Socket::open(&interface, queue, arguments.frames, arguments.mode)?;
    let mode = socket.mode()?;
    let mut steering = Steering::attach(&interface, &host, queue, &socket, arguments.others)?;
    announce(&sentence(&interface, &host, arguments, mode));

    let mut echo = Echo::new(host);
    let started = Instant::now();
    // One that is beyond the clock's end has none.
    let end = arguments.duration.and_then(|duration| started.checked_add(*duration));
    let ended_by = loop {
        if stop() {
            break EndedBy::Signal;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break EndedBy::Duration;
        }
        socket.wait()?;
        if socket.exchange(|frame| echo.decide(frame))? == Exchange::Gone {
            break EndedBy::InterfaceGone;
        }
    };
    // What has come up until now is still answered.
    steering.detach();
    let last = Instant::now() + LAST_ANSWERS;
    while Instant::now() < last {
        match socket.exchange(|frame| echo.decide(frame))? {
            Exchange::Received(0) if socket.is_idle() => break,
            Exchange::Received(_) => socket.wait()?,
            Exchange::Gone => break,
        }
    }
    let counted = steering.counters()?;
    Ok(Summary {
        interface: interface.name,
        queue,
        mode,
        seconds: started.elapsed().as_secs_f64(),
        ended_by,
        steered_packets: counted.steered,
        lost_packets: socket.lost()?,
        received_packets: echo.received_packets,
        received_bytes: echo.received_bytes,
        answered: echo.answered,
        refused: echo.refused,
        sent_packets: socket.sent(),
        other_queue_packets: counted.other_queue,
        others: arguments.others,
        others_packets: counted.passed + counted.dropped,
    })
}

fn host(interface: &Interface, addresses: &[IpAddr]) -> Result<Host, Error> {
    let mut host = Host { mac: interface.mac, ipv4: None, ipv6: None };
    for &address in addresses {
        let second = match address {
            IpAddr::V4(address) => host.ipv4.replace(address).is_some(),
            IpAddr::V6(address) => host.ipv6.replace(address).is_some(),
        };
        if second || address.is_unspecified() || address.is_multicast() {
            let what = "--address takes at most one IPv4 and one IPv6 address of a host";
            return Err(Error::Usage(format!("{address}: {what}")));
        }
    }
    Ok(host)
}

fn sentence(interface: &Interface, host: &Host, arguments: &Arguments, mode: Mode) -> String {
    let ipv4 = host.ipv4.map(IpAddr::V4);
    let addresses = ipv4.into_iter().chain(host.ipv6.map(IpAddr::V6));
    let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
    let mode = match mode {
        Mode::Copy => "copy",
        Mode::ZeroCopy => "zero-copy",
    };
    let others = match arguments.others {
        Others::Pass => "are left to the kernel",
        Others::Drop => "are dropped",
    };
    format!(
        "echoing for {} at {} on {}, queue {}, {mode} mode, {} KiB of shared memory; frames for \
         others {others}",
        addresses.join(" and "),
        host.mac,
        interface.name,
        arguments.queue,
        arguments.frames * 4,
    )
}

/// Answers frames, and counts.
struct Echo {
    host: Host,
    received_packets: u64,
    received_bytes: u64,
    answered: BTreeMap<Request, u64>,
    refused: BTreeMap<Refusal, u64>,
}

impl Echo {
    fn new(host: Host) -> Self {
        Self {
            host,
            received_packets: 0,
            received_bytes: 0,
            answered: Request::ALL.map(|it| (it, 0)).into(),
            refused: Refusal::ALL.map(|it| (it, 0)).into(),
        }
    }

    fn decide(&mut self, frame: &mut [u8]) -> Fate {
        self.received_packets += 1;
        self.received_bytes += frame.len() as u64;
        match self.host.answer(frame) {
            Ok(answer) => {
                *self.answered.entry(answer.request).or_default() += 1;
                answer.frame.map_or(Fate::Send, Fate::Replace)
            }
            Err(refusal) => {
                *self.refused.entry(refusal).or_default() += 1;
                Fate::Drop
            }
        }
    }
}
