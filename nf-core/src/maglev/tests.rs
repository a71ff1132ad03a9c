//! Shares, agreement between nodes and disruption, against bounds and against the `maglev` crate.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use maglev::ConsistentHasher as _;
use proptest::prelude::*;
use siphasher::sip::SipHasher13;

use super::*;

const SEED: HashSeed = HashSeed { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };

/// A set of backends by id and weight, as its owner keeps it.
type Set = Vec<(Vec<u8>, u32)>;

fn build(size: TableSize, set: &Set) -> MaglevTable {
    let backends: Vec<Backend<'_>> =
        set.iter().map(|(id, weight)| Backend { id, weight: *weight }).collect();
    MaglevTable::build(size, SEED, &backends).unwrap()
}

/// The table with ids in its slots, to compare it with one from another list.
fn ids(size: TableSize, set: &Set) -> Vec<Vec<u8>> {
    build(size, set).slots().iter().map(|&index| set[usize::from(index)].0.clone()).collect()
}

fn counts(table: &MaglevTable, backends: usize) -> Vec<u32> {
    let mut counts = vec![0; backends];
    for &index in table.slots() {
        counts[usize::from(index)] += 1;
    }
    counts
}

/// `count` backends with ids like addresses and weights from 1 to 999 without a pattern.
fn weighted_set(count: u16) -> Set {
    (0..count)
        .map(|n| {
            let id = [[10, 0], n.to_be_bytes(), 443_u16.to_be_bytes()].concat();
            let weight = 1 + (SEED.hash(&id) % 999) as u32;
            (id, weight)
        })
        .collect()
}

/// Slots that were not `gone`'s in `before` and are another's in `after`.
fn moved_besides(gone: &[u8], before: &[Vec<u8>], after: &[Vec<u8>]) -> usize {
    before.iter().zip(after).filter(|(old, new)| *old != gone && old != new).count()
}

fn any_set(
    backends: std::ops::Range<usize>,
    weight: std::ops::Range<u32>,
) -> impl Strategy<Value = Set> {
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..12), weight, backends)
        .prop_map(|set| set.into_iter().collect())
}

proptest! {
    #[test]
    fn shares_follow_the_weights(set in any_set(1..60, 1..1000)) {
        let counts = counts(&build(TableSize::S1021, &set), set.len());
        let (n, total): (u32, u32) = set.iter().fold((0, 0), |(n, sum), (_, w)| (n + 1, sum + w));
        for ((_, weight), count) in set.iter().zip(counts) {
            // With T the time of the last turn, each count is within one of `weight * T` and all
            // of them together are the number of slots, so T is within n / total of exact.
            let exact = f64::from(*weight) * 1021.0 / f64::from(total);
            let tolerance = 1.0 + f64::from(n * weight) / f64::from(total);
            prop_assert!(count >= 1);
            prop_assert!((f64::from(count) - exact).abs() <= tolerance, "{count} for {exact}");
        }
    }

    #[test]
    fn equal_weights_get_shares_that_differ_by_one_slot_at_most(
        set in any_set(1..60, 1..2),
        weight in 1..=u32::MAX,
    ) {
        let set: Set = set.into_iter().map(|(id, _)| (id, weight)).collect();
        let counts = counts(&build(TableSize::S1021, &set), set.len());
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        (sorted, shuffled) in any_set(1..30, 0..1000)
            .prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle())),
    ) {
        prop_assume!(sorted.iter().any(|(_, weight)| *weight > 0));
        prop_assert_eq!(ids(TableSize::S251, &sorted), ids(TableSize::S251, &shuffled));
    }

    #[test]
    fn only_proportions_of_weights_matter(
        set in any_set(1..30, 1..1000),
        factor in 2_u32..4_000_000,
    ) {
        let scaled = set.iter().map(|(id, weight)| (id.clone(), weight * factor)).collect();
        prop_assert_eq!(build(TableSize::S251, &set), build(TableSize::S251, &scaled));
    }

    #[test]
    fn no_set_of_weights_breaks_the_table(set in any_set(0..251, 0..u32::MAX)) {
        let table = build(TableSize::S251, &set);
        let weighted = set.iter().filter(|(_, weight)| *weight > 0).count();
        prop_assert_eq!(table.slots().len(), if weighted == 0 { 0 } else { 251 });
        for ((_, weight), count) in set.iter().zip(counts(&table, set.len())) {
            prop_assert_eq!(*weight > 0, count > 0);
        }
    }
}

#[test]
fn when_one_of_a_thousand_weighted_backends_leaves_the_flows_of_the_others_stay() {
    let set = weighted_set(1000);
    let before = ids(TableSize::S65537, &set);
    let by_weight = |set: &Set| {
        let mut places: Vec<usize> = (0..set.len()).collect();
        places.sort_by_key(|&place| set[place].1);
        places
    };
    let places = by_weight(&set);
    // The lightest, the heaviest and some between.
    for gone in [places[0], places[250], places[500], places[750], places[999]] {
        let mut rest = set.clone();
        let (id, weight) = rest.remove(gone);
        let after = ids(TableSize::S65537, &rest);
        assert!(!after.contains(&id));
        let moved = moved_besides(&id, &before, &after);
        assert!(moved * 50 < before.len(), "weight {weight}: {moved} slots moved");
    }
}

#[test]
fn a_changed_weight_moves_little_more_than_the_difference() {
    let set = weighted_set(200);
    let before = build(TableSize::S16381, &set);
    let mut changed = set.clone();
    changed[77].1 *= 2;
    let after = build(TableSize::S16381, &changed);
    let gained = counts(&after, 200)[77] - counts(&before, 200)[77];
    assert!(gained > 0);
    let moved = before.slots().iter().zip(after.slots()).filter(|(old, new)| old != new).count();
    assert!(moved <= 4 * gained as usize + 16, "{gained} slots gained, {moved} moved");
}

#[test]
fn a_small_table_has_its_known_answer() {
    let set: Set =
        [("alpha", 1), ("bravo", 2), ("charlie", 3)].map(|(id, w)| (id.into(), w)).to_vec();
    let initials: String =
        ids(TableSize::new(23).unwrap(), &set).iter().map(|id| char::from(id[0])).collect();
    // Computed by another implementation, from this module's description alone.
    assert_eq!(initials, "cccaacbbabbccbaccbbccbc");
}

#[test]
fn a_larger_table_has_its_known_digest() {
    let set: Set = (0..10).map(|n| (vec![10, 0, 0, n], u32::from(n))).collect();
    let last_bytes: Vec<u8> = ids(TableSize::S251, &set).iter().map(|id| id[3]).collect();
    assert_eq!(SEED.hash(&last_bytes), 0x0d31_24b5_6b50_7acd);
}

#[test]
fn look_up_takes_the_slot_of_the_hash_modulo_the_size() {
    let table = build(TableSize::S251, &weighted_set(5));
    for hash in [0, 250, 251, 1_000_003, u64::MAX] {
        let slot = table.slots()[(hash % 251) as usize];
        assert_eq!(table.lookup(hash), Some(usize::from(slot)));
    }
}

#[test]
fn a_set_without_weight_has_no_answer() {
    for set in [vec![], vec![(b"only".to_vec(), 0)]] {
        let table = build(TableSize::default(), &set);
        assert_eq!(table.slots(), &[] as &[Slot]);
        assert_eq!(table.lookup(0), None);
        assert_eq!(table.lookup(u64::MAX), None);
    }
}

#[test]
fn what_cannot_be_built_is_refused_with_its_reason() {
    let named = |id| Backend { id, weight: 1 };
    let twice = [named(b"a".as_slice()), named(b"b"), named(b"a")];
    assert_eq!(
        MaglevTable::build(TableSize::S251, SEED, &twice),
        Err(MaglevError::DuplicateId { first: 0, second: 2 })
    );
    let two = TableSize::new(2).unwrap();
    assert_eq!(
        MaglevTable::build(two, SEED, &[named(b"a"), named(b"b"), named(b"c")]),
        Err(MaglevError::TooManyBackends { given: 3, max: 2 })
    );
    let ids: Vec<[u8; 4]> = (0..65_536_u32).map(u32::to_be_bytes).collect();
    let mut backends: Vec<Backend<'_>> = ids.iter().map(|id| named(id)).collect();
    assert_eq!(
        MaglevTable::build(TableSize::S65537, SEED, &backends),
        Err(MaglevError::TooManyBackends { given: 65_536, max: 65_535 })
    );
    backends.pop();
    let full = MaglevTable::build(TableSize::S65537, SEED, &backends).unwrap();
    assert!(counts(&full, backends.len()).iter().all(|&count| count == 1 || count == 2));
}

#[test]
fn a_size_is_a_prime_of_bounded_value() {
    let mut composite = vec![false; 5_000];
    for n in 2..5_000_u32 {
        let prime = !composite[n as usize];
        assert_eq!(TableSize::new(n).is_ok(), prime, "{n}");
        for multiple in (n * n..5_000).step_by(n as usize) {
            composite[multiple as usize] = true;
        }
    }
    for n in [0, 1, 65_536, 65_537 * 3, TableSize::MAX + 43, u32::MAX] {
        assert_eq!(TableSize::new(n), Err(MaglevError::BadSize { size: n }));
    }
    for constant in
        [TableSize::S251, TableSize::S1021, TableSize::S4093, TableSize::S16381, TableSize::S65537]
    {
        assert_eq!(TableSize::new(constant.get()), Ok(constant));
    }
}

/// Distribution and disruption of the unweighted crate, over the same ids and flows.
#[test]
fn equal_weights_spread_and_move_flows_no_worse_than_the_maglev_crate() {
    type Hasher = BuildHasherDefault<SipHasher13>;
    let set: Set = weighted_set(100).into_iter().map(|(id, _)| (id, 1)).collect();
    let (gone, _) = &set[42];
    let rest: Set = set.iter().filter(|(id, _)| id != gone).cloned().collect();
    let oracle = |set: &Set| {
        let ids: Vec<Vec<u8>> = set.iter().map(|(id, _)| id.clone()).collect();
        maglev::Maglev::with_capacity_and_hasher(ids, 65_537, Hasher::default())
    };
    let (our_before, our_after) = (build(TableSize::S65537, &set), build(TableSize::S65537, &rest));
    let (oracle_before, oracle_after) = (oracle(&set), oracle(&rest));
    assert_eq!(oracle_before.capacity(), 65_537);

    let flows = 200_000_u64;
    let mut ours = HashMap::<&[u8], u32>::new();
    let mut oracles = HashMap::<&[u8], u32>::new();
    let (mut our_moves, mut oracle_moves) = (0, 0);
    for flow in 0..flows {
        let hash = SEED.hash(&flow.to_be_bytes());
        let target = &set[our_before.lookup(hash).unwrap()].0;
        *ours.entry(target).or_default() += 1;
        our_moves +=
            u32::from(target != gone && *target != rest[our_after.lookup(hash).unwrap()].0);
        let target = oracle_before.get(&flow).unwrap();
        *oracles.entry(target).or_default() += 1;
        oracle_moves += u32::from(target != gone && target != oracle_after.get(&flow).unwrap());
    }
    // 2,000 flows each: both stray from that by chance alone, whose deviation is 44.5.
    let spread = |shares: &HashMap<&[u8], u32>| {
        assert_eq!(shares.len(), 100);
        shares.values().map(|&share| (f64::from(share) - 2_000.0).powi(2)).sum::<f64>() / 100.0
    };
    assert!(spread(&ours) < 2.0 * spread(&oracles), "{} {}", spread(&ours), spread(&oracles));
    assert!(oracle_moves > 0);
    assert!(our_moves < 2 * oracle_moves, "{our_moves} flows moved, {oracle_moves} by the crate");
    assert!(u64::from(our_moves) * 50 < flows);
}
