//! One end of the prober: hosts on a [`Wire`], and what came in for them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nf_core::packet::{Headers, IpHeaders};

use super::wire::Wire;
use crate::error::Error;

/// Frames that are kept for somebody to look at; the oldest go.
const ROOM: usize = 4096;

/// An IP packet that came in.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its frame.
    pub frame: Vec<u8>,
    /// Its headers.
    pub ip: IpHeaders,
}

impl Packet {
    /// The packet in a frame, if there is one.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ip = *Headers::parse(frame).ok()?.ip()?;
        Some(Self { frame: frame.to_owned(), ip })
    }

    /// The IP header and all that follows.
    pub fn bytes(&self) -> &[u8] {
        self.frame.get(self.ip.l3_offset..self.ip.end()).unwrap_or_default()
    }

    /// The transport header and what follows it.
    pub fn transport_bytes(&self) -> &[u8] {
        self.ip.transport_bytes(&self.frame)
    }
}

/// A few hosts.
pub struct End {
    wire: Box<dyn Wire>,
    seen: VecDeque<Packet>,
}

impl End {
    /// The hosts on a wire.
    pub fn new(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), seen: VecDeque::new() }
    }

    /// Sends a frame to the NAT. Its MAC addresses are filled in on the way.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.wire.send(frame)
    }

    /// Forgets what has come in so far.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn forget(&mut self) -> Result<(), Error> {
        while !self.wire.take(Duration::ZERO)?.is_empty() {}
        self.seen.clear();
        Ok(())
    }

    /// Lets time pass, and keeps what comes in meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn pass(&mut self, time: Duration) -> Result<(), Error> {
        let frames = self.wire.pass(time)?;
        self.keep(&frames);
        Ok(())
    }

    /// Waits until a packet comes in, or has, for which `wanted` has an answer. What came before it
    /// is forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn expect<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Packet) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let end = Instant::now() + limit;
        loop {
            while let Some(packet) = self.seen.pop_front() {
                if let Some(found) = wanted(&packet) {
                    return Ok(Some(found));
                }
            }
            let frames = self.wire.take(end.saturating_duration_since(Instant::now()))?;
            if frames.is_empty() {
                return Ok(None);
            }
            self.keep(&frames);
        }
    }

    fn keep(&mut self, frames: &[Vec<u8>]) {
        for packet in frames.iter().filter_map(|frame| Packet::parse(frame)) {
            if self.seen.len() == ROOM {
                self.seen.pop_front();
            }
            self.seen.push_back(packet);
        }
    }
}
