//! The flow table: a pre-sized slab of flows and one index over both of their keys.
//!
//! Nothing is allocated per flow once the table is built. The table only stores and finds; what a
//! flow means is the engine's to know.

use slab::Slab;

use super::index::{Index, Whereabouts};
use super::key::PackedKey;
use super::life::Timeouts;
use super::record::{Record, WideKeys};
use super::tracking::Tracking;
use crate::fast_path::Direction;
use crate::id::{AdjacencyId, FlowId, Generation, PortId};
use crate::pipeline::{Claim, FunctionIx};
use crate::time::Time;
use crate::tuple::FlowKey;

/// How many functions one flow can pass.
pub const MAX_FUNCTIONS: usize = 3;

/// What the functions on a flow's way hold for it, in the order they were passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    len: u8,
    functions: [u8; MAX_FUNCTIONS],
    numbers: [u32; MAX_FUNCTIONS],
}

impl Claims {
    /// No claim.
    pub const NONE: Self =
        Self { len: 0, functions: [0; MAX_FUNCTIONS], numbers: [0; MAX_FUNCTIONS] };

    /// Adds one; `false` if there are [`MAX_FUNCTIONS`] already.
    #[must_use]
    pub fn push(&mut self, function: FunctionIx, claim: Claim) -> bool {
        let at = usize::from(self.len);
        if at == MAX_FUNCTIONS {
            return false;
        }
        self.functions[at] = function.0;
        self.numbers[at] = claim.0;
        self.len += 1;
        true
    }

    /// The `n`th function passed and its claim.
    #[must_use]
    pub fn get(&self, n: usize) -> Option<(FunctionIx, Claim)> {
        (n < usize::from(self.len)).then(|| (FunctionIx(self.functions[n]), Claim(self.numbers[n])))
    }

    /// All of them, in order.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (FunctionIx, Claim)> + use<> {
        let all = *self;
        (0..usize::from(self.len)).filter_map(move |n| all.get(n))
    }
}

/// One tracked conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// How packets of the side that opened come in.
    pub forward: FlowKey,
    /// How the answers come in. Its tuple reversed is what the first packet left with.
    pub reverse: FlowKey,
    /// Where packets of the forward direction leave.
    pub forward_out: AdjacencyId,
    /// Where the answers leave.
    pub reverse_out: AdjacencyId,
    /// What functions hold for it.
    pub claims: Claims,
    /// Its idle times.
    pub timeouts: Timeouts,
    /// Which of its ends outlive the rules that let it in.
    pub tracking: Tracking,
    /// The snapshot under which it was last found right.
    pub generation: Generation,
    /// When it began, or was taken over from an earlier process; the table keeps it to within 67
    /// ms.
    pub since: Time,
}

impl Flow {
    /// The key of one direction.
    #[must_use]
    pub const fn key(&self, direction: Direction) -> &FlowKey {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Reverse => &self.reverse,
        }
    }
}

/// Why a flow was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// Every slot is taken, or every one that there is for IPv6.
    #[error("the flow table is full")]
    Full,
    /// One of the keys belongs to another flow.
    #[error("the tuple belongs to flow {0}")]
    InUse(FlowId),
}

/// The table of all flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    records: Vec<Record>,
    /// Keys of those that are not IPv4.
    wide: WideKeys,
    /// Vacant places that are not reserved, and some that [`Self::insert_at`] has taken since.
    vacant: Vec<u32>,
    /// `flow << 1 | direction`, found by the hash of that direction's key.
    index: Index,
    hasher: ahash::RandomState,
    /// The few distinct sets of idle times that configurations give.
    timeouts: Vec<Timeouts>,
    len: usize,
    /// Places that are neither a flow's nor to be had.
    reserved: usize,
    capacity: Capacity,
}

/// How many flows a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// In all.
    pub flows: usize,
    /// Of them, those with an IPv6 address: the fast path has tables of their own for these.
    pub ipv6_flows: usize,
}

impl Capacity {
    /// Room for `flows`, whatever their family.
    #[must_use]
    pub const fn of_any(flows: usize) -> Self {
        Self { flows, ipv6_flows: flows }
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Reverse];

impl FlowTable {
    /// A table of that capacity; `seed` keys its hashes. Flow numbers stay below 2^31, which
    /// bounds it.
    #[must_use]
    pub fn new(capacity: Capacity, seed: u64) -> Self {
        let flows = capacity.flows.min(1 << 31);
        Self {
            records: Vec::with_capacity(flows),
            wide: Slab::new(),
            vacant: Vec::new(),
            index: Index::with_capacity(flows * 2),
            hasher: ahash::RandomState::with_seeds(seed, 4, 5, 6),
            timeouts: Vec::new(),
            len: 0,
            reserved: 0,
            capacity: Capacity { flows, ..capacity },
        }
    }

    /// Flows in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Flows it can hold.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity.flows
    }

    /// Adds a flow.
    ///
    /// # Errors
    /// [`InsertError`]; the table is as before.
    pub fn insert(&mut self, flow: &Flow) -> Result<FlowId, InsertError> {
        if self.len == self.capacity.flows {
            return Err(InsertError::Full);
        }
        while let Some(place) = self.vacant.pop() {
            if self.records[place as usize].is_vacant() {
                let inserted = self.insert_at(FlowId(place), flow);
                return inserted.map(|()| FlowId(place)).inspect_err(|_| self.vacant.push(place));
            }
        }
        let next = FlowId(self.records.len() as u32);
        self.insert_at(next, flow).map(|()| next)
    }

    /// Adds a flow under a number that an earlier process gave it, or that was reserved for it.
    ///
    /// # Errors
    /// [`InsertError::Full`] if the number is past the table's end, or the flow is IPv6 and there
    /// is no room for more of these; [`InsertError::InUse`] if the number or a key is taken; the
    /// table is as before.
    pub fn insert_at(&mut self, id: FlowId, flow: &Flow) -> Result<(), InsertError> {
        let place = id.0 as usize;
        if place >= self.capacity.flows {
            return Err(InsertError::Full);
        }
        if self.records.get(place).is_some_and(|record| !record.is_vacant()) {
            return Err(InsertError::InUse(id));
        }
        let keys = DIRECTIONS.map(|direction| PackedKey::from(flow.key(direction)));
        let at = [self.whereabouts(&keys[0]), self.whereabouts(&keys[1])];
        for (key, at) in keys.iter().zip(&at) {
            if let Some((other, _)) = self.find_at(at, key) {
                return Err(InsertError::InUse(other));
            }
        }
        if flow.forward == flow.reverse {
            return Err(InsertError::InUse(id));
        }
        let is_ipv4 = flow.forward.tuple.is_ipv4() && flow.reverse.tuple.is_ipv4();
        if !is_ipv4 && self.wide.len() >= self.capacity.ipv6_flows {
            return Err(InsertError::Full);
        }
        let timeouts = self.intern(&flow.timeouts);
        let record = Record::new(flow, &keys, timeouts, &mut self.wide);
        if place >= self.records.len() {
            self.vacant.extend(self.records.len() as u32..id.0);
            self.records.resize(place + 1, Record::VACANT);
        }
        self.records[place] = record;
        self.len += 1;
        for (direction, at) in DIRECTIONS.iter().zip(&at) {
            self.index.insert(at, entry(id, *direction));
        }
        Ok(())
    }

    /// Reserves up to `count` vacant places, for [`Self::insert_at`] alone, as long as one in eight
    /// of all stays free for others.
    pub fn reserve(&mut self, count: usize) -> Vec<FlowId> {
        let most = self.capacity.flows - self.capacity.flows / 8;
        let count = count.min(most.saturating_sub(self.len + self.reserved));
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            match self.vacant.pop() {
                Some(place) if !self.records[place as usize].is_vacant() => {}
                Some(place) => ids.push(FlowId(place)),
                None => break,
            }
        }
        let first = self.records.len();
        let more = (count - ids.len()).min(self.capacity.flows - first);
        self.records.resize(first + more, Record::VACANT);
        ids.extend((first..first + more).map(|place| FlowId(place as u32)));
        self.reserved += ids.len();
        ids
    }

    /// Places that are reserved.
    #[must_use]
    pub const fn reserved(&self) -> usize {
        self.reserved
    }

    /// Takes back a place that was reserved: it is vacant again, or a flow has it by now.
    pub fn unreserve(&mut self, id: FlowId) {
        self.reserved = self.reserved.saturating_sub(1);
        if self.records.get(id.0 as usize).is_some_and(Record::is_vacant) {
            self.vacant.push(id.0);
        }
    }

    /// The flow a packet belongs to, and which way it goes.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<(FlowId, Direction)> {
        let packed = PackedKey::from(key);
        self.find_at(&self.whereabouts(&packed), &packed)
    }

    fn whereabouts(&self, key: &PackedKey) -> Whereabouts {
        self.index.whereabouts(self.hasher.hash_one(key))
    }

    fn find_at(&self, at: &Whereabouts, key: &PackedKey) -> Option<(FlowId, Direction)> {
        let found = self.index.find(at, |entry| {
            let (id, direction) = split(entry);
            self.records[id.0 as usize].has_key(direction, key, &self.wide)
        })?;
        Some(split(found))
    }

    /// A flow by its number.
    #[must_use]
    pub fn get(&self, id: FlowId) -> Option<Flow> {
        self.unpack(self.records.get(id.0 as usize)?)
    }

    /// Notes that a flow was found right under a newer snapshot. Its ways out and what is tracked of
    /// it may be others by now; its keys, claims and idle times are not.
    pub fn revalidated(&mut self, id: FlowId, today: &Flow) {
        if let Some(record) = self.occupied(id) {
            record.generation = today.generation;
            record.set_out(today.forward_out, today.reverse_out);
            record.set_tracking(today.tracking);
        }
    }

    /// Adds TCP flags that went through, and returns all of them, by direction.
    pub fn note_tcp_flags(
        &mut self,
        id: FlowId,
        direction: Direction,
        flags: u8,
    ) -> Option<[u8; 2]> {
        Some(self.occupied(id)?.note_tcp_flags(direction, flags))
    }

    /// Takes a flow out.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let record = *self.records.get(id.0 as usize)?;
        let flow = self.unpack(&record)?;
        for direction in DIRECTIONS {
            if let Some(key) = record.key(direction, &self.wide) {
                let at = self.whereabouts(&key);
                self.index.remove(&at, entry(id, direction));
            }
        }
        self.records[id.0 as usize].clear(&mut self.wide);
        self.len -= 1;
        self.vacant.push(id.0);
        Some(flow)
    }

    /// Number of places that were ever used: flows are numbered below it.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.records.len() as u32
    }

    /// Every flow with its number.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, Flow)> {
        self.numbered().filter_map(|(id, record)| Some((id, self.unpack(record)?)))
    }

    /// The numbers of the flows with one end at a port that is meant.
    pub fn on_ports(&self, is_meant: impl Fn(PortId) -> bool) -> impl Iterator<Item = FlowId> {
        self.numbered().filter_map(move |(id, record)| {
            let on = |direction| Some(is_meant(record.key(direction, &self.wide)?.port()));
            (on(Direction::Forward)? || on(Direction::Reverse)?).then_some(id)
        })
    }

    fn numbered(&self) -> impl Iterator<Item = (FlowId, &Record)> {
        self.records.iter().zip(0..).map(|(record, id)| (FlowId(id), record))
    }

    fn occupied(&mut self, id: FlowId) -> Option<&mut Record> {
        self.records.get_mut(id.0 as usize).filter(|record| !record.is_vacant())
    }

    /// The place of a set of idle times among those that are known.
    fn intern(&mut self, timeouts: &Timeouts) -> u16 {
        let known = self.timeouts.iter().position(|known| known == timeouts);
        known.unwrap_or_else(|| {
            self.timeouts.push(*timeouts);
            self.timeouts.len() - 1
        }) as u16
    }

    /// `None` of a vacant place.
    fn unpack(&self, record: &Record) -> Option<Flow> {
        Some(Flow {
            forward: record.key(Direction::Forward, &self.wide)?.unpack(),
            reverse: record.key(Direction::Reverse, &self.wide)?.unpack(),
            forward_out: record.out(Direction::Forward),
            reverse_out: record.out(Direction::Reverse),
            claims: record.claims,
            timeouts: self.timeouts[usize::from(record.timeouts)],
            tracking: record.tracking(),
            generation: record.generation,
            since: record.since(),
        })
    }
}

/// How the index names one direction of a flow.
const fn entry(id: FlowId, direction: Direction) -> u32 {
    id.0 << 1 | direction as u32
}

const fn split(entry: u32) -> (FlowId, Direction) {
    let direction = if entry & 1 == 0 { Direction::Forward } else { Direction::Reverse };
    (FlowId(entry >> 1), direction)
}

#[cfg(test)]
mod tests;
