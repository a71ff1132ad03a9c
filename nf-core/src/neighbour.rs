//! Next hops and their MAC addresses, for ARP and NDP alike: who is asked, who waits, and which
//! adjacency slot belongs to whom.
//!
//! A next hop is solicited three times, a second apart (RFC 4861 10: `MAX_MULTICAST_SOLICIT` 3,
//! `RETRANS_TIMER` 1 s), while a bounded number of frames waits for it. One that flows use is
//! asked again every 30 s (`REACHABLE_TIME`); if it no longer answers, its slot is emptied and the
//! fast path hands its packets back. A message creates no entry: only a packet that needs the next
//! hop does, so nobody fills the table from outside.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::id::{AdjacencyId, PortId};
use crate::packet::MacAddr;
use crate::time::Time;

/// Solicitations before a next hop counts as unreachable.
const SOLICITATIONS: u8 = 3;
/// Time between them.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// How long an answer is trusted.
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a vacated slot is left alone while there are others.
const REST: Duration = Duration::from_secs(10);
/// Frames that wait for one next hop; the oldest gives way.
pub const QUEUE_LEN: usize = 16;

/// The next hop of a packet on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// An address on the link, whose MAC address is asked for.
    Ip(IpAddr),
    /// A MAC address that is known: an ENI's, an environment's.
    Mac(MacAddr),
}

/// A question to put on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// The port to ask on.
    pub port: PortId,
    /// The address whose MAC address is wanted.
    pub target: IpAddr,
    /// Where to ask: the MAC address last known, or everybody.
    pub known: Option<MacAddr>,
}

/// A frame that waits for its next hop: rewritten but for its destination MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The frame.
    pub frame: Vec<u8>,
    /// Payload bytes a segment, if it is a super-packet, else 0.
    pub segment_size: u16,
}

/// What became of a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It answered, with this MAC address; these frames waited for it.
    Resolved {
        /// Its slot.
        slot: AdjacencyId,
        /// The port it is on.
        port: PortId,
        /// Its MAC address.
        mac: MacAddr,
        /// What waited, oldest first.
        waiting: Vec<Waiting>,
    },
    /// It did not answer; these frames are lost.
    Failed {
        /// Its slot, which is empty now.
        slot: AdjacencyId,
        /// How many frames waited.
        waiting: usize,
    },
}

#[derive(Debug)]
enum State {
    /// Asked `tries` times, never answered.
    Incomplete { tries: u8, queue: Vec<Waiting> },
    /// Known. `probes` counts the questions since the last answer.
    Reachable { mac: MacAddr, probes: u8 },
    /// Known for good.
    Fixed { mac: MacAddr },
    /// Asked in vain, the last time at `since`; the next packet may ask again.
    Failed { since: Time },
}

#[derive(Debug)]
struct Entry {
    port: PortId,
    hop: NextHop,
    state: State,
    /// Flows that leave by this slot.
    users: u32,
    /// When the state is looked at again.
    due: Time,
    /// The slot's one timer in the heap that counts; it may be for a moment before `due`, never
    /// after. So a host that tells of itself a million times a second does not fill the heap.
    timer: Option<Time>,
}

/// The table of next hops. Slots are those of [`crate::adjacency`].
#[derive(Debug)]
pub struct Neighbours {
    slots: Vec<Option<Entry>>,
    vacant: Vec<u32>,
    /// Slots that were vacated of late, and when. A flow that the fast path was making then may
    /// still turn up with one, and must not send to whom it is given next.
    resting: VecDeque<(Time, u32)>,
    by_hop: HashMap<(PortId, NextHop), AdjacencyId, ahash::RandomState>,
    timers: BinaryHeap<Reverse<(Time, AdjacencyId)>>,
    capacity: usize,
}

/// Every adjacency slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the adjacency table is full")]
pub struct Full;

impl Neighbours {
    /// Slots that a table can have: their numbers fit into 16 bits.
    pub const MOST: usize = 1 << 16;

    /// A table of `capacity` slots, [`Self::MOST`] at the most.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            resting: VecDeque::new(),
            by_hop: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 7, 8, 9)),
            timers: BinaryHeap::new(),
            capacity: capacity.min(Self::MOST),
        }
    }

    /// Next hops in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_hop.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hop.is_empty()
    }

    /// The slot of a next hop, made if there is none yet. Whoever keeps the slot says so with
    /// [`Self::hold`].
    ///
    /// # Errors
    /// [`Full`].
    pub fn slot(&mut self, now: Time, port: PortId, hop: NextHop) -> Result<AdjacencyId, Full> {
        if let Some(slot) = self.by_hop.get(&(port, hop)) {
            return Ok(*slot);
        }
        let slot = self.vacant_slot(now).ok_or(Full)?;
        let state = match hop {
            NextHop::Mac(mac) => State::Fixed { mac },
            NextHop::Ip(_) => State::Incomplete { tries: 0, queue: Vec::new() },
        };
        self.put(now, AdjacencyId(slot), port, hop, state);
        Ok(AdjacencyId(slot))
    }

    /// The slot of a next hop, if there is one.
    #[must_use]
    pub fn find(&self, port: PortId, hop: NextHop) -> Option<AdjacencyId> {
        self.by_hop.get(&(port, hop)).copied()
    }

    fn vacant_slot(&mut self, now: Time) -> Option<u32> {
        while let Some((_, slot)) = self.resting.pop_front_if(|(since, _)| *since + REST <= now) {
            self.vacant.push(slot);
        }
        loop {
            match self.vacant.pop() {
                Some(slot) if self.slots[slot as usize].is_none() => return Some(slot),
                Some(_) => {}
                None if self.slots.len() < self.capacity => return Some(self.slots.len() as u32),
                // Better early than never.
                None => self.vacant.push(self.resting.pop_front()?.1),
            }
        }
    }

    /// Numbers next hops that are new from `first` on, so that the slots before it stay free for
    /// [`Self::restore`], until [`Self::open_gaps`].
    pub fn keep_free(&mut self, first: AdjacencyId) {
        let len = (first.0 as usize).min(self.capacity).max(self.slots.len());
        self.slots.resize_with(len, || None);
    }

    /// Gives out the slots that [`Self::keep_free`] kept and nobody wanted.
    pub fn open_gaps(&mut self) {
        let vacant = self.slots.iter().zip(0u32..).filter(|(entry, _)| entry.is_none());
        self.vacant = vacant.map(|(_, slot)| slot).collect();
        self.resting.clear();
        self.vacant.reverse();
    }

    /// Binds a next hop to the slot that an earlier process gave it, unless one of them is bound
    /// already; the slot the next hop has now.
    ///
    /// # Errors
    /// [`Full`] if the number is past the table's end.
    pub fn restore(
        &mut self,
        now: Time,
        slot: AdjacencyId,
        port: PortId,
        hop: NextHop,
        mac: MacAddr,
    ) -> Result<AdjacencyId, Full> {
        if let Some(slot) = self.by_hop.get(&(port, hop)) {
            return Ok(*slot);
        }
        let at = slot.0 as usize;
        if at >= self.capacity {
            return Err(Full);
        }
        if self.slots.get(at).is_some_and(Option::is_some) {
            return self.slot(now, port, hop);
        }
        let state = match hop {
            NextHop::Mac(mac) => State::Fixed { mac },
            NextHop::Ip(_) => State::Reachable { mac, probes: 0 },
        };
        self.put(now, slot, port, hop, state);
        Ok(slot)
    }

    fn put(&mut self, now: Time, slot: AdjacencyId, port: PortId, hop: NextHop, state: State) {
        let at = slot.0 as usize;
        if at >= self.slots.len() {
            self.vacant.extend(self.slots.len() as u32..slot.0);
            self.slots.resize_with(at + 1, || None);
        }
        // What is fixed is only looked at to see whether it is still in use.
        let due = if matches!(state, State::Fixed { .. }) { now + REACHABLE } else { now };
        self.slots[at] = Some(Entry { port, hop, state, users: 0, due, timer: None });
        self.by_hop.insert((port, hop), slot);
        self.arm(slot, due);
    }

    /// Has a slot looked at by `due`, not before.
    fn arm(&mut self, slot: AdjacencyId, due: Time) {
        let Some(entry) = self.slots.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        entry.due = due;
        if entry.timer.is_none_or(|timer| timer > due) {
            entry.timer = Some(due);
            self.timers.push(Reverse((due, slot)));
        }
    }

    /// The MAC address and port of a slot, if it is resolved.
    #[must_use]
    pub fn resolved(&self, slot: AdjacencyId) -> Option<(PortId, MacAddr)> {
        let entry = self.entry(slot)?;
        match entry.state {
            State::Incomplete { .. } | State::Failed { .. } => None,
            State::Reachable { mac, .. } | State::Fixed { mac } => Some((entry.port, mac)),
        }
    }

    /// One more flow leaves by this slot.
    pub fn hold(&mut self, slot: AdjacencyId) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.users += 1;
        }
    }

    /// One flow fewer does. A slot without users goes when it is next looked at.
    pub fn let_go(&mut self, slot: AdjacencyId) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.users = entry.users.saturating_sub(1);
        }
    }

    /// Keeps a frame until the slot is resolved. `Some` gives back a frame that had to give way,
    /// or this one if the slot is resolved or gone.
    pub fn enqueue(&mut self, slot: AdjacencyId, frame: Waiting) -> Option<Waiting> {
        match self.entry_mut(slot) {
            Some(Entry { state: State::Incomplete { queue, .. }, .. }) => {
                let gives_way = (queue.len() == QUEUE_LEN).then(|| queue.remove(0));
                queue.push(frame);
                gives_way
            }
            _ => Some(frame),
        }
    }

    /// A message said that `ip` on `port` is at `mac`. Only a next hop that is in use is told.
    pub fn learn(&mut self, now: Time, port: PortId, ip: IpAddr, mac: MacAddr) -> Option<Change> {
        let slot = *self.by_hop.get(&(port, NextHop::Ip(ip)))?;
        let entry = self.entry_mut(slot)?;
        let before = std::mem::replace(&mut entry.state, State::Reachable { mac, probes: 0 });
        self.arm(slot, now + REACHABLE);
        match before {
            State::Reachable { mac: known, .. } if known == mac => None,
            State::Incomplete { queue, .. } => {
                Some(Change::Resolved { slot, port, mac, waiting: queue })
            }
            _ => Some(Change::Resolved { slot, port, mac, waiting: Vec::new() }),
        }
    }

    /// Does what is due by `now`: asks, gives up, forgets.
    pub fn advance(&mut self, now: Time, ask: &mut Vec<Solicitation>, changes: &mut Vec<Change>) {
        while let Some(Reverse((due, slot))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            let Some(entry) = self.entry_mut(slot).filter(|entry| entry.timer == Some(due)) else {
                continue;
            };
            entry.timer = None;
            if entry.due > now {
                let due = entry.due;
                self.arm(slot, due);
            } else {
                self.look_at(now, slot, ask, changes);
            }
        }
    }

    /// A slot's moment has come.
    fn look_at(
        &mut self,
        now: Time,
        slot: AdjacencyId,
        ask: &mut Vec<Solicitation>,
        changes: &mut Vec<Change>,
    ) {
        let Some(entry) = self.entry_mut(slot) else { return };
        let NextHop::Ip(target) = entry.hop else {
            return self.keep_if_used(now, slot, changes);
        };
        let (tries, known) = match &mut entry.state {
            State::Incomplete { tries, .. } => (tries, None),
            // Nobody needs it: do not ask on behalf of no one.
            State::Reachable { .. } if entry.users == 0 => return self.forget(now, slot, changes),
            State::Reachable { mac, probes } => (probes, Some(*mac)),
            State::Fixed { .. } | State::Failed { .. } => {
                return self.keep_if_used(now, slot, changes);
            }
        };
        if *tries == SOLICITATIONS {
            return self.fail(now, slot, changes);
        }
        *tries += 1;
        ask.push(Solicitation { port: entry.port, target, known });
        self.arm(slot, now + RETRANSMIT);
    }

    /// A slot that asks for nothing costs nothing to keep until its last user is gone.
    fn keep_if_used(&mut self, now: Time, slot: AdjacencyId, changes: &mut Vec<Change>) {
        if self.entry(slot).is_some_and(|entry| entry.users == 0) {
            self.forget(now, slot, changes);
        } else {
            self.arm(slot, now + REACHABLE);
        }
    }

    /// The next hop does not answer: whoever waits is lost. A slot that flows still name stays,
    /// empty, and is asked for anew by the next packet that needs it.
    fn fail(&mut self, now: Time, slot: AdjacencyId, changes: &mut Vec<Change>) {
        let Some(entry) = self.entry_mut(slot) else { return };
        if entry.users == 0 {
            self.forget(now, slot, changes);
            return;
        }
        let before = std::mem::replace(&mut entry.state, State::Failed { since: now });
        let waiting = if let State::Incomplete { queue, .. } = before { queue.len() } else { 0 };
        changes.push(Change::Failed { slot, waiting });
        self.arm(slot, now + REACHABLE);
    }

    /// A packet needs a slot. If its last round of questions failed, another starts, but not
    /// within a second of the last: then `false`, and the packet has nothing to wait for.
    pub fn revive(&mut self, now: Time, slot: AdjacencyId) -> bool {
        let Some(Entry { state: State::Failed { since }, .. }) = self.entry(slot) else {
            return true;
        };
        if *since + RETRANSMIT > now {
            return false;
        }
        if let Some(entry) = self.entry_mut(slot) {
            entry.state = State::Incomplete { tries: 0, queue: Vec::new() };
        }
        self.arm(slot, now);
        true
    }

    /// A port is gone: so is every next hop on it. Flows on it are ended first.
    pub fn remove_port(&mut self, now: Time, port: PortId, changes: &mut Vec<Change>) {
        let mut gone: Vec<_> =
            self.by_hop.iter().filter(|((p, _), _)| *p == port).map(|(_, slot)| *slot).collect();
        // The order decides which numbers are given out next.
        gone.sort_unstable();
        for slot in gone {
            self.forget(now, slot, changes);
        }
    }

    fn forget(&mut self, now: Time, slot: AdjacencyId, changes: &mut Vec<Change>) {
        let Some(entry) = self.slots.get_mut(slot.0 as usize).and_then(Option::take) else {
            return;
        };
        self.by_hop.remove(&(entry.port, entry.hop));
        self.resting.push_back((now, slot.0));
        let waiting = match entry.state {
            State::Incomplete { queue, .. } => queue.len(),
            _ => 0,
        };
        changes.push(Change::Failed { slot, waiting });
    }

    /// When [`Self::advance`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    fn entry(&self, slot: AdjacencyId) -> Option<&Entry> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    fn entry_mut(&mut self, slot: AdjacencyId) -> Option<&mut Entry> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests;
