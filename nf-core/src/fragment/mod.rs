//! Datagrams under way in fragments: where the later fragments of each go, which have no ports to
//! find a flow by.
//!
//! The first fragment has the transport header. It is an ordinary packet, which finds or opens a
//! flow; what is known then is the *way* of its datagram, and the others follow it. Those that come
//! before the first wait (RFC 4787 REQ-14: "A NAT MUST support receiving in-order and out-of-order
//! fragments"). A datagram is forgotten once every byte of it has gone by, or some seconds after it
//! began.
//!
//! | file | idea |
//! | --- | --- |
//! | `parts` | which bytes of a datagram have come, and that none comes twice |
//! | `identification` | identifications of the gateway's own |
//!
//! Memory is bounded by [`Limits`], in all and for each port, so that a flood by one port leaves
//! room for others. Where there is none left, the oldest gives way: one that waits before one whose
//! way is known. So datagrams whose fragments come close together pass through a flood of those
//! whose first fragment never comes (REQ-14a: attacks with fragments must not keep the NAT from
//! processing those that come in order).

mod identification;
mod parts;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::fast_path::Direction;
use crate::id::{FlowId, PortId};
use crate::packet::Part;
use crate::time::Time;
use crate::tuple::{FlowKey, Tuple};
use crate::verdict::Drop;
use identification::Identifications;
use parts::{Added, Parts};

/// What a datagram's fragments have in common as they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramKey {
    /// The port they come in by: tenants may use the same addresses.
    pub port: PortId,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The protocol of IPv4 (RFC 791, section 3.2). `None` in IPv6, where the later fragments may
    /// name another header than the first (RFC 8200, section 4.5).
    pub protocol: Option<u8>,
    /// Identification; 16 bits of it in IPv4.
    pub identification: u32,
}

/// Where a datagram goes: the way of its first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The flow that the first fragment belonged to.
    pub flow: FlowId,
    /// Which way it went there.
    pub direction: Direction,
    /// What it was found by. The flow's number may be another's when the next fragment comes.
    pub key: FlowKey,
    /// The addresses it left with.
    pub rewrite: Tuple,
}

/// What is to be done with a fragment that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the first: find its way, and tell of it with [`Fragments::lead`] or
    /// [`Fragments::refuse`].
    First {
        /// What the datagram leaves with where its addresses are translated.
        identification: u32,
        /// The way that a first fragment of the same length has taken already.
        before: Option<Way>,
    },
    /// It goes the way of the first one.
    Follows {
        /// Which that is.
        way: Way,
        /// As for the first one.
        identification: u32,
    },
    /// It waits for the first one.
    Waits,
    /// It ends here.
    Dropped(Drop),
}

/// How much there may be of what is under way.
///
/// A datagram takes some 600 bytes, and up to 500 more if it comes in many fragments; a frame that
/// waits takes its own bytes and some 50.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Datagrams known of.
    pub datagrams: usize,
    /// The same of one port.
    pub datagrams_of_port: usize,
    /// Bytes of frames that wait.
    pub bytes: usize,
    /// The same of one port.
    pub bytes_of_port: usize,
}

impl Limits {
    /// What an engine has: some 15 MiB at the most, twice as much if all that waits is as small as
    /// can be. A port has a quarter of it.
    pub const DEFAULT: Self =
        Self { datagrams: 4096, datagrams_of_port: 1024, bytes: 8 << 20, bytes_of_port: 2 << 20 };
}

/// How long a datagram is known of. Hosts wait for up to a minute (RFC 8200, section 4.5) for what
/// was lost; what is only late comes within moments, and with 16 bits a busy sender uses an
/// identification again within seconds (RFC 4963).
pub const LIFETIME: Duration = Duration::from_secs(5);

/// Datagrams under way.
#[derive(Debug)]
pub struct Fragments {
    limits: Limits,
    datagrams: HashMap<DatagramKey, Datagram, ahash::RandomState>,
    /// By whether the way is known and then by age: the first is the one to give way.
    by_age: BTreeMap<(bool, u64), DatagramKey>,
    /// The same of each port.
    by_port: BTreeMap<(PortId, bool, u64), DatagramKey>,
    shares: HashMap<PortId, Share, ahash::RandomState>,
    bytes: usize,
    /// Datagrams that ever began: what age is told by.
    began: u64,
    identifications: Identifications,
    /// Why fragments that waited are lost, each once, until they are counted.
    lost: Vec<Drop>,
}

/// What a port has of the whole.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    datagrams: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Datagram {
    state: State,
    parts: Parts,
    /// Its place among all that ever began.
    number: u64,
    expires: Time,
    /// Of frames that wait.
    bytes: usize,
    identification: u32,
}

#[derive(Debug)]
enum State {
    /// The first fragment has not come; these frames wait, in the order they came.
    Waiting(Vec<Vec<u8>>),
    Known(Way),
    /// No part of it goes on, for this reason.
    Refused(Drop),
}

impl Datagram {
    fn is_known(&self) -> bool {
        matches!(self.state, State::Known(_))
    }
}

impl Fragments {
    /// None under way. `seed` decides the order of identifications.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 16, 17, 18);
        Self {
            limits,
            datagrams: HashMap::with_hasher(hasher.clone()),
            by_age: BTreeMap::new(),
            by_port: BTreeMap::new(),
            shares: HashMap::with_hasher(hasher),
            bytes: 0,
            began: 0,
            identifications: Identifications::new(seed),
            lost: Vec::new(),
        }
    }

    /// Datagrams known of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether none is known of.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Bytes of frames that wait for the first fragment of their datagram.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// A fragment has come. `frame` is kept if it has to wait.
    pub fn arrive(&mut self, now: Time, key: DatagramKey, part: Part, frame: &[u8]) -> Arrival {
        self.advance(now);
        if !self.datagrams.contains_key(&key) {
            self.begin(now, key);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Arrival::Dropped(Drop::FragmentTableFull);
        };
        if let State::Refused(reason) = datagram.state {
            return Arrival::Dropped(reason);
        }
        let identification = datagram.identification;
        let before = match datagram.state {
            State::Known(way) => Some(way),
            _ => None,
        };
        match datagram.parts.add(part) {
            Added::New => {}
            // The same again, or another datagram with the identification of one that was never
            // whole: the rest of that one can be told apart from what follows here no longer.
            Added::Again if part.start == 0 => datagram.parts.begin_anew(part),
            Added::Again if before.is_some() => {}
            Added::Again => return Arrival::Dropped(Drop::FragmentDuplicate),
            // RFC 5722 section 4: "the entire datagram (and any constituent fragments) MUST be
            // silently discarded". IPv4 hosts are no better off with what overlaps (RFC 1858).
            Added::Overlaps => return self.condemn(&key, Drop::FragmentOverlap),
            Added::TooMany => return self.condemn(&key, Drop::FragmentQueueFull),
        }
        if part.start == 0 {
            return Arrival::First { identification, before };
        }
        match before {
            Some(way) => {
                self.forget_if_complete(&key);
                Arrival::Follows { way, identification }
            }
            None => self.wait(&key, frame),
        }
    }

    /// The first fragment of a datagram goes this way: so do the others. Returns the frames that
    /// have waited for it, in the order they came.
    pub fn lead(&mut self, key: &DatagramKey, way: Way) -> Vec<Vec<u8>> {
        let waited = match self.set_state(key, State::Known(way)) {
            Some(State::Waiting(frames)) => frames,
            _ => Vec::new(),
        };
        self.forget_if_complete(key);
        waited
    }

    /// No part of a datagram goes on any more, for this reason. What waits is lost.
    pub fn refuse(&mut self, key: &DatagramKey, reason: Drop) {
        if let Some(State::Waiting(frames)) = self.set_state(key, State::Refused(reason)) {
            self.lost.extend(frames.iter().map(|_| reason));
        }
        if let Some(datagram) = self.datagrams.get_mut(key) {
            datagram.parts = Parts::default();
        }
    }

    /// Forgets every datagram that came in by a port. What waits is lost.
    pub fn forget_port(&mut self, port: PortId) {
        let of_port = self.by_port.range((port, false, 0)..=(port, true, u64::MAX));
        let keys: Vec<_> = of_port.map(|(_, key)| *key).collect();
        for key in keys {
            self.forget(&key, Drop::PortGone);
        }
    }

    /// Forgets what has been under way for too long. What waits is lost.
    pub fn advance(&mut self, now: Time) {
        while let Some((expires, key)) = self.oldest()
            && expires <= now
        {
            self.forget(&key, Drop::FragmentTimeout);
        }
    }

    /// When [`Self::advance`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.oldest().map(|(expires, _)| expires)
    }

    /// An identification of the gateway's own, 16 bits of IPv4, that no datagram under way has.
    pub fn take_identification(&mut self) -> u32 {
        self.identifications.take(true)
    }

    /// Why fragments that waited were lost since the last call, each once.
    pub fn take_lost(&mut self) -> Vec<Drop> {
        std::mem::take(&mut self.lost)
    }

    /// Whichever began first of those whose way is known and of the others.
    fn oldest(&self) -> Option<(Time, DatagramKey)> {
        let of_kind = |known: bool| {
            let (_, key) = self.by_age.range((known, 0)..=(known, u64::MAX)).next()?;
            Some((self.datagrams.get(key)?.expires, *key))
        };
        match (of_kind(false), of_kind(true)) {
            (Some(waits), Some(known)) => Some(if waits.0 <= known.0 { waits } else { known }),
            (waits, known) => waits.or(known),
        }
    }

    fn begin(&mut self, now: Time, key: DatagramKey) {
        let gives_way = if self.share(key.port).datagrams >= self.limits.datagrams_of_port {
            let of_port = (key.port, false, 0)..=(key.port, true, u64::MAX);
            self.by_port.range(of_port).next().map(|(_, oldest)| *oldest)
        } else if self.datagrams.len() >= self.limits.datagrams {
            self.by_age.first_key_value().map(|(_, oldest)| *oldest)
        } else {
            None
        };
        if let Some(oldest) = gives_way {
            self.forget(&oldest, Drop::FragmentTableFull);
        }
        self.began += 1;
        let datagram = Datagram {
            state: State::Waiting(Vec::new()),
            parts: Parts::default(),
            number: self.began,
            expires: now + LIFETIME,
            bytes: 0,
            identification: self.identifications.hold(key.src.is_ipv4()),
        };
        self.by_age.insert((false, datagram.number), key);
        self.by_port.insert((key.port, false, datagram.number), key);
        self.shares.entry(key.port).or_default().datagrams += 1;
        self.datagrams.insert(key, datagram);
    }

    /// Keeps a frame of a datagram whose way is not known.
    fn wait(&mut self, key: &DatagramKey, frame: &[u8]) -> Arrival {
        let (bytes, of_port) = (self.limits.bytes, self.limits.bytes_of_port);
        while self.share(key.port).bytes + frame.len() > of_port {
            let waiting = (key.port, false, 0)..(key.port, true, 0);
            let oldest = self.by_port.range(waiting).next().map(|(_, oldest)| *oldest);
            if oldest.is_none_or(|oldest| !self.gives_way(&oldest, key)) {
                return self.condemn(key, Drop::FragmentQueueFull);
            }
        }
        while self.bytes + frame.len() > bytes {
            let oldest = self.by_age.range((false, 0)..(true, 0)).next().map(|(_, oldest)| *oldest);
            if oldest.is_none_or(|oldest| !self.gives_way(&oldest, key)) {
                return self.condemn(key, Drop::FragmentQueueFull);
            }
        }
        let Some(datagram) = self.datagrams.get_mut(key) else {
            return Arrival::Dropped(Drop::FragmentQueueFull);
        };
        if let State::Waiting(frames) = &mut datagram.state {
            frames.push(frame.to_vec());
        }
        datagram.bytes += frame.len();
        self.bytes += frame.len();
        self.shares.entry(key.port).or_default().bytes += frame.len();
        Arrival::Waits
    }

    /// Forgets `oldest` in favour of `newer`, if they are not the same.
    fn gives_way(&mut self, oldest: &DatagramKey, newer: &DatagramKey) -> bool {
        if oldest != newer {
            self.forget(oldest, Drop::FragmentQueueFull);
        }
        oldest != newer
    }

    fn condemn(&mut self, key: &DatagramKey, reason: Drop) -> Arrival {
        self.refuse(key, reason);
        Arrival::Dropped(reason)
    }

    /// Sets a datagram's state; the one it had. What waited is no longer counted.
    fn set_state(&mut self, key: &DatagramKey, state: State) -> Option<State> {
        let datagram = self.datagrams.get_mut(key)?;
        let (was_known, number) = (datagram.is_known(), datagram.number);
        let before = std::mem::replace(&mut datagram.state, state);
        let is_known = datagram.is_known();
        let bytes = std::mem::take(&mut datagram.bytes);
        if was_known != is_known {
            self.by_age.remove(&(was_known, number));
            self.by_age.insert((is_known, number), *key);
            self.by_port.remove(&(key.port, was_known, number));
            self.by_port.insert((key.port, is_known, number), *key);
        }
        self.bytes -= bytes;
        if let Some(share) = self.shares.get_mut(&key.port) {
            share.bytes -= bytes;
        }
        Some(before)
    }

    fn forget_if_complete(&mut self, key: &DatagramKey) {
        if self.datagrams.get(key).is_some_and(|datagram| datagram.parts.are_complete()) {
            self.forget(key, Drop::FragmentTimeout);
        }
    }

    /// Forgets a datagram. What waits of it is lost, for this reason.
    fn forget(&mut self, key: &DatagramKey, reason: Drop) {
        self.refuse(key, reason);
        let Some(datagram) = self.datagrams.remove(key) else { return };
        self.by_age.remove(&(false, datagram.number));
        self.by_port.remove(&(key.port, false, datagram.number));
        self.identifications.release(key.src.is_ipv4(), datagram.identification);
        if let Some(share) = self.shares.get_mut(&key.port) {
            share.datagrams -= 1;
            if share.datagrams == 0 {
                self.shares.remove(&key.port);
            }
        }
    }

    fn share(&self, port: PortId) -> Share {
        self.shares.get(&port).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
