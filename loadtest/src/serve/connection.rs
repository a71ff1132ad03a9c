//! One TCP connection of a server: requests in, answers out, as far as the socket goes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::Counts;
use crate::sockets::blocks::{BlockBuffer, BlockChecker};
use crate::sockets::message::Message;
use crate::sockets::payload::{Direction, Payload};
use crate::sockets::protocol::{Answer, Kind, REQUEST_HEAD, Request, Status};
use crate::sockets::tcp_info;

/// Most content of one request or answer: a mistaken head must not tie up a connection for ever.
const MOST_CONTENT: u64 = 1 << 30;

/// Steps that a connection may take before others get their turn.
const STEPS: usize = 16;

/// What a thread's connections share.
#[derive(Debug)]
pub struct Shared {
    /// Where reads end up and answers are made.
    pub scratch: Vec<u8>,
    /// Where streams are sent from.
    pub blocks: BlockBuffer,
    /// What is counted.
    pub counts: Counts,
}

/// Where a connection stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It waits for its socket.
    Waiting,
    /// It could go on, but it is others' turn.
    More,
    /// It is over.
    Ended,
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    client: SocketAddr,
    phase: Phase,
    /// The loop's clock when something last happened.
    pub last: u64,
}

#[derive(Debug)]
enum Phase {
    Head { bytes: [u8; REQUEST_HEAD], got: usize },
    Content { request: Request, received: u64, fine: bool },
    Answer { message: Message, then: Then },
    Sink { request: Request, checker: BlockChecker, fine: bool, received: u64 },
    Source { id: u64, position: u64 },
}

/// What follows an answer.
#[derive(Clone, Copy, Debug)]
enum Then {
    NextRequest,
    Stream { id: u64 },
    End,
}

/// Why a connection is over that did not end in order.
enum Broken {
    ByClient,
    Protocol,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::ByClient
    }
}

const NEXT: Phase = Phase::Head { bytes: [0; REQUEST_HEAD], got: 0 };

impl Connection {
    /// A connection just accepted.
    pub fn new(stream: TcpStream, client: SocketAddr, now: u64) -> Self {
        Self { stream, client, phase: NEXT, last: now }
    }

    /// For registering with a poll.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Goes on as far as the socket allows. `closing` says that the client has closed its side, or
    /// that it may have: reading goes on until it shows.
    pub fn turn(&mut self, closing: bool, shared: &mut Shared) -> Turn {
        match self.steps(closing, shared) {
            Ok(Turn::Ended) => self.end(shared),
            Ok(turn) => turn,
            Err(Broken::ByClient) => {
                // A stream from us is ended by the client, mostly with bytes on their way.
                if !matches!(self.phase, Phase::Source { .. }) {
                    shared.counts.connections_reset += 1;
                }
                self.end(shared)
            }
            Err(Broken::Protocol) => {
                shared.counts.protocol_errors += 1;
                self.end(shared)
            }
        }
    }

    fn end(&self, shared: &mut Shared) -> Turn {
        if matches!(self.phase, Phase::Source { .. }) {
            let retransmitted = tcp_info(&self.stream).map_or(0, |info| info.retransmitted);
            shared.counts.segments_retransmitted += u64::from(retransmitted);
        }
        Turn::Ended
    }

    fn steps(&mut self, closing: bool, shared: &mut Shared) -> Result<Turn, Broken> {
        // A read that leaves room has emptied the socket, and what comes later is a new event:
        // epoll(7), question 9.
        let mut emptied = false;
        for _ in 0..STEPS {
            match &mut self.phase {
                Phase::Answer { message, then } => {
                    if !message.send(&self.stream, &mut shared.scratch)? {
                        return Ok(Turn::Waiting);
                    }
                    self.phase = match *then {
                        Then::NextRequest => NEXT,
                        Then::Stream { id } => Phase::Source { id, position: 0 },
                        Then::End => return Ok(Turn::Ended),
                    };
                    shared.counts.requests += 1;
                }
                Phase::Source { id, position } => {
                    match (&self.stream).write(shared.blocks.from(*id, *position)) {
                        Ok(taken) => {
                            *position += taken as u64;
                            shared.counts.stream_bytes_sent += taken as u64;
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            return Ok(Turn::Waiting);
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Phase::Head { .. } | Phase::Content { .. } | Phase::Sink { .. } => {
                    if emptied {
                        return Ok(Turn::Waiting);
                    }
                    let read = match (&self.stream).read(&mut shared.scratch) {
                        Ok(read) => read,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            return Ok(Turn::Waiting);
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => return Err(error.into()),
                    };
                    shared.counts.bytes_received += read as u64;
                    if read == 0 {
                        if self.client_closed(&mut shared.counts)? == Turn::Ended {
                            return Ok(Turn::Ended);
                        }
                    } else {
                        emptied = read < shared.scratch.len() && !closing;
                        self.take(&shared.scratch[..read], &mut shared.counts)?;
                    }
                }
            }
        }
        Ok(Turn::More)
    }

    /// The client will send no more.
    fn client_closed(&mut self, counts: &mut Counts) -> Result<Turn, Broken> {
        match &self.phase {
            Phase::Head { got: 0, .. } => Ok(Turn::Ended),
            Phase::Sink { request, checker, fine, received } => {
                if !fine {
                    counts.corrupt += 1;
                }
                let (blocks, received) = (checker.blocks(), *received);
                let answer = self.answer(request, *fine, blocks, received);
                let empty = Payload::new(request.id, 0, Direction::Response);
                let message = Message::new(&answer.encode(), empty, 0);
                self.phase = Phase::Answer { message, then: Then::End };
                Ok(Turn::More)
            }
            _ => Err(Broken::Protocol),
        }
    }

    fn take(&mut self, mut bytes: &[u8], counts: &mut Counts) -> Result<(), Broken> {
        if let Phase::Head { bytes: head, got } = &mut self.phase {
            let missing = bytes.len().min(REQUEST_HEAD - *got);
            head[*got..*got + missing].copy_from_slice(&bytes[..missing]);
            *got += missing;
            bytes = &bytes[missing..];
            if *got < REQUEST_HEAD {
                return Ok(());
            }
            let request = Request::decode(head).ok_or(Broken::Protocol)?;
            if request.length.max(request.wanted) > MOST_CONTENT {
                return Err(Broken::Protocol);
            }
            self.phase = match request.kind {
                Kind::Exchange => Phase::Content { request, received: 0, fine: true },
                Kind::Sink => Phase::Sink {
                    request,
                    checker: BlockChecker::new(request.id),
                    fine: true,
                    received: 0,
                },
                Kind::Source => {
                    let answer = self.answer(&request, true, 0, 0).encode();
                    let empty = Payload::new(request.id, 0, Direction::Response);
                    let message = Message::new(&answer, empty, 0);
                    Phase::Answer { message, then: Then::Stream { id: request.id } }
                }
            };
        }
        match &mut self.phase {
            Phase::Content { request, received, fine } => {
                let payload = Payload::new(request.id, request.sequence, Direction::Request);
                // More than announced would be a second request before the first is answered.
                if bytes.len() as u64 > request.length - *received {
                    return Err(Broken::Protocol);
                }
                *fine = *fine && payload.matches(*received, bytes);
                *received += bytes.len() as u64;
                if *received == request.length {
                    let (request, fine) = (*request, *fine);
                    if !fine {
                        counts.corrupt += 1;
                    }
                    let answer = self.answer(&request, fine, request.sequence, request.wanted);
                    let payload = Payload::new(request.id, request.sequence, Direction::Response);
                    let message = Message::new(&answer.encode(), payload, request.wanted);
                    self.phase = Phase::Answer { message, then: Then::NextRequest };
                }
            }
            Phase::Sink { checker, fine, received, .. } => {
                // Once it is broken there is nothing more to learn, only to count.
                *fine = *fine && checker.check(bytes);
                *received += bytes.len() as u64;
            }
            _ if bytes.is_empty() => {}
            _ => return Err(Broken::Protocol),
        }
        Ok(())
    }

    fn answer(&self, request: &Request, fine: bool, sequence: u64, length: u64) -> Answer {
        let status = if fine { Status::Fine } else { Status::Corrupt };
        Answer { status, client: self.client, id: request.id, sequence, length }
    }
}
