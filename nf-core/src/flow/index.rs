//! The index of the flow table: numbers of flows, found by hashes of their keys.
//!
//! It is as large as its capacity asks for, not the next power of two, so that it is five sixths
//! full when the table is, and it never grows. A bucket is one cache line of twelve places, and each
//! entry is in one of two buckets: when it comes, in the emptier one. If both are full, one of those
//! in them goes to its own other bucket (Pagh and Rodler, "Cuckoo Hashing", ESA 2001), which is one
//! arrival in sixty while flows come and go in a full table. A search is over after two buckets, and
//! an entry that is removed leaves nothing behind that would make another one longer.
//!
//! A tag of eight bits of the hash stands beside each entry, so that hardly any record but the right
//! one is looked at. The tag and either bucket say which the other one is, so that an entry can go
//! there without a look at its key (Fan and others, "Cuckoo Filter", `CoNEXT` '14).

/// Places of a bucket.
const PLACES: usize = 12;

/// Entries for which one bucket is made. With eleven, one arrival in six would move another entry.
const PER_BUCKET: usize = 10;

/// The tag of a vacant place.
const VACANT: u8 = 0;

/// One in each byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);

/// Numbers by hash.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
    /// Entries whose buckets were full of others that could not go elsewhere. Chance does not bring
    /// that about in a table of any size, but there is no bound to chance.
    homeless: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Bucket {
    /// Of each place.
    tags: [u8; PLACES],
    entries: [u32; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64, "a million flows have two million entries");

/// Where the entries of one hash may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whereabouts {
    tag: u8,
    buckets: [usize; 2],
}

/// Places of one bucket: a byte for the place `n` and `n + 8`, of which bit 0 and bit 4 are theirs.
#[derive(Debug)]
struct Places(u64);

impl Index {
    /// An index for so many entries. Takes 6.4 bytes for each.
    pub(super) fn with_capacity(entries: usize) -> Self {
        let empty = Bucket { tags: [VACANT; PLACES], entries: [0; PLACES] };
        let buckets = vec![empty; entries.div_ceil(PER_BUCKET).max(1)];
        Self { buckets, homeless: Vec::new() }
    }

    /// Where entries of that hash are.
    pub(super) fn whereabouts(&self, hash: u64) -> Whereabouts {
        let low = hash as u8;
        let tag = if low == VACANT { 1 } else { low };
        let one = self.share(hash >> 32);
        Whereabouts { tag, buckets: [one, self.other(one, tag)] }
    }

    /// The entry there for which `is` holds.
    pub(super) fn find(&self, at: &Whereabouts, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        for bucket in &at.buckets {
            let bucket = &self.buckets[*bucket];
            for place in bucket.places(at.tag) {
                if is(bucket.entries[place]) {
                    return Some(bucket.entries[place]);
                }
            }
        }
        self.homeless.iter().copied().find(|entry| is(*entry))
    }

    /// Adds an entry that is not in yet.
    pub(super) fn insert(&mut self, at: &Whereabouts, entry: u32) {
        let [one, other] = at.buckets;
        let in_one = self.buckets[one].places(VACANT);
        let in_other = self.buckets[other].places(VACANT);
        let (bucket, mut vacant) =
            if in_other.len() > in_one.len() { (other, in_other) } else { (one, in_one) };
        match vacant.next().map(|place| (bucket, place)).or_else(|| self.make_room(at.buckets)) {
            Some((bucket, place)) => self.buckets[bucket].put(place, at.tag, entry),
            None => self.homeless.push(entry),
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, at: &Whereabouts, entry: u32) {
        for bucket in &at.buckets {
            let bucket = &mut self.buckets[*bucket];
            if let Some(place) = bucket.places(at.tag).find(|it| bucket.entries[*it] == entry) {
                bucket.tags[place] = VACANT;
                return;
            }
        }
        self.homeless.retain(|other| *other != entry);
    }

    /// A place in one of two full buckets, whose entry goes to its other one.
    fn make_room(&mut self, full: [usize; 2]) -> Option<(usize, usize)> {
        for bucket in full {
            for place in 0..PLACES {
                let Bucket { tags, entries } = self.buckets[bucket];
                let other = self.other(bucket, tags[place]);
                if let Some(vacant) = self.buckets[other].places(VACANT).next() {
                    self.buckets[other].put(vacant, tags[place], entries[place]);
                    return Some((bucket, place));
                }
            }
        }
        None
    }

    /// The bucket besides this one where an entry of that tag may be. They add up to what the tag
    /// stands for, so either is the other's other one; they may be the same.
    fn other(&self, bucket: usize, tag: u8) -> usize {
        // 2^32 divided by the golden ratio: multiples of it are far from each other.
        let sum = self.share(u64::from(u32::from(tag).wrapping_mul(0x9e37_79b9)));
        if sum < bucket { sum + self.buckets.len() - bucket } else { sum - bucket }
    }

    /// A bucket for a number of 32 bits: as even as a remainder, and no division.
    fn share(&self, number: u64) -> usize {
        ((number * self.buckets.len() as u64) >> 32) as usize
    }
}

impl Bucket {
    /// The places with that tag.
    fn places(&self, tag: u8) -> Places {
        let (mut low, mut high) = ([0; 8], [0; 4]);
        low.copy_from_slice(&self.tags[..8]);
        high.copy_from_slice(&self.tags[8..]);
        let low = matches(u64::from_le_bytes(low), tag);
        let high = matches(u32::from_le_bytes(high).into(), tag) & 0x8080_8080;
        Places(low >> 7 | high >> 3)
    }

    fn put(&mut self, place: usize, tag: u8, entry: u32) {
        self.tags[place] = tag;
        self.entries[place] = entry;
    }
}

impl Places {
    /// How many there are. The machine's own instruction is not in every one.
    const fn len(&self) -> u64 {
        ((self.0 + (self.0 >> 4)) & (ONES * 3)).wrapping_mul(ONES) >> 56
    }
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros())?;
        self.0 &= self.0 - 1;
        Some((bit / 8 + bit % 8 * 2) as usize)
    }
}

/// The highest bit of each byte of `word` that is `tag`.
const fn matches(word: u64, tag: u8) -> u64 {
    const REST: u64 = ONES * 0x7f;
    let differences = word ^ (ONES * tag as u64);
    // A bit that differs carries into the highest one of its byte, and no further.
    !(((differences & REST) + REST) | differences | REST)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl Index {
        fn at(&self, number: u32) -> Whereabouts {
            self.whereabouts(hash(number))
        }

        fn is_empty(&self) -> bool {
            let vacant = self.buckets.iter().all(|bucket| bucket.tags == [VACANT; PLACES]);
            vacant && self.homeless.is_empty()
        }
    }

    /// Spreads numbers as a hash does (`SplitMix64`, Steele and others, OOPSLA '14).
    fn hash(number: u32) -> u64 {
        let mut x = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    #[test]
    fn every_place_is_found_by_its_tag_alone() {
        for place in 0..PLACES {
            for tag in [VACANT, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff] {
                for other in [tag ^ 1, tag ^ 0x80, tag.wrapping_sub(1), tag.wrapping_add(1)] {
                    let mut bucket = Bucket { tags: [other; PLACES], entries: [0; PLACES] };
                    bucket.tags[place] = tag;
                    assert_eq!(bucket.places(tag).collect::<Vec<_>>(), [place]);
                    let others: BTreeSet<_> = bucket.places(other).collect();
                    assert_eq!(others, (0..PLACES).filter(|it| *it != place).collect());
                    assert_eq!(bucket.places(other).len(), 11);
                }
            }
        }
    }

    #[test]
    fn either_bucket_is_the_other_ones_other() {
        for entries in [1, 15, 25, 1000, 1234] {
            let index = Index::with_capacity(entries);
            for bucket in 0..index.buckets.len() {
                for tag in 1..=u8::MAX {
                    let other = index.other(bucket, tag);
                    assert!(other < index.buckets.len());
                    assert_eq!(index.other(other, tag), bucket);
                }
            }
        }
    }

    #[test]
    fn hardly_another_entry_is_looked_at_than_the_one_that_is_searched() {
        const ENTRIES: u32 = 100_000;
        let mut index = Index::with_capacity(ENTRIES as usize);
        for entry in 0..ENTRIES {
            index.insert(&index.at(entry), entry);
        }
        let mut others = 0;
        for entry in 0..2 * ENTRIES {
            let found = index.find(&index.at(entry), |other| {
                others += u32::from(other != entry);
                other == entry
            });
            assert_eq!(found, (entry < ENTRIES).then_some(entry));
        }
        // Twenty others in two buckets, of which one in 255 has the same tag: 0.08 for one that is
        // not there, less than half of that for one that is.
        assert!(others < ENTRIES / 8, "{others}");
    }

    #[test]
    fn entries_that_come_and_go_in_a_full_index_find_room_to_the_end() {
        const ENTRIES: u32 = 10_000;
        let mut index = Index::with_capacity(ENTRIES as usize);
        for entry in 0..ENTRIES {
            index.insert(&index.at(entry), entry);
        }
        for gone in 0..100 * ENTRIES {
            index.remove(&index.at(gone), gone);
            index.insert(&index.at(gone + ENTRIES), gone + ENTRIES);
            assert!(index.homeless.is_empty());
        }
        for entry in 100 * ENTRIES..101 * ENTRIES {
            assert_eq!(index.find(&index.at(entry), |other| other == entry), Some(entry));
            index.remove(&index.at(entry), entry);
        }
        assert!(index.is_empty());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert { hash: u64, entry: u32 },
        Remove { which: prop::sample::Index },
    }

    proptest! {
        /// Few hashes, so that buckets are full, entries have to move, and some find no room.
        #[test]
        fn the_index_agrees_with_a_set(
            capacity in 1..80_usize,
            steps in prop::collection::vec(
                prop_oneof![
                    3 => (0..4_u64, 0..3_u64, 0..20_u32).prop_map(|(home, tag, entry)| {
                        // No two hashes have an entry in common: an index holds each but once.
                        let entry = entry << 4 | (home << 2 | tag) as u32;
                        Step::Insert { hash: home << 62 | (tag * 0x55), entry }
                    }),
                    2 => any::<prop::sample::Index>().prop_map(|which| Step::Remove { which }),
                ],
                0..400,
            ),
        ) {
            let mut index = Index::with_capacity(capacity);
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert { hash, entry } => {
                        if model.len() < capacity && model.insert((hash, entry)) {
                            index.insert(&index.whereabouts(hash), entry);
                        }
                    }
                    Step::Remove { which } if !model.is_empty() => {
                        let (hash, entry) = *which.get(&Vec::from_iter(model.clone()));
                        model.remove(&(hash, entry));
                        index.remove(&index.whereabouts(hash), entry);
                    }
                    // There is none of this number, and so nothing to take out.
                    Step::Remove { .. } => index.remove(&index.whereabouts(0), 0),
                }
                for (hash, entry) in &model {
                    prop_assert_eq!(index.find(&index.whereabouts(*hash), |it| it == *entry), Some(*entry));
                }
                let taken = |bucket: &Bucket| PLACES as u64 - bucket.places(VACANT).len();
                let taken: u64 = index.buckets.iter().map(taken).sum();
                prop_assert_eq!(taken as usize + index.homeless.len(), model.len());
            }
            for (hash, entry) in model {
                index.remove(&index.whereabouts(hash), entry);
                prop_assert_eq!(index.find(&index.whereabouts(hash), |it| it == entry), None);
            }
            prop_assert!(index.is_empty());
        }
    }
}
