//! A server thread: its sockets, its connections, and whose turn it is.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::{Connection, Shared, Turn};
use super::datagrams::Flows;
use super::{Counts, Limits};
use crate::error::Error;
use crate::sockets::blocks::BlockBuffer;
use crate::sockets::timing::{Clock, nanoseconds};

/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 65_535;

/// Bytes that one read may take.
const SCRATCH: usize = 256 * 1024;

/// Bytes of datagrams that may wait while the thread does something else.
const DATAGRAM_BUFFER: usize = 8 << 20;

/// A server thread's sockets and state.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    listeners: Vec<TcpListener>,
    sockets: Vec<UdpSocket>,
    connections: Slab<Connection>,
    flows: Flows,
    shared: Shared,
    limits: Limits,
    clock: Clock,
    /// Tokens that could go on without an event.
    ready: VecDeque<Token>,
    next_sweep: u64,
}

impl EventLoop {
    /// Opens the sockets; also the addresses with the ports that they got.
    pub fn open(addresses: &[SocketAddr], limits: Limits) -> io::Result<(Self, Vec<SocketAddr>)> {
        let poll = Poll::new()?;
        let (mut listeners, mut sockets, mut bound) = (Vec::new(), Vec::new(), Vec::new());
        for address in addresses {
            let socket = open(*address, Type::STREAM, Protocol::TCP)?;
            socket.listen(BACKLOG)?;
            let mut listener = TcpListener::from_std(socket.into());
            let address = listener.local_addr()?;
            let datagrams = open(address, Type::DGRAM, Protocol::UDP)?;
            // Beyond net.core.rmem_max, if we may; else as much as that allows.
            setsockopt(&datagrams, RcvBufForce, &DATAGRAM_BUFFER)
                .or_else(|_| setsockopt(&datagrams, RcvBuf, &DATAGRAM_BUFFER))?;
            let mut datagrams = UdpSocket::from_std(datagrams.into());
            // Even tokens accept, odd ones receive; connections come behind them all.
            let token = 2 * listeners.len();
            poll.registry().register(&mut listener, Token(token), Interest::READABLE)?;
            poll.registry().register(&mut datagrams, Token(token + 1), Interest::READABLE)?;
            listeners.push(listener);
            sockets.push(datagrams);
            bound.push(address);
        }
        let this = Self {
            poll,
            listeners,
            sockets,
            connections: Slab::new(),
            flows: Flows::new(limits.most),
            shared: Shared {
                scratch: vec![0; SCRATCH],
                blocks: BlockBuffer::default(),
                counts: Counts::default(),
            },
            limits,
            clock: Clock::start(),
            ready: VecDeque::new(),
            next_sweep: 0,
        };
        Ok((this, bound))
    }

    /// Serves until `stop`, which is looked at every `beat`.
    pub fn run(mut self, stop: &AtomicBool, beat: Duration) -> Result<Counts, Error> {
        let mut events = Events::with_capacity(1024);
        while !stop.load(Ordering::Relaxed) {
            let wait = if self.ready.is_empty() { beat } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::System { action: "wait for events", source: error });
                }
                _ => {}
            }
            let now = self.clock.now();
            for event in &events {
                self.turn(event.token(), event.is_read_closed(), now);
            }
            // Those only that were ready before this round: new ones wait for the next.
            for _ in 0..self.ready.len() {
                if let Some(token) = self.ready.pop_front() {
                    self.turn(token, true, now);
                }
            }
            self.sweep(now);
        }
        Ok(self.shared.counts)
    }

    fn turn(&mut self, token: Token, closing: bool, now: u64) {
        let first_connection = 2 * self.listeners.len();
        let turn = if let Some(key) = token.0.checked_sub(first_connection) {
            let Some(connection) = self.connections.get_mut(key) else { return };
            connection.last = now;
            let turn = connection.turn(closing, &mut self.shared);
            if turn == Turn::Ended {
                // Closing the descriptor takes it out of the poll.
                self.connections.remove(key);
            }
            turn
        } else if token.0.is_multiple_of(2) {
            self.accept(token.0 / 2, now)
        } else {
            self.flows.turn(&self.sockets[token.0 / 2], &mut self.shared.counts)
        };
        if turn == Turn::More {
            self.ready.push_back(token);
        }
    }

    /// Accepts all that wait.
    fn accept(&mut self, listener: usize, now: u64) -> Turn {
        loop {
            let (stream, client) = match self.listeners[listener].accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Waiting,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // No descriptor is free: one will be when a connection ends, and no event says so.
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(1));
                    return Turn::More;
                }
            };
            if self.connections.len() >= self.limits.most {
                self.shared.counts.connections_turned_away += 1;
                continue;
            }
            self.shared.counts.connections += 1;
            let entry = self.connections.vacant_entry();
            let token = Token(2 * self.listeners.len() + entry.key());
            let connection = entry.insert(Connection::new(stream, client, now));
            let both = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(connection.stream(), token, both).is_err() {
                self.connections.remove(token.0 - 2 * self.listeners.len());
                self.shared.counts.connections_turned_away += 1;
            }
        }
    }

    /// Closes connections on which nothing happened for too long.
    fn sweep(&mut self, now: u64) {
        if now < self.next_sweep {
            return;
        }
        let idle = nanoseconds(self.limits.idle);
        self.next_sweep = now + (idle / 8).clamp(10_000_000, 1_000_000_000);
        let counts = &mut self.shared.counts;
        self.connections.retain(|_, connection| {
            let keep = now.saturating_sub(connection.last) < idle;
            counts.connections_idle += u64::from(!keep);
            keep
        });
    }
}

/// A socket that shares its port with those of the other threads; the kernel spreads the clients.
fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
        // Inherited by what is accepted: answers longer than a segment must not wait for an
        // acknowledgement.
        socket.set_tcp_nodelay(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
