//! `halfspace-loadtest conform-peer`: the hosts in front of a NAT on another machine than those
//! behind it. The prober drives them over a connection of its own, a JSON object a line:
//!
//! | the prober says | the peer |
//! | --- | --- |
//! | nothing yet | `{"version": 1, "server": […], "external": […], "outside_mtu": …}` |
//! | `{"send": "0a1b…"}` | sends the frame |
//! | `{"take": 250}` | waits at most so many milliseconds for frames: `{"frames": ["0a1b…"]}` |
//!
//! When it cannot, it says `{"error": "why"}` in place of the next answer and hangs up. It answers
//! those who look for its hosts for as long as somebody is connected.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use halfspace_testbed::Interrupt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::InFront;
use super::wire::{Interface, Wire};
use crate::error::Error;
use crate::guard::Guard;
use crate::output::{Outcome, parse_duration};

/// Of what the two say to each other.
const VERSION: u32 = 1;

/// How long the other side may be silent beyond what it was given time for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a peer looks whether it is to end.
const BEAT: Duration = Duration::from_millis(50);

/// No line is longer: a frame has 64 KiB at most, two digits a byte.
const LONGEST_LINE: u64 = 1 << 18;

/// Frames that a peer keeps until it is asked; the oldest go.
const ROOM: usize = 4096;

/// Options of `conform-peer`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Whoever can connect to it can send any frame on the interface: listen only where nobody else can.")]
pub struct Arguments {
    /// Where to wait for `conform --peer`
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9468")]
    listen: SocketAddr,
    #[command(flatten)]
    outside: InFront,
    /// End after this long, so that no peer is forgotten
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    duration: Duration,
    #[command(flatten)]
    guard: Guard,
}

/// Serves one prober after the other, until a signal or the end of its time.
///
/// # Errors
///
/// [`Error::Usage`], [`Error::Outside`], [`Error::System`], and whatever the interface refuses.
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for signals", source })?;
    let peer = Peer::listen(arguments.listen, &arguments.outside, arguments.guard)?;
    eprintln!("Listening on {}", peer.address()?);
    let end = Instant::now() + arguments.duration;
    peer.serve(|| interrupt.is_raised() || Instant::now() >= end)?;
    // A signal is how a peer is meant to end.
    Ok(Outcome::Fine)
}

/// What a peer says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    version: u32,
    server: Vec<Ipv4Addr>,
    external: Vec<Ipv4Addr>,
    outside_mtu: Option<u16>,
}

/// What a prober says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// A frame in hexadecimal digits.
    Send(String),
    /// Milliseconds.
    Take(u64),
}

/// What a peer answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Frames(Vec<String>),
    Error(String),
}

/// A peer that listens.
pub struct Peer {
    listener: TcpListener,
    interface: Interface,
    hello: Hello,
}

impl Peer {
    /// Becomes the hosts, and listens in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if that address cannot be had, and as [`InFront::open`].
    pub fn listen(listen: SocketAddr, outside: &InFront, guard: Guard) -> Result<Self, Error> {
        let failed = |source| Error::System { action: "listen for a prober", source };
        let interface = outside.open(guard)?;
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let hello = Hello {
            version: VERSION,
            server: outside.server.clone(),
            external: outside.external.clone(),
            outside_mtu: outside.outside_mtu,
        };
        Ok(Self { listener, interface, hello })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn address(&self) -> Result<SocketAddr, Error> {
        let failed = |source| Error::System { action: "find out where it listens", source };
        self.listener.local_addr().map_err(failed)
    }

    /// Serves one prober after the other until it is to stop.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the interface fails; that a prober hangs up is none.
    pub fn serve(mut self, stop: impl Fn() -> bool) -> Result<(), Error> {
        while !stop() {
            match self.listener.accept() {
                Ok((stream, from)) => {
                    if let Err(why) = self.talk(stream, &stop) {
                        eprintln!("The prober at {from} is gone: {why}");
                    }
                }
                // Those who look for the hosts are answered, and frames for them are nobody's.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.interface.take(BEAT)?;
                }
                Err(source) => return Err(Error::System { action: "meet a prober", source }),
            }
        }
        Ok(())
    }

    fn talk(&mut self, stream: TcpStream, stop: impl Fn() -> bool) -> Result<(), Error> {
        let mut line = Line::new(stream)?;
        line.write(&self.hello)?;
        let mut kept = Vec::new();
        while !stop() {
            if !line.is_pending() && !self.wait(&line, &mut kept)? {
                continue;
            }
            let Some(order) = line.read::<Order>()? else { return Ok(()) };
            if let Err(error) = self.obey(order, &mut line, &mut kept) {
                line.write(&Answer::Error(error.to_string()))?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits for the prober, and keeps what comes meanwhile. Whether there is something to read.
    fn wait(&mut self, line: &Line, kept: &mut Vec<Vec<u8>>) -> Result<bool, Error> {
        let stream = line.reader.get_ref().get_ref();
        let mut ready = [
            PollFd::new(stream.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.interface.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::from(BEAT.as_millis() as u16)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                return Err(Error::System { action: "wait for a prober", source: errno.into() });
            }
        }
        let is_ready = ready[0].any() == Some(true);
        kept.extend(self.interface.take(Duration::ZERO)?);
        let surplus = kept.len().saturating_sub(ROOM);
        kept.drain(..surplus);
        Ok(is_ready)
    }

    fn obey(
        &mut self,
        order: Order,
        line: &mut Line,
        kept: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        match order {
            Order::Send(digits) => {
                let frame =
                    bytes(&digits).ok_or_else(|| Error::Peer(format!("`{digits}` is no frame")))?;
                self.interface.send(&frame)
            }
            Order::Take(milliseconds) => {
                let limit = if kept.is_empty() { milliseconds } else { 0 };
                kept.extend(self.interface.take(Duration::from_millis(limit))?);
                let count = fitting(kept);
                let frames = kept.drain(..count).map(|frame| digits(&frame)).collect();
                line.write(&Answer::Frames(frames))
            }
        }
    }
}

/// How many of those frames one line has room for; the others are for the next.
fn fitting(frames: &[Vec<u8>]) -> usize {
    // Two digits a byte, two quotes and a comma; and what is around them all.
    let lengths = frames.iter().scan(32, |length, frame| {
        *length += 2 * frame.len() as u64 + 3;
        Some(*length)
    });
    lengths.take_while(|length| *length <= LONGEST_LINE).count()
}

/// A connection that carries JSON objects, one a line.
struct Line {
    reader: io::BufReader<io::Take<TcpStream>>,
    writer: TcpStream,
}

impl Line {
    fn new(stream: TcpStream) -> Result<Self, Error> {
        let failed = |source| Error::System { action: "set up the connection", source };
        stream.set_nonblocking(false).map_err(failed)?;
        // Orders are short, and each is waited for.
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let writer = stream.try_clone().map_err(failed)?;
        Ok(Self { reader: BufReader::new(stream.take(LONGEST_LINE)), writer })
    }

    /// Whether part of a line has been read already.
    fn is_pending(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    fn write(&mut self, said: &impl Serialize) -> Result<(), Error> {
        let mut text =
            serde_json::to_string(said).map_err(|error| Error::Peer(error.to_string()))?;
        text.push('\n');
        self.writer.write_all(text.as_bytes()).map_err(|error| Error::Peer(error.to_string()))
    }

    /// What the other side says next; nothing once it has hung up.
    fn read<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, Error> {
        self.reader.get_mut().set_limit(LONGEST_LINE);
        let mut text = String::new();
        self.reader.read_line(&mut text).map_err(|error| Error::Peer(error.to_string()))?;
        if text.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Error::Peer(format!("it says what is not understood: {error}")))
    }
}

/// The hosts of a peer.
pub struct Remote {
    line: Line,
}

impl Remote {
    /// Connects to a peer; its hosts, and which they are.
    ///
    /// # Errors
    ///
    /// [`Error::Peer`] if it is not there, or is none of this version.
    pub fn connect(address: SocketAddr) -> Result<(Self, InFront), Error> {
        let unreachable = |error| Error::Peer(format!("nobody is at {address}: {error}"));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
        let mut line = Line::new(stream)?;
        let hello: Hello = line.read()?.ok_or_else(|| hung_up("before it said who it is"))?;
        if hello.version != VERSION {
            return Err(Error::Peer(format!(
                "it speaks version {}, this is {VERSION}: use the same program on both machines",
                hello.version
            )));
        }
        let Hello { server, external, outside_mtu, .. } = hello;
        if external.is_empty() {
            return Err(Error::Peer("it knows no address of the NAT (--external)".to_owned()));
        }
        Ok((Self { line }, InFront { outside: None, server, external, outside_mtu }))
    }
}

fn hung_up(when: &str) -> Error {
    Error::Peer(format!("it hung up {when}"))
}

impl Wire for Remote {
    fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.line.write(&Order::Send(digits(frame)))
    }

    fn take(&mut self, limit: Duration) -> Result<Vec<Vec<u8>>, Error> {
        // So that it answers well within the time that is waited for it.
        let limit = limit.min(PATIENCE / 2).as_micros().div_ceil(1000) as u64;
        self.line.write(&Order::Take(limit))?;
        match self.line.read()?.ok_or_else(|| hung_up("amid the checks"))? {
            Answer::Frames(frames) => frames
                .iter()
                .map(|it| bytes(it).ok_or_else(|| Error::Peer(format!("`{it}` is no frame"))))
                .collect(),
            Answer::Error(why) => Err(Error::Peer(why)),
        }
    }
}

fn digits(frame: &[u8]) -> String {
    frame.iter().fold(String::with_capacity(frame.len() * 2), |mut digits, byte| {
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
