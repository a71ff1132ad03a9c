//! Conversations through the gateway: short ones, one after the other, each checked for what comes
//! back and for the address that the other side saw.
//!
//! They are slow on purpose. A soak is about what is left after a million flows of every kind, not
//! about how fast they went.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::plan;
use super::trouble::{Scope, Troubles};
use crate::histogram::{Latencies, Summary};

/// Messages of one conversation.
const ROUNDS: u32 = 4;

/// Between two conversations of one speaker.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a connection may take to open, or an answer over it to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a datagram's answer may take, and how often the datagram is sent.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 4;

/// What is spoken, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// TCP from the client through the NAT gateway.
    NatTcp,
    /// UDP likewise.
    NatUdp,
    /// ICMP echo likewise.
    NatIcmp,
    /// TCP from the internet to the load balancer.
    BalancerTcp,
    /// UDP likewise.
    BalancerUdp,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 5] =
        [Self::NatTcp, Self::NatUdp, Self::NatIcmp, Self::BalancerTcp, Self::BalancerUdp];

    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NatTcp => "nat_tcp",
            Self::NatUdp => "nat_udp",
            Self::NatIcmp => "nat_icmp",
            Self::BalancerTcp => "nlb_tcp",
            Self::BalancerUdp => "nlb_udp",
        }
    }

    /// Whether the speaker is the client, and not on the internet.
    pub const fn is_from_client(self) -> bool {
        matches!(self, Self::NatTcp | Self::NatUdp | Self::NatIcmp)
    }

    const fn scope(self) -> Scope {
        if self.is_from_client() { Scope::All } else { Scope::Balancer }
    }

    fn peer(self) -> SocketAddr {
        plan::echo(if self.is_from_client() { plan::SERVER } else { plan::BALANCER })
    }

    /// The address that the far end has to see: the NAT gateway's, or ours, which a load balancer
    /// keeps.
    fn seen_as(self, own: SocketAddr, seen: &str) -> Result<(), Failure> {
        let seen: SocketAddr = seen.trim().parse().map_err(|_| Failure::Wrong("wrong content"))?;
        let right =
            if self.is_from_client() { seen.ip() == IpAddr::V4(plan::NAT) } else { seen == own };
        if right { Ok(()) } else { Err(Failure::Wrong("wrong address")) }
    }
}

/// Conversations of one kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Conversations that were as they should be.
    pub done: u64,
    /// From sending a message to the end of its answer.
    pub latency: Latencies,
    /// Datagrams that were sent again.
    pub repeated: u64,
    /// What failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// What failed while something was done to the gateway that may well fail it.
    pub excused: BTreeMap<String, u64>,
}

/// The same, for results.
#[derive(Clone, Debug, Serialize)]
pub struct Conversations {
    /// Conversations that were as they should be.
    pub done: u64,
    /// From sending a message to the end of its answer.
    pub latency_seconds: Summary,
    /// Datagrams that were sent again.
    pub repeated_datagrams: u64,
    /// What failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// What failed while something was done to the gateway that may well fail it.
    pub excused: BTreeMap<String, u64>,
}

impl Tally {
    /// For results.
    pub fn summary(&self) -> Conversations {
        Conversations {
            done: self.done,
            latency_seconds: self.latency.summary(),
            repeated_datagrams: self.repeated,
            failures: self.failures.clone(),
            excused: self.excused.clone(),
        }
    }
}

/// Why a conversation failed.
#[derive(Debug)]
enum Failure {
    /// A socket said so.
    Io(&'static str, io::Error),
    /// No answer came.
    Silence,
    /// What came is wrong. Nothing excuses that.
    Wrong(&'static str),
}

impl Failure {
    fn reason(&self) -> String {
        match self {
            Self::Io(action, error) => format!("{action}: {}", error.kind()),
            Self::Silence => "no answer".to_owned(),
            Self::Wrong(how) => (*how).to_owned(),
        }
    }
}

/// Speaks until told to stop. Runs in the speaker's namespace.
pub fn speak(kind: Kind, tally: &Mutex<Tally>, troubles: &Troubles, stop: &dyn Fn() -> bool) {
    let mut number = 0;
    while !stop() {
        number += 1;
        let began = Instant::now();
        let mut notes = Notes::default();
        let result = match kind {
            Kind::NatTcp | Kind::BalancerTcp => connection(kind, number, &mut notes),
            Kind::NatUdp | Kind::BalancerUdp => datagrams(kind, number, &mut notes),
            Kind::NatIcmp => echoes(number, &mut notes),
        };
        // Before the lock: the others need not wait for the answer.
        let excused = match &result {
            Ok(()) | Err(Failure::Wrong(_)) => false,
            Err(_) => troubles.excuse(kind.scope(), began, Instant::now()),
        };
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            for latency in &notes.latencies {
                tally.latency.record(*latency);
            }
            tally.repeated += notes.repeated;
            match result {
                Ok(()) => tally.done += 1,
                Err(failure) => {
                    let counts = if excused { &mut tally.excused } else { &mut tally.failures };
                    *counts.entry(failure.reason()).or_default() += 1;
                }
            }
        }
        std::thread::sleep(PAUSE);
    }
}

#[derive(Default)]
struct Notes {
    latencies: Vec<Duration>,
    repeated: u64,
}

fn io_failure(action: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Silence,
        _ => Failure::Io(action, error),
    }
}

/// Says which conversation and which round it is, and is of a length of its own.
fn message(number: u64, round: u32) -> Vec<u8> {
    let mut text = format!("conversation {number}, round {round}\n").into_bytes();
    let length = text.len() + ((number * 97 + u64::from(round) * 331) % 1000) as usize;
    text.resize(length, b'.');
    text
}

fn connection(kind: Kind, number: u64, notes: &mut Notes) -> Result<(), Failure> {
    let peer = kind.peer();
    let mut stream = TcpStream::connect_timeout(&peer, PATIENCE).map_err(io_failure("connect"))?;
    let own = stream.local_addr().map_err(io_failure("connect"))?;
    let set = stream.set_read_timeout(Some(PATIENCE));
    set.and_then(|()| stream.set_nodelay(true)).map_err(io_failure("connect"))?;
    let mut reader = BufReader::new(stream.try_clone().map_err(io_failure("connect"))?);
    let mut seen = String::new();
    // The server's first line is short: what is longer is not the server's.
    (&mut reader).take(64).read_line(&mut seen).map_err(io_failure("read"))?;
    kind.seen_as(own, &seen)?;
    for round in 0..ROUNDS {
        let message = message(number, round);
        let began = Instant::now();
        stream.write_all(&message).map_err(io_failure("write"))?;
        let mut answer = vec![0; message.len()];
        reader.read_exact(&mut answer).map_err(io_failure("read"))?;
        notes.latencies.push(began.elapsed());
        if answer != message {
            return Err(Failure::Wrong("wrong content"));
        }
    }
    // Both sides close, in order: the gateway sees the end of the connection and need not wait
    // for it to be idle.
    stream.shutdown(std::net::Shutdown::Write).map_err(io_failure("close"))?;
    match reader.read(&mut [0]).map_err(io_failure("close"))? {
        0 => Ok(()),
        _ => Err(Failure::Wrong("wrong content")),
    }
}

fn datagrams(kind: Kind, number: u64, notes: &mut Notes) -> Result<(), Failure> {
    let socket =
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(io_failure("open a socket"))?;
    // Connected: what comes from another address is not given to us.
    socket.connect(kind.peer()).map_err(io_failure("connect"))?;
    let own = socket.local_addr().map_err(io_failure("connect"))?;
    socket.set_read_timeout(Some(DATAGRAM_PATIENCE)).map_err(io_failure("open a socket"))?;
    for round in 0..ROUNDS {
        let message = message(number, round);
        let answer = ask(
            notes,
            &message,
            |message| socket.send(message),
            |buffer| socket.recv(buffer),
            |answer| {
                // A late answer to an earlier round's repetition is none to this one.
                answer.iter().position(|it| *it == b'\n').is_some_and(|at| {
                    !answer[at + 1..].starts_with(b"conversation") || answer[at + 1..] == message
                })
            },
        )?;
        let line = answer.iter().position(|it| *it == b'\n').unwrap_or(0);
        let (seen, content) = answer.split_at(line);
        kind.seen_as(own, &String::from_utf8_lossy(seen))?;
        if content.get(1..) != Some(message.as_slice()) {
            return Err(Failure::Wrong("wrong content"));
        }
    }
    Ok(())
}

fn echoes(number: u64, notes: &mut Notes) -> Result<(), Failure> {
    // The kernel puts the identifier in and gives us the answers that carry it.
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))
        .map_err(io_failure("open a socket"))?;
    let peer = SockAddr::from(SocketAddr::from((plan::SERVER, 0)));
    socket.connect(&peer).map_err(io_failure("connect"))?;
    socket.set_read_timeout(Some(DATAGRAM_PATIENCE)).map_err(io_failure("open a socket"))?;
    let mut socket = socket;
    for round in 0..ROUNDS {
        let sequence = (round as u16).to_be_bytes();
        let content = message(number, round);
        let request = [&[8, 0, 0, 0, 0, 0, sequence[0], sequence[1]], content.as_slice()].concat();
        let sender = socket.try_clone().map_err(io_failure("open a socket"))?;
        let answer = ask(
            notes,
            &request,
            |request| sender.send(request),
            |buffer| socket.read(buffer),
            |answer| answer.get(6..8) == Some(&sequence),
        )?;
        if answer[..2] != [0, 0] || answer[8..] != content {
            return Err(Failure::Wrong("wrong content"));
        }
    }
    Ok(())
}

/// Sends a datagram until something comes that `belongs` to it.
fn ask(
    notes: &mut Notes,
    request: &[u8],
    send: impl Fn(&[u8]) -> io::Result<usize>,
    mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    belongs: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, Failure> {
    let mut buffer = [0; 4096];
    for attempt in 0..TRIES {
        if attempt > 0 {
            notes.repeated += 1;
        }
        let began = Instant::now();
        send(request).map_err(io_failure("send"))?;
        while began.elapsed() < DATAGRAM_PATIENCE {
            match receive(&mut buffer) {
                Ok(length) if belongs(&buffer[..length]) => {
                    notes.latencies.push(began.elapsed());
                    return Ok(buffer[..length].to_vec());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::Io("receive", error)),
            }
        }
    }
    Err(Failure::Silence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_end_has_to_see_the_nat_gateway_or_the_client_itself() {
        let own: SocketAddr = "203.0.113.1:40000".parse().unwrap();
        assert!(Kind::NatUdp.seen_as(own, "203.0.113.10:1024\n").is_ok());
        assert!(Kind::NatUdp.seen_as(own, "10.0.4.10:40000").is_err());
        assert!(Kind::BalancerTcp.seen_as(own, "203.0.113.1:40000\n").is_ok());
        assert!(Kind::BalancerTcp.seen_as(own, "203.0.113.1:40001").is_err());
        assert!(Kind::BalancerTcp.seen_as(own, "").is_err());
    }

    #[test]
    fn a_datagram_is_repeated_until_its_own_answer_comes() {
        let mut notes = Notes::default();
        let mut script = vec![
            Ok(b"its own".to_vec()),
            Ok(b"another's".to_vec()),
            Err(io::ErrorKind::WouldBlock),
        ];
        let answer = ask(
            &mut notes,
            b"question",
            |request| Ok(request.len()),
            |buffer| {
                let next = script.pop().expect("asked too often")?;
                buffer[..next.len()].copy_from_slice(&next);
                Ok(next.len())
            },
            |answer| answer == b"its own",
        );
        assert_eq!(answer.unwrap(), b"its own");
        assert_eq!((notes.repeated, notes.latencies.len()), (1, 1));
    }

    #[test]
    fn silence_is_given_up_on() {
        let mut notes = Notes::default();
        let silent = |_: &mut [u8]| Err(io::ErrorKind::WouldBlock.into());
        let answer = ask(&mut notes, b"x", |it| Ok(it.len()), silent, |_| true);
        assert!(matches!(answer, Err(Failure::Silence)));
        assert_eq!(notes.repeated, u64::from(TRIES) - 1);
    }
}
