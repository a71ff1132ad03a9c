//! The flow table: a pre-sized slab of flows and one index over both of their keys.
//!
//! Nothing is allocated per flow once the table is built. The table only stores and finds; what a
//! flow means is the engine's to know.

use slab::Slab;

use super::index::{Index, Whereabouts};
use super::key::PackedKey;
use super::life::Timeouts;
use super::record::{Record, WideKeys};
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

    /// Notes that a flow was found right under `generation`, with these ways out.
    pub fn revalidated(
        &mut self,
        id: FlowId,
        generation: Generation,
        forward_out: AdjacencyId,
        reverse_out: AdjacencyId,
    ) {
        if let Some(record) = self.occupied(id) {
            record.generation = generation;
            record.set_out(forward_out, reverse_out);
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

    /// The numbers of the flows with one end at `port`.
    pub fn on_port(&self, port: PortId) -> impl Iterator<Item = FlowId> {
        self.numbered().filter_map(move |(id, record)| {
            let on = |direction| Some(record.key(direction, &self.wide)?.port() == port);
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
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tuple::{Protocol, Tuple};

    /// Every third is IPv6.
    fn key(port: u32, n: u16) -> FlowKey {
        let (src, dst) = if n.is_multiple_of(3) {
            (([0xfd00, 0, 0, 0, 0, 0, 0, 1], n).into(), ([0xfd00, 0, 0, 0, 0, 0, 0, 2], 80).into())
        } else {
            (([10, 0, 0, 1], n).into(), ([10, 0, 0, 2], 80).into())
        };
        let tuple = Tuple { protocol: Protocol::Tcp, src, dst };
        FlowKey { port: PortId::new(port).unwrap(), tuple }
    }

    fn flow(forward: FlowKey, reverse: FlowKey) -> Flow {
        Flow {
            forward,
            reverse,
            forward_out: AdjacencyId(1),
            reverse_out: AdjacencyId(2),
            claims: Claims::default(),
            timeouts: Timeouts::default(),
            generation: Generation(3),
            since: Time::from_nanos(60 << 26),
        }
    }

    /// The `n`th of flows that share no key.
    fn nth(n: u16) -> Flow {
        flow(key(1, n), key(2, n))
    }

    #[test]
    fn a_flow_comes_back_as_it_was_stored_and_is_found_by_either_key() {
        let mut table = FlowTable::new(Capacity::of_any(4), 1);
        let mut claims = Claims::default();
        assert!(claims.push(FunctionIx(2), Claim(77)) && claims.push(FunctionIx(0), Claim(5)));
        let udp = std::time::Duration::from_secs(7);
        let stored = Flow { claims, timeouts: Timeouts { udp, ..Timeouts::default() }, ..nth(9) };
        let id = table.insert(&stored).unwrap();
        table.insert(&nth(10)).unwrap();
        assert_eq!(table.get(id), Some(stored));
        assert_eq!(table.find(&stored.forward), Some((id, Direction::Forward)));
        assert_eq!(table.find(&stored.reverse), Some((id, Direction::Reverse)));
        assert_eq!(table.find(&key(3, 9)), None, "the same tuple on another port");
        assert_eq!(stored.claims.iter().map(|(_, claim)| claim.0).collect::<Vec<_>>(), [77, 5]);
    }

    #[test]
    fn claims_hold_as_many_functions_as_a_flow_may_pass_and_no_more() {
        let mut claims = Claims::default();
        for n in 0..MAX_FUNCTIONS {
            assert!(claims.push(FunctionIx(n as u8), Claim(n as u32)));
        }
        assert!(!claims.push(FunctionIx(9), Claim(9)));
        assert_eq!(claims.iter().count(), MAX_FUNCTIONS);
        assert_eq!(claims.get(MAX_FUNCTIONS), None);
    }

    #[test]
    fn a_refused_flow_leaves_the_table_as_it_was_and_the_next_one_fits() {
        let mut table = FlowTable::new(Capacity::of_any(3), 1);
        let first = table.insert(&nth(1)).unwrap();
        for refused in [flow(key(1, 1), key(2, 7)), flow(key(1, 7), key(2, 1))] {
            assert_eq!(table.insert(&refused), Err(InsertError::InUse(first)));
        }
        let itself = flow(key(1, 8), key(1, 8));
        assert_eq!(table.insert(&itself), Err(InsertError::InUse(FlowId(1))));
        assert_eq!(table.len(), 1);
        assert_eq!(table.find(&key(2, 7)), None);
        // The number that the refused ones would have had is still there to be given.
        assert_eq!(table.insert(&nth(2)), Ok(FlowId(1)));
        assert_eq!(table.insert(&nth(3)), Ok(FlowId(2)));
        assert_eq!(table.insert(&nth(4)), Err(InsertError::Full));
        table.remove(FlowId(0)).unwrap();
        assert_eq!(table.insert(&flow(key(1, 3), key(2, 9))), Err(InsertError::InUse(FlowId(2))));
        assert_eq!(table.insert(&nth(4)), Ok(FlowId(0)));
    }

    #[test]
    fn a_number_from_before_is_kept_and_those_below_it_are_given_to_new_flows() {
        let mut table = FlowTable::new(Capacity::of_any(6), 1);
        assert_eq!(table.insert_at(FlowId(4), &nth(4)), Ok(()));
        assert_eq!(table.insert_at(FlowId(2), &nth(2)), Ok(()));
        assert_eq!(table.insert_at(FlowId(4), &nth(9)), Err(InsertError::InUse(FlowId(4))));
        assert_eq!(table.insert_at(FlowId(6), &nth(9)), Err(InsertError::Full));
        let mut given: Vec<_> = (10..14).map(|n| table.insert(&nth(n)).unwrap().0).collect();
        given.sort_unstable();
        assert_eq!(given, [0, 1, 3, 5]);
        assert_eq!(table.insert(&nth(20)), Err(InsertError::Full));
    }

    #[test]
    fn ipv6_flows_have_a_limit_of_their_own() {
        let mut table = FlowTable::new(Capacity { flows: 4, ipv6_flows: 1 }, 1);
        let id = table.insert(&nth(3)).unwrap();
        assert_eq!(table.insert(&nth(6)), Err(InsertError::Full));
        table.insert(&nth(4)).unwrap();
        assert_eq!(table.remove(id), Some(nth(3)));
        let id = table.insert(&nth(6)).unwrap();
        assert_eq!(table.get(id), Some(nth(6)));
    }

    #[test]
    fn tcp_flags_of_the_two_directions_are_kept_apart() {
        let mut table = FlowTable::new(Capacity::of_any(1), 1);
        let id = table.insert(&nth(1)).unwrap();
        assert_eq!(table.note_tcp_flags(id, Direction::Forward, 2), Some([2, 0]));
        assert_eq!(table.note_tcp_flags(id, Direction::Reverse, 7), Some([2, 7]));
        assert_eq!(table.note_tcp_flags(id, Direction::Forward, 1), Some([3, 7]));
        table.remove(id);
        assert_eq!(table.note_tcp_flags(id, Direction::Forward, 1), None);
    }

    #[test]
    fn flows_are_found_by_their_port() {
        let mut table = FlowTable::new(Capacity::of_any(4), 1);
        let there = table.insert(&flow(key(1, 1), key(2, 1))).unwrap();
        let back = table.insert(&flow(key(2, 2), key(3, 2))).unwrap();
        let both = table.insert(&flow(key(2, 3), key(2, 4))).unwrap();
        let on = |port| table.on_port(PortId::new(port).unwrap()).collect::<Vec<_>>();
        assert_eq!(on(1), [there]);
        assert_eq!(on(2), [there, back, both]);
        assert_eq!(on(3), [back]);
        assert_eq!(on(4), []);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert { forward: u16, reverse: u16 },
        InsertAt { id: u32, forward: u16, reverse: u16 },
        Remove { id: u32 },
    }

    fn any_step() -> impl Strategy<Value = Step> {
        // Few keys, so that many collide.
        let keys = || (0..24_u16, 0..24_u16);
        prop_oneof![
            4 => keys().prop_map(|(forward, reverse)| Step::Insert { forward, reverse }),
            1 => (0..14_u32, keys())
                .prop_map(|(id, (forward, reverse))| Step::InsertAt { id, forward, reverse }),
            3 => (0..14_u32).prop_map(|id| Step::Remove { id }),
        ]
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_two_sorted_maps(steps in prop::collection::vec(any_step(), 0..300)) {
            const CAPACITY: usize = 12;
            let mut table = FlowTable::new(Capacity::of_any(CAPACITY), 1);
            let mut flows = BTreeMap::<u32, Flow>::new();
            let taken = |flows: &BTreeMap<u32, Flow>, flow: &Flow| {
                let keys = [flow.forward, flow.reverse];
                let of = |other: &Flow| keys.contains(&other.forward) || keys.contains(&other.reverse);
                flow.forward == flow.reverse || flows.values().any(of)
            };
            for step in steps {
                match step {
                    Step::Insert { forward, reverse } => {
                        let flow = flow(key(1, forward), key(1, reverse));
                        match table.insert(&flow) {
                            Ok(id) => {
                                prop_assert!(!taken(&flows, &flow) && flows.len() < CAPACITY);
                                prop_assert!((id.0 as usize) < CAPACITY);
                                prop_assert!(flows.insert(id.0, flow).is_none());
                            }
                            Err(InsertError::Full) => prop_assert_eq!(flows.len(), CAPACITY),
                            Err(InsertError::InUse(_)) => prop_assert!(taken(&flows, &flow)),
                        }
                    }
                    Step::InsertAt { id, forward, reverse } => {
                        let flow = flow(key(1, forward), key(1, reverse));
                        let fits = (id as usize) < CAPACITY
                            && !flows.contains_key(&id)
                            && !taken(&flows, &flow);
                        prop_assert_eq!(table.insert_at(FlowId(id), &flow).is_ok(), fits);
                        if fits {
                            flows.insert(id, flow);
                        }
                    }
                    Step::Remove { id } => prop_assert_eq!(table.remove(FlowId(id)), flows.remove(&id)),
                }
                prop_assert_eq!(table.len(), flows.len());
                let listed: Vec<_> = table.iter().map(|(id, flow)| (id.0, flow)).collect();
                prop_assert_eq!(listed, flows.clone().into_iter().collect::<Vec<_>>());
                for n in 0..24 {
                    let found = table.find(&key(1, n)).map(|(id, direction)| {
                        (id.0, *flows[&id.0].key(direction))
                    });
                    let holder = flows.iter().find(|(_, flow)| {
                        flow.forward == key(1, n) || flow.reverse == key(1, n)
                    });
                    prop_assert_eq!(found, holder.map(|(id, _)| (*id, key(1, n))));
                }
            }
        }
    }

    #[test]
    fn reserved_numbers_are_for_those_who_name_them_and_leave_an_eighth_free() {
        let mut table = FlowTable::new(Capacity::of_any(16), 1);
        let gone = table.insert(&nth(1)).unwrap();
        let kept = table.insert(&nth(2)).unwrap();
        table.remove(gone);
        let reserved = table.reserve(100);
        assert_eq!(reserved.len(), 13, "14 of 16 may be taken, and one is");
        assert_eq!(table.reserved(), 13);
        assert!(reserved.contains(&gone) && !reserved.contains(&kept));
        for n in 3..=4 {
            let id = table.insert(&nth(n)).unwrap();
            assert!(!reserved.contains(&id), "{id} is reserved");
        }
        assert_eq!(table.insert(&nth(5)), Err(InsertError::Full));
        table.insert_at(reserved[0], &nth(5)).unwrap();
        table.unreserve(reserved[0]);
        table.unreserve(reserved[1]);
        assert_eq!((table.reserved(), table.len()), (11, 4));
        assert_eq!(table.insert(&nth(6)), Ok(reserved[1]), "the only one that is free");
        assert_eq!(table.reserve(1), []);
    }
}
