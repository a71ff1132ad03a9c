//! A thread of TCP streams: as many bytes as the connections take or bring.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use halfspace_testbed::Interrupt;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::tally::Tally;
use crate::error::Error;
use crate::sockets::blocks::{BlockBuffer, BlockChecker};
use crate::sockets::failures::Failure;
use crate::sockets::message::Message;
use crate::sockets::origin::Origin;
use crate::sockets::payload::{Direction, Payload};
use crate::sockets::protocol::{ANSWER_HEAD, Answer, Kind, Request, Status};
use crate::sockets::sources::Sources;
use crate::sockets::threads;
use crate::sockets::timing::{Clock, Timing, nanoseconds};
use crate::sockets::{TcpInfo, tcp_info};

/// Bytes that one read may take.
const SCRATCH: usize = 256 * 1024;

/// Reads or writes of a connection before others get their turn.
const STEPS: usize = 8;

/// How often the time and the interrupt are looked at, at least.
const BEAT: Duration = Duration::from_millis(10);

/// A client thread.
#[derive(Debug)]
pub struct TcpWorker<'a> {
    timing: Timing,
    interrupt: &'a Interrupt,
    progress: &'a AtomicU64,
    poll: Poll,
    clock: Clock,
    streams: Vec<Stream>,
    /// Streams that could go on without an event.
    ready: VecDeque<usize>,
    blocks: BlockBuffer,
    scratch: Vec<u8>,
    failures: crate::sockets::failures::Failures,
    sources: Sources,
}

#[derive(Debug)]
struct Stream {
    socket: Option<TcpStream>,
    kind: Kind,
    id: u64,
    phase: Phase,
    /// Bytes that went out, or came in.
    moved: u64,
    checker: BlockChecker,
    /// At the beginning and at the end of the measured time.
    at: [Reading; 2],
    blocks: u64,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    bytes: u64,
    retransmitted: u64,
}

#[derive(Debug)]
enum Phase {
    /// The request is to go out, once there is a connection.
    Asking(Message),
    /// The answer is to come, so much is here; then a source's stream follows.
    Answer {
        head: [u8; ANSWER_HEAD],
        got: usize,
    },
    Sending,
    Receiving,
    /// Ended in order, or failed.
    Over,
}

impl<'a> TcpWorker<'a> {
    /// A thread with `up` streams to the server and `down` streams from it.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn new(
        timing: Timing,
        mut origin: Origin,
        (up, down): (u64, u64),
        sources: Sources,
        interrupt: &'a Interrupt,
        progress: &'a AtomicU64,
    ) -> io::Result<Self> {
        let mut this = Self {
            timing,
            interrupt,
            progress,
            poll: Poll::new()?,
            clock: Clock::start(),
            streams: Vec::new(),
            ready: VecDeque::new(),
            blocks: BlockBuffer::default(),
            scratch: vec![0; SCRATCH],
            failures: crate::sockets::failures::Failures::default(),
            sources,
        };
        let kinds = (0..up).map(|_| Kind::Sink).chain((0..down).map(|_| Kind::Source));
        for kind in kinds {
            this.start(&mut origin, kind);
        }
        Ok(this)
    }

    fn start(&mut self, origin: &mut Origin, kind: Kind) {
        let index = self.streams.len();
        let id = RandomState::new().hash_one(index);
        let request = Request { kind, id, sequence: 0, length: 0, wanted: 0 };
        let nothing = Payload::new(id, 0, Direction::Request);
        let opened = origin.connect_tcp().and_then(|mut socket| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(index), both)?;
            Ok(socket)
        });
        let socket = opened.inspect_err(|error| self.failures.add_error(error)).ok();
        let asking = Phase::Asking(Message::new(&request.encode(), nothing, 0));
        self.streams.push(Stream {
            phase: if socket.is_some() { asking } else { Phase::Over },
            socket,
            kind,
            id,
            moved: 0,
            checker: BlockChecker::new(id),
            at: [Reading::default(); 2],
            blocks: 0,
        });
    }

    /// Goes on until a time, a condition, or the interrupt.
    fn run(&mut self, until: u64, done: impl Fn(&Stream) -> bool) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.clock.now();
            if now >= until || self.interrupt.is_raised() || self.streams.iter().all(&done) {
                return Ok(());
            }
            let left = Duration::from_nanos(until - now);
            let wait = if self.ready.is_empty() { BEAT.min(left) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(source) if source.kind() != ErrorKind::Interrupted => {
                    return Err(Error::System { action: "wait for events", source });
                }
                _ => {}
            }
            for event in &events {
                self.turn(event.token().0);
            }
            // Those only that were ready before this round: new ones wait for the next.
            for _ in 0..self.ready.len() {
                if let Some(index) = self.ready.pop_front() {
                    self.turn(index);
                }
            }
            let moved = self.streams.iter().map(|stream| stream.moved).sum();
            self.progress.store(moved, Ordering::Relaxed);
        }
    }

    fn turn(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        for _ in 0..STEPS {
            match stream.step(&mut self.blocks, &mut self.scratch, &mut self.sources) {
                Ok(true) => {}
                Ok(false) => return,
                Err(broken) => {
                    match broken {
                        Broken::Wrong(failure) => self.failures.add(failure),
                        Broken::Kernel(error) => self.failures.add_error(&error),
                    }
                    stream.phase = Phase::Over;
                    stream.socket = None;
                    return;
                }
            }
        }
        self.ready.push_back(index);
    }

    fn read_all(&mut self, which: usize) {
        for stream in &mut self.streams {
            stream.at[which] = stream.reading();
        }
    }
}

impl threads::Worker for TcpWorker<'_> {
    type Tally = Tally;

    /// Connects, and asks for the streams.
    fn open(&mut self) -> Result<(), Error> {
        let limit = self.clock.now() + nanoseconds(self.timing.timeout);
        self.run(limit, |stream| !matches!(stream.phase, Phase::Asking(_)))?;
        for stream in &mut self.streams {
            if matches!(stream.phase, Phase::Asking(_)) && !self.interrupt.is_raised() {
                self.failures.add(Failure::TimedOut);
                stream.phase = Phase::Over;
            }
        }
        Ok(())
    }

    fn measure(mut self) -> Result<Tally, Error> {
        let over = |stream: &Stream| matches!(stream.phase, Phase::Over);
        let from = self.clock.now() + nanoseconds(self.timing.warm_up);
        let to = from + nanoseconds(self.timing.duration);
        self.run(from, over)?;
        self.read_all(0);
        self.run(to, over)?;
        self.read_all(1);
        // Now the server is to say what it got.
        for stream in &mut self.streams {
            stream.finish();
        }
        self.run(to + nanoseconds(self.timing.timeout), over)?;

        let mut tally =
            Tally { failures: self.failures, sources: self.sources, ..Tally::default() };
        for stream in &self.streams {
            if !over(stream) && !self.interrupt.is_raised() {
                tally.failures.add(Failure::TimedOut);
            }
            let [from, to] = stream.at;
            let bytes = to.bytes.saturating_sub(from.bytes);
            match stream.kind {
                Kind::Source => tally.bytes_down += bytes,
                _ => tally.bytes_up += bytes,
            }
            tally.blocks += stream.blocks.max(stream.checker.blocks());
            tally.retransmitted += to.retransmitted.saturating_sub(from.retransmitted);
        }
        Ok(tally)
    }
}

/// Why a stream is over before its time.
enum Broken {
    Wrong(Failure),
    Kernel(io::Error),
}

impl Stream {
    /// Goes one step on; whether another may follow without an event.
    fn step(
        &mut self,
        blocks: &mut BlockBuffer,
        scratch: &mut [u8],
        sources: &mut Sources,
    ) -> Result<bool, Broken> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        let outcome = match &mut self.phase {
            Phase::Over => return Ok(false),
            Phase::Asking(message) => message.send(&*socket, scratch).map(usize::from),
            Phase::Sending => socket.write(blocks.from(self.id, self.moved)),
            Phase::Answer { head, got } => socket.read(&mut head[*got..]),
            Phase::Receiving => socket.read(scratch),
        };
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(Broken::Kernel(error)),
        };
        match &mut self.phase {
            Phase::Asking(_) if bytes == 0 => return Ok(false),
            Phase::Asking(_) if self.kind == Kind::Sink => self.phase = Phase::Sending,
            Phase::Asking(_) => self.phase = Phase::Answer { head: [0; ANSWER_HEAD], got: 0 },
            Phase::Sending => self.moved += bytes as u64,
            _ if bytes == 0 => return Err(Broken::Wrong(Failure::Closed)),
            Phase::Answer { head, got } => {
                *got += bytes;
                if *got == ANSWER_HEAD {
                    let head = *head;
                    self.answered(&head, sources).map_err(Broken::Wrong)?;
                }
            }
            Phase::Receiving => {
                if !self.checker.check(&scratch[..bytes]) {
                    return Err(Broken::Wrong(Failure::WrongContent));
                }
                self.moved += bytes as u64;
            }
            Phase::Over => {}
        }
        Ok(true)
    }

    /// The server's answer is here: before its stream, or after ours.
    fn answered(&mut self, head: &[u8; ANSWER_HEAD], sources: &mut Sources) -> Result<(), Failure> {
        let answer = Answer::decode(head).ok_or(Failure::WrongContent)?;
        // All that the kernel took of us must have arrived.
        let expected = (self.id, Status::Fine, self.moved);
        if (answer.id, answer.status, answer.length) != expected {
            return Err(Failure::WrongContent);
        }
        if !sources.see(answer.client.ip()) {
            return Err(Failure::WrongSource);
        }
        if self.kind == Kind::Source {
            self.phase = Phase::Receiving;
        } else {
            self.blocks = answer.sequence;
            self.phase = Phase::Over;
        }
        Ok(())
    }

    /// The time is up: a stream to the server is closed and asked about, one from it is left.
    fn finish(&mut self) {
        match (&self.phase, &self.socket) {
            (Phase::Sending, Some(socket)) => {
                // It has ended already, if this fails, and then the answer does not come either.
                let _ = socket.shutdown(Shutdown::Write);
                self.phase = Phase::Answer { head: [0; ANSWER_HEAD], got: 0 };
            }
            (Phase::Receiving, _) => {
                self.phase = Phase::Over;
                self.socket = None;
            }
            _ => {}
        }
    }

    /// What has arrived at its end so far, by what the kernel knows.
    fn reading(&self) -> Reading {
        let info = self.socket.as_ref().and_then(tcp_info);
        let TcpInfo { retransmitted, acknowledged } = info.unwrap_or_default();
        match self.kind {
            Kind::Source => Reading { bytes: self.moved, retransmitted: 0 },
            // What the socket has taken may still lie in its buffer.
            _ => Reading { bytes: acknowledged, retransmitted: retransmitted.into() },
        }
    }
}
