//! What must hold of the engine after every step, and when all is over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::engine::FlowView;
use nf_core::fast_path::Direction;
use nf_core::id::FlowId;
use nf_core::testing::World;
use nf_core::time::Time;
use nf_core::translator::RealmUsage;
use nlb::Nlb;

use crate::desired::Rules;
use crate::talk::{Talk, Way};

/// The functions' places in the engine's list.
const NAT: u8 = 0;
const NLB: u8 = 1;
const BRIDGE: u8 = 2;

/// A broken promise.
pub(crate) type Broken = String;

macro_rules! must {
    ($holds:expr, $($what:tt)*) => {
        if !$holds { return Err(format!($($what)*)); }
    };
}
pub(crate) use must;

/// Every flow there is.
pub(crate) fn flows(world: &mut World) -> Vec<FlowView> {
    let World { engine, path, .. } = world;
    engine.list_flows(FlowId(0), usize::MAX, path).0
}

/// What holds at any moment.
pub(crate) fn check(world: &mut World) -> Result<(), Broken> {
    packets(world)?;
    let flows = flows(world);
    entries(world, &flows)?;
    stocks(world)?;
    claims(world, &flows)
}

/// Every packet that was handed over has met its end or waits.
fn packets(world: &World) -> Result<(), Broken> {
    let counters = world.engine.counters();
    let (seen, decided, waiting) =
        (counters.packets_in(), counters.packets_decided(), counters.packets_waiting());
    must!(seen == decided + waiting, "{seen} packets in, {decided} decided, {waiting} waiting");
    let punts: u64 = counters.punts.iter().sum();
    must!(punts == world.handed_over, "{} handed over, {punts} counted", world.handed_over);
    Ok(())
}

/// Entries are two for each flow, say of it what the engine says, and no key is in two flows.
fn entries(world: &World, flows: &[FlowView]) -> Result<(), Broken> {
    must!(
        world.path.len() == 2 * flows.len() && flows.len() == world.engine.flow_count(),
        "{} entries for {} flows",
        world.path.len(),
        flows.len()
    );
    let slots: BTreeMap<_, _> = world.path.adjacencies().collect();
    let mut keys = HashSet::new();
    for FlowView { id, flow, .. } in flows {
        for direction in [Direction::Forward, Direction::Reverse] {
            let key = flow.key(direction);
            must!(keys.insert(*key), "{key} is a key of two flows, {id} among them");
            must!(
                world.name_of(key.port).is_some(),
                "flow {id} is on port {}, which is gone",
                key.port
            );
            let Some(entry) = world.path.entry(key) else {
                return Err(format!("flow {id} has no entry for {key}"));
            };
            let other = flow.key(direction.opposite());
            let right = entry.flow == *id
                && entry.direction == direction
                && entry.generation == flow.generation
                && entry.action.rewrite == other.tuple.reversed();
            must!(right, "flow {id} and its entry differ: {flow:?} {entry:?}");
            if let Some(slot) = slots.get(&entry.action.adjacency) {
                must!(
                    slot.port == other.port,
                    "flow {id} leaves by port {}, not {}",
                    slot.port,
                    other.port
                );
            }
        }
    }
    Ok(())
}

/// What every realm of the functions that lease ports has and holds.
fn usages(world: &World) -> impl Iterator<Item = RealmUsage> {
    let nat = world.engine.function_as::<Nat>().into_iter().flat_map(Nat::usage);
    let bridge = world.engine.function_as::<LambdaBridge>();
    let bridge = bridge.into_iter().flat_map(LambdaBridge::usage);
    nat.map(|it| it.1).chain(bridge.map(|it| it.1))
}

/// What is set aside, and reserved, is what is in stock for the fast path to make flows of.
fn stocks(world: &World) -> Result<(), Broken> {
    let stocked = world.path.stocked();
    let aside: usize = usages(world).map(|usage| usage.set_aside).sum();
    let reserved = world.engine.reserved_count();
    must!(aside == stocked, "{aside} ports are set aside, {stocked} in stock");
    must!(reserved == stocked, "{reserved} numbers are reserved, {stocked} in stock");
    Ok(())
}

/// What functions hold is what flows claim.
fn claims(world: &World, flows: &[FlowView]) -> Result<(), Broken> {
    let mut claimed = BTreeMap::<u8, BTreeSet<u32>>::new();
    for FlowView { id, flow, .. } in flows {
        for (function, claim) in flow.claims.iter() {
            let new = claimed.entry(function.0).or_default().insert(claim.0);
            must!(new, "flow {id} has a claim that another has too: {function:?} {claim:?}");
        }
    }
    let claimed = |function| claimed.get(&function).map_or(0, BTreeSet::len);
    let (Some(nat), Some(nlb), Some(bridge)) = (
        world.engine.function_as::<Nat>(),
        world.engine.function_as::<Nlb>(),
        world.engine.function_as::<LambdaBridge>(),
    ) else {
        return Err("a function is missing".to_owned());
    };
    // Flows that share a mapping share its lease.
    let (leased, mapped) = nat.usage().fold((0, 0), |(leased, mapped), (_, usage)| {
        (leased + usage.leases, mapped + usage.mappings)
    });
    let nat_flows = claimed(NAT);
    let alone = leased - mapped;
    must!(
        alone + mapped <= nat_flows && (mapped > 0 || alone == nat_flows),
        "NAT: {nat_flows} flows have {alone} leases and share {mapped} mappings"
    );
    let bridged: usize = bridge.usage().map(|(_, usage)| usage.leases).sum();
    let balanced: u64 = nlb.targets().iter().map(|target| target.active_flows).sum();
    for (name, held, counted, function) in [
        ("NAT", nat.held(), nat.held(), NAT),
        ("bridge", bridge.held(), bridged, BRIDGE),
        ("load balancer", balanced as usize, balanced as usize, NLB),
    ] {
        let claimed = claimed(function);
        must!(
            held == claimed && counted == claimed,
            "{name}: flows claim {claimed}, {held} are held, {counted} counted"
        );
    }
    Ok(())
}

/// How long a frame may be on its way.
pub(crate) const UNDERWAY: Duration = Duration::from_millis(400);

/// How long one may have waited for its next hop before: what is let in then is sent later.
pub(crate) const WAITED: Duration = Duration::from_secs(4);

/// How long no flow lives without a packet.
const LONGEST_IDLE: Duration = Duration::from_secs(350);

/// When the flow of a conversation may have begun, which another that was on the same ports may
/// have left: what groups track goes on, whoever speaks.
pub(crate) fn flow_since(talks: &[Talk], talk: &Talk) -> Time {
    let earlier = talks[..talk.id as usize].iter().rev().filter(|it| it.is_of_same_flow(talk));
    earlier
        .scan(talk.since, |since, it| {
            (it.heard + LONGEST_IDLE >= *since).then(|| *since = it.since)?;
            Some(it.since)
        })
        .last()
        .unwrap_or(talk.since)
}

/// A packet of a conversation came to an instance under these rules, from when on: some of them let
/// its flow in since that began. If none of those tracked it, it ended with them.
pub(crate) fn admitted(
    rules: &[(Time, Rules)],
    talk: &Talk,
    flow_since: Time,
    now: Time,
    underway: Duration,
) -> Result<(), Broken> {
    let ends = rules.iter().skip(1).map(|(since, _)| *since).chain([now]);
    let during = rules.iter().zip(ends).filter(|(_, end)| *end >= flow_since);
    let admitting: Vec<_> = during.filter(|((_, rules), _)| rules.admit(talk.protocol)).collect();
    let Some((_, end)) = admitting.last() else {
        return Err(format!("no rule has let in {} of conversation {}", talk.protocol, talk.id));
    };
    let tracks = |((_, rules), _): &(&(Time, Rules), Time)| !rules.leave_untracked(talk.protocol);
    // An instance takes an interrupted connection up again by sending: its rules let that out.
    let taken_up = talk.answered.is_some_and(|at| at + UNDERWAY >= *end);
    let outlives = talk.way != Way::Inside || admitting.iter().any(tracks) || taken_up;
    must!(
        outlives || *end + underway >= now,
        "{} of conversation {} outlives the rule that let it in untracked",
        talk.protocol,
        talk.id
    );
    Ok(())
}

/// After the last flow nothing is left: no entry, lease, next hop or deadline.
pub(crate) fn check_rest(world: &mut World) -> Result<(), Broken> {
    check(world)?;
    must!(world.engine.flow_count() == 0, "{} flows are left", world.engine.flow_count());
    must!(
        world.engine.neighbour_count() == 0,
        "{} next hops are left",
        world.engine.neighbour_count()
    );
    let slots = world.path.adjacencies().count();
    must!(slots == 0, "{slots} adjacencies are left in the fast path");
    let waiting = world.engine.counters().packets_waiting();
    must!(waiting == 0, "{waiting} packets wait for ever");
    let World { engine, path, now, .. } = world;
    let due = engine.advance(*now, path);
    must!(due.is_none(), "a timer is armed for {due:?}, now is {now:?}");
    let quarantined: usize = usages(world).map(|usage| usage.quarantined).sum();
    must!(quarantined == 0, "{quarantined} ports rest for ever");
    let templates = world.engine.template_count();
    must!(templates == 0, "{templates} templates are never taken back");
    must!(world.path.stocked() == 0, "{} lots are left in stock", world.path.stocked());
    Ok(())
}
