//! What gateways carry. The fast path counts packets under meters; here is which meter the packets of
//! a flow are counted under, and whose traffic each stands for.
//!
//! A flow may pass several gateways, and an entry has one meter. So a meter stands for what a packet
//! passes altogether, and a gateway's traffic is the sum of those that it is part of. Which number a
//! meter has follows from what it stands for, so the next process gives the same ones.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::{Engine, translation};
use crate::fast_path::{Direction, FastPath, MeterId, Metered};
use crate::flow::table::MAX_FUNCTIONS;
use crate::flow::{Claims, Flow};
use crate::maglev::HashSeed;
use crate::pipeline::{Function, FunctionIx, MeterKey, MeteredAs};

/// What a gateway has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From sources, which are inside, to destinations.
    pub from_source: Carriage,
    /// From destinations to sources.
    pub from_destination: Carriage,
}

/// What was carried one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriage {
    /// Packets.
    pub packets: u64,
    /// Their bytes as they came in, IP headers included.
    pub bytes_in: u64,
    /// Their bytes as they went out: those of NAT64 are 20 more or fewer for each packet.
    pub bytes_out: u64,
}

/// What a packet passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    /// Gateways whose traffic it is, in their order, and whether it comes from a destination of
    /// theirs.
    gateways: [Option<(FunctionIx, MeterKey, bool)>; MAX_FUNCTIONS],
    /// Bytes that it leaves longer by.
    growth: i8,
}

impl Hash for Way {
    /// What tells ways apart most often, in few words: every first packet asks for two.
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (_, key, from_destination) in self.gateways.iter().flatten() {
            state.write_u64(key.0 ^ u64::from(*from_destination));
        }
    }
}

/// All meters in use.
#[derive(Debug)]
pub(super) struct Meters {
    ids: HashMap<Way, MeterId, ahash::RandomState>,
    /// By their numbers, as far as they are in use.
    all: Vec<Option<Meter>>,
}

#[derive(Debug)]
struct Meter {
    way: Way,
    /// What user space itself has sent on.
    own: Metered,
}

impl Meters {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 19, 20, 21);
        Self { ids: HashMap::with_hasher(hasher), all: Vec::new() }
    }

    fn get_mut(&mut self, id: MeterId) -> Option<&mut Meter> {
        self.all.get_mut(id.0 as usize)?.as_mut()
    }

    /// The meter of a way; none if there are too many ways.
    fn of(&mut self, way: &Way) -> MeterId {
        if let Some(&id) = self.ids.get(way) {
            return id;
        }
        let last = MeterId::COUNT as u32 - 1;
        let first = way.number() as u32 % last;
        let mut all = (0..last).map(|step| MeterId(1 + (first + step) % last));
        let Some(id) = all.find(|id| self.get_mut(*id).is_none()) else { return MeterId::NONE };
        let place = id.0 as usize;
        if place >= self.all.len() {
            self.all.resize_with(place + 1, || None);
        }
        self.ids.insert(*way, id);
        self.all[place] = Some(Meter { way: *way, own: Metered::default() });
        id
    }
}

impl Way {
    /// Of a packet of a flow, or of flows like it.
    fn of(
        functions: &[Box<dyn Function>],
        claims: &Claims,
        growth: i8,
        direction: Direction,
    ) -> Self {
        let mut way = Self::default();
        let metered = claims.iter().filter_map(|(ix, claim)| {
            let MeteredAs { key, from_destination } =
                functions[usize::from(ix.0)].metered_as(claim)?;
            Some((ix, key, from_destination != (direction == Direction::Reverse)))
        });
        for (place, gateway) in way.gateways.iter_mut().zip(metered) {
            *place = Some(gateway);
        }
        // Packets that are counted nowhere are not told apart either.
        if way.gateways[0].is_some() {
            way.growth = growth;
        }
        way
    }

    /// Where its meter is looked for first: the same in every process.
    fn number(&self) -> u64 {
        let mut bytes = [0; 2 + MAX_FUNCTIONS * 10];
        bytes[0] = self.growth.to_ne_bytes()[0];
        let places = bytes[2..].chunks_exact_mut(10);
        for (place, (ix, key, from_destination)) in places.zip(self.gateways.iter().flatten()) {
            place[..2].copy_from_slice(&[ix.0 + 1, u8::from(*from_destination)]);
            place[2..].copy_from_slice(&key.0.to_le_bytes());
        }
        HashSeed { k0: 1, k1: 2 }.hash(&bytes)
    }
}

/// Bytes that packets of one direction leave longer by.
fn growth(flow: &Flow, direction: Direction) -> i8 {
    const BY: i8 = translation::GROWTH as i8;
    let (from, to) = (flow.key(direction), flow.key(direction.opposite()));
    match (from.tuple.is_ipv4(), to.tuple.is_ipv4()) {
        (true, false) => BY,
        (false, true) => -BY,
        _ => 0,
    }
}

impl Engine {
    /// The meter of a flow's packets.
    pub(super) fn meter_of(&mut self, flow: &Flow, direction: Direction) -> MeterId {
        let growth = growth(flow, direction);
        let way = Way::of(&self.functions, &flow.claims, growth, direction);
        if way == Way::default() {
            return MeterId::NONE;
        }
        self.meters.of(&way)
    }

    /// Counts what user space itself has sent on.
    pub(super) fn count_own(&mut self, id: MeterId, seen: Metered) {
        if let Some(meter) = self.meters.get_mut(id) {
            meter.own += seen;
        }
    }

    /// What every gateway of a function's has carried.
    pub fn traffic<F: Function>(&self, fast_path: &mut dyn FastPath) -> HashMap<MeterKey, Traffic> {
        let mut all = HashMap::new();
        let is_meant = |ix: FunctionIx| {
            let function: &dyn std::any::Any = self.functions[usize::from(ix.0)].as_ref();
            function.is::<F>()
        };
        for (number, meter) in (0..).zip(&self.meters.all) {
            let Some(meter) = meter else { continue };
            let mut seen = fast_path.metered(MeterId(number));
            seen += meter.own;
            let growth = i64::from(meter.way.growth) * seen.packets.cast_signed();
            let carried = Carriage {
                packets: seen.packets,
                bytes_in: seen.bytes,
                bytes_out: seen.bytes.saturating_add_signed(growth),
            };
            for (ix, key, from_destination) in meter.way.gateways.iter().flatten() {
                if !is_meant(*ix) {
                    continue;
                }
                let traffic: &mut Traffic = all.entry(*key).or_default();
                let way = if *from_destination {
                    &mut traffic.from_destination
                } else {
                    &mut traffic.from_source
                };
                way.packets += carried.packets;
                way.bytes_in += carried.bytes_in;
                way.bytes_out += carried.bytes_out;
            }
        }
        all
    }
}
