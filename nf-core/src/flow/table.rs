//! The flow table: a pre-sized slab of flows and one index over both of their keys.
//!
//! Nothing is allocated per flow once the table is built. The table only stores and finds; what a
//! flow means is the engine's to know.

use hashbrown::HashTable;

use super::key::PackedKey;
use super::life::Timeouts;
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
    /// The snapshot under which it was last found right.
    pub generation: Generation,
    /// When it began, or was taken over from an earlier process.
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

/// A flow as it is stored: keys packed, idle times interned.
#[derive(Clone, Copy, Debug)]
struct Record {
    forward: PackedKey,
    reverse: PackedKey,
    forward_out: AdjacencyId,
    reverse_out: AdjacencyId,
    generation: Generation,
    claims: Claims,
    timeouts: u16,
    since: Time,
}

/// Why a flow was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// Every slot is taken.
    #[error("the flow table is full")]
    Full,
    /// One of the keys belongs to another flow.
    #[error("the tuple belongs to flow {0}")]
    InUse(FlowId),
}

/// The table of all flows of one worker.
#[derive(Debug)]
pub struct FlowTable {
    slots: Vec<Option<Record>>,
    /// Vacant slots, and some that [`Self::insert_at`] has taken since.
    vacant: Vec<u32>,
    /// `flow << 1 | direction`, found by the hash of that direction's key.
    index: HashTable<u32>,
    hasher: ahash::RandomState,
    /// The few distinct sets of idle times that configurations give.
    timeouts: Vec<Timeouts>,
    len: usize,
    capacity: usize,
}

impl FlowTable {
    /// A table for `capacity` flows; `seed` keys its hashes. Flow numbers stay below 2^31, which
    /// bounds the capacity.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.min(1 << 31);
        Self {
            slots: Vec::with_capacity(capacity),
            vacant: Vec::new(),
            index: HashTable::with_capacity(capacity * 2),
            hasher: ahash::RandomState::with_seeds(seed, 4, 5, 6),
            timeouts: Vec::new(),
            len: 0,
            capacity,
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
        self.capacity
    }

    /// Adds a flow.
    ///
    /// # Errors
    /// [`InsertError`]; the table is as before.
    pub fn insert(&mut self, flow: &Flow) -> Result<FlowId, InsertError> {
        if self.len == self.capacity {
            return Err(InsertError::Full);
        }
        while let Some(slot) = self.vacant.pop() {
            if self.slots[slot as usize].is_none() {
                let inserted = self.insert_at(FlowId(slot), flow);
                return inserted.map(|()| FlowId(slot)).inspect_err(|_| self.vacant.push(slot));
            }
        }
        let next = FlowId(self.slots.len() as u32);
        self.insert_at(next, flow).map(|()| next)
    }

    /// Adds a flow under a number that an earlier process gave it.
    ///
    /// # Errors
    /// [`InsertError::Full`] if the number is past the table's end, [`InsertError::InUse`] if the
    /// number or a key is taken; the table is as before.
    pub fn insert_at(&mut self, id: FlowId, flow: &Flow) -> Result<(), InsertError> {
        let slot = id.0 as usize;
        if slot >= self.capacity {
            return Err(InsertError::Full);
        }
        if self.slots.get(slot).is_some_and(Option::is_some) {
            return Err(InsertError::InUse(id));
        }
        for key in [&flow.forward, &flow.reverse] {
            if let Some((other, _)) = self.find(key) {
                return Err(InsertError::InUse(other));
            }
        }
        if flow.forward == flow.reverse {
            return Err(InsertError::InUse(id));
        }
        let record = self.pack(flow);
        if slot >= self.slots.len() {
            self.vacant.extend(self.slots.len() as u32..id.0);
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some(record);
        self.len += 1;
        self.index_key(&record.forward, id.0 << 1);
        self.index_key(&record.reverse, id.0 << 1 | 1);
        Ok(())
    }

    /// The flow a packet belongs to, and which way it goes.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<(FlowId, Direction)> {
        let packed = PackedKey::from(key);
        let hash = self.hasher.hash_one(packed);
        let found = self.index.find(hash, |&entry| {
            self.slots[entry as usize >> 1].is_some_and(|record| *record.key(entry) == packed)
        })?;
        let direction = if found & 1 == 0 { Direction::Forward } else { Direction::Reverse };
        Some((FlowId(found >> 1), direction))
    }

    /// A flow by its number.
    #[must_use]
    pub fn get(&self, id: FlowId) -> Option<Flow> {
        self.slots.get(id.0 as usize)?.as_ref().map(|record| self.unpack(record))
    }

    /// Notes that a flow was found right under `generation`, with these ways out.
    pub fn revalidated(
        &mut self,
        id: FlowId,
        generation: Generation,
        forward_out: AdjacencyId,
        reverse_out: AdjacencyId,
    ) {
        if let Some(Some(record)) = self.slots.get_mut(id.0 as usize) {
            record.generation = generation;
            record.forward_out = forward_out;
            record.reverse_out = reverse_out;
        }
    }

    /// Takes a flow out.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let record = self.slots.get_mut(id.0 as usize)?.take()?;
        self.len -= 1;
        self.vacant.push(id.0);
        for (key, entry) in [(&record.forward, id.0 << 1), (&record.reverse, id.0 << 1 | 1)] {
            let hash = self.hasher.hash_one(key);
            if let Ok(found) = self.index.find_entry(hash, |&other| other == entry) {
                found.remove();
            }
        }
        Some(self.unpack(&record))
    }

    /// Number of slots that were ever used: flows are numbered below it.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Every flow with its number.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, Flow)> {
        self.slots
            .iter()
            .zip(0u32..)
            .filter_map(|(slot, id)| slot.as_ref().map(|record| (FlowId(id), self.unpack(record))))
    }

    /// The numbers of the flows with one end at `port`.
    pub fn on_port(&self, port: PortId) -> impl Iterator<Item = FlowId> {
        self.slots.iter().zip(0u32..).filter_map(move |(slot, id)| {
            let record = slot.as_ref()?;
            (record.forward.port() == port || record.reverse.port() == port).then_some(FlowId(id))
        })
    }

    fn index_key(&mut self, key: &PackedKey, entry: u32) {
        let hash = self.hasher.hash_one(key);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, entry, |&entry| {
            slots[entry as usize >> 1].map_or(0, |record| hasher.hash_one(record.key(entry)))
        });
    }

    fn pack(&mut self, flow: &Flow) -> Record {
        let timeouts = self.timeouts.iter().position(|known| *known == flow.timeouts);
        let timeouts = timeouts.unwrap_or_else(|| {
            self.timeouts.push(flow.timeouts);
            self.timeouts.len() - 1
        });
        Record {
            forward: PackedKey::from(&flow.forward),
            reverse: PackedKey::from(&flow.reverse),
            forward_out: flow.forward_out,
            reverse_out: flow.reverse_out,
            generation: flow.generation,
            claims: flow.claims,
            timeouts: timeouts as u16,
            since: flow.since,
        }
    }

    fn unpack(&self, record: &Record) -> Flow {
        Flow {
            forward: record.forward.unpack(),
            reverse: record.reverse.unpack(),
            forward_out: record.forward_out,
            reverse_out: record.reverse_out,
            claims: record.claims,
            timeouts: self.timeouts[usize::from(record.timeouts)],
            generation: record.generation,
            since: record.since,
        }
    }
}

impl Record {
    /// The key that an index entry stands for.
    fn key(&self, entry: u32) -> &PackedKey {
        if entry & 1 == 0 { &self.forward } else { &self.reverse }
    }
}
