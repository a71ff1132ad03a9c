//! A place for a connection: what it is about, and since when.

use mio::net::TcpStream;

/// The measured time, in nanoseconds of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first that counts.
    pub from: u64,
    /// The first that does not count any more.
    pub to: u64,
}

/// A place for a connection.
#[derive(Debug, Default)]
pub struct Slot<E> {
    /// The connection, if there is one.
    pub stream: Option<TcpStream>,
    /// What it is about.
    pub phase: Phase,
    /// The number of the connection.
    pub id: u64,
    /// The number of the next request on it.
    pub sequence: u64,
    /// The request and its response.
    pub exchange: E,
    /// When the operation, or the opening of a kept connection, was due.
    pub due: u64,
    /// When it was started: what its time-out counts from.
    pub started: u64,
    /// When the connection was established.
    pub connected: u64,
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No connection.
    #[default]
    Down,
    /// A connection for one operation is on its way.
    Connecting,
    /// A connection that is to be kept is on its way.
    Opening,
    /// A kept connection without an operation.
    Ready,
    /// The request goes out.
    Sending,
    /// The response is awaited.
    Receiving,
}

impl Window {
    /// Whether a time counts.
    pub fn holds(self, time: u64) -> bool {
        (self.from..self.to).contains(&time)
    }
}

impl Phase {
    /// Whether something is awaited from the server.
    pub fn is_busy(self) -> bool {
        !matches!(self, Self::Down | Self::Ready)
    }
}
