//! The timers of the flow table: one deadline for each of its slots, on a hierarchical wheel.
//!
//! All memory is taken at the start. A bucket is a circular list that runs through the slots' own
//! links, so to arm, re-arm or cancel a timer is to change a few numbers in place, and a million
//! idle flows cost nothing between their deadlines.
//!
//! Time is cut into granules of 268 ms and each granule's number into digits of six bits. A timer
//! is filed by the highest digit in which its granule differs from the current one: level 0 if it
//! is within the same 64 granules (17 s), level 1 within the same 4,096 (18 min), level 2 within
//! 262,144 (20 h), and so on; six levels span all 32 bits. When the current granule reaches a
//! bucket of a higher level, the bucket's timers are filed anew, each at a lower level, so a timer
//! moves five times at most, and one of 350 s once or twice. (Varghese and Lauck, "Hashed and
//! Hierarchical Timing Wheels", SOSP '87, scheme 7.)

use std::time::Duration;

use crate::time::Time;

/// Bits of one digit.
const DIGIT: u32 = 6;
/// Buckets of one level.
const BUCKETS: u32 = 1 << DIGIT;
/// Enough digits for 32 bits.
const LEVELS: u32 = 6;
/// The granule of a deadline that is too far to be told. Time never reaches it.
const NEVER: u32 = u32::MAX;

/// One slot's place in a bucket, or one bucket's list.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// The neighbours in the circle. A slot that is not armed is its own.
    next: u32,
    prev: u32,
    /// The granule at whose beginning the deadline has passed.
    due: u32,
}

const _: () = assert!(size_of::<Link>() == 12, "a million flows feel every byte");

/// One timer per slot.
#[derive(Debug)]
pub struct Wheel {
    /// The slots' links and after them the buckets', level by level.
    links: Vec<Link>,
    capacity: u32,
    /// For each level, a bit for each bucket that has timers.
    occupied: [u64; LEVELS as usize],
    /// No armed timer is due before this granule.
    current: u32,
    /// What granules count from, in granules of the clock.
    origin: u64,
    armed: u32,
}

impl Wheel {
    const SHIFT: u32 = 28;

    /// The unit of the wheel's time, 268 ms: by how much a timer may fire late even if
    /// [`Self::advance`] is called all the time.
    pub const GRANULE: Duration = Duration::from_nanos(1 << Self::SHIFT);

    /// The largest number of slots.
    pub const MAX_CAPACITY: u32 = u32::MAX - LEVELS * BUCKETS;

    /// A wheel for the slots 0 to `capacity - 1`, none of them armed, `capacity` being at most
    /// [`Self::MAX_CAPACITY`]. Takes 12 bytes a slot.
    #[must_use]
    pub fn new(capacity: u32, start: Time) -> Self {
        let capacity = capacity.min(Self::MAX_CAPACITY);
        let links = (0..capacity + LEVELS * BUCKETS)
            .map(|place| Link { next: place, prev: place, due: NEVER })
            .collect();
        Self {
            links,
            capacity,
            occupied: [0; LEVELS as usize],
            current: 0,
            origin: start.as_nanos() >> Self::SHIFT,
            armed: 0,
        }
    }

    /// Sets the slot's timer, which may be armed already, to fire at `deadline`: not before, and
    /// with the first [`Self::advance`] one granule after at the latest. One in the past fires as
    /// soon as that.
    ///
    /// Does nothing if there is no such slot. A deadline more than 36 years after the start never
    /// fires.
    pub fn arm(&mut self, slot: u32, deadline: Time) {
        self.cancel(slot);
        if slot < self.capacity {
            let granule = deadline.as_nanos().div_ceil(1 << Self::SHIFT);
            let due = u32::try_from(granule.saturating_sub(self.origin)).unwrap_or(NEVER);
            self.links[slot as usize].due = due.max(self.current);
            self.file(slot);
            self.armed += 1;
        }
    }

    /// Stops the slot's timer, if it is armed.
    pub fn cancel(&mut self, slot: u32) {
        if self.is_armed(slot) {
            self.unlink(slot);
            self.armed -= 1;
        }
    }

    /// Whether the slot's timer will fire.
    #[must_use]
    pub fn is_armed(&self, slot: u32) -> bool {
        slot < self.capacity && self.links[slot as usize].next != slot
    }

    /// How many timers are armed.
    #[must_use]
    pub const fn armed(&self) -> u32 {
        self.armed
    }

    /// Appends to `fired` the slots whose deadlines have passed at `now`; their timers are no
    /// longer armed. At most `limit` timers are touched, those that are only filed anew included;
    /// whether that was too few, so that the caller should come back soon.
    pub fn advance(&mut self, now: Time, limit: usize, fired: &mut Vec<u32>) -> bool {
        let granule = (now.as_nanos() >> Self::SHIFT).saturating_sub(self.origin);
        let now = u32::try_from(granule).unwrap_or(NEVER).min(NEVER - 1);
        let mut left = limit;
        while let Some((level, granule)) = self.next_bucket()
            && granule <= now
        {
            self.current = granule;
            let bucket = self.bucket(level, granule);
            loop {
                let slot = self.links[bucket as usize].next;
                if slot == bucket {
                    break;
                }
                if left == 0 {
                    return true;
                }
                left -= 1;
                self.unlink(slot);
                if level == 0 {
                    self.armed -= 1;
                    fired.push(slot);
                } else {
                    self.file(slot);
                }
            }
        }
        // Nothing is due before the next granule, and what is armed until then is in no hurry.
        self.current = self.current.max(now + 1);
        false
    }

    /// When [`Self::advance`] has something to do next: not after the first timer may fire, but
    /// perhaps before, when timers are to be filed anew. None if no timer is armed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let (_, granule) = self.next_bucket()?;
        Some(Time::from_nanos((self.origin + u64::from(granule)).saturating_mul(1 << Self::SHIFT)))
    }

    /// The level and first granule of the first bucket in time that has timers.
    fn next_bucket(&self) -> Option<(u32, u32)> {
        (0..LEVELS)
            .zip(self.occupied)
            .filter(|(_, occupied)| *occupied != 0)
            .map(|(level, occupied)| {
                // A level's timers share the current granule's higher digits and none is behind it
                // in this one.
                let above = (level + 1) * DIGIT;
                let higher = self.current.checked_shr(above).unwrap_or(0);
                let digit = occupied.trailing_zeros();
                (level, higher.checked_shl(above).unwrap_or(0) | digit << (level * DIGIT))
            })
            // It need not be of the lowest level: timers armed just after the current granule
            // reached a higher level's bucket stand beside those that are yet to be filed anew.
            .min_by_key(|(_, granule)| *granule)
    }

    /// The place of the bucket of `granule` in a level.
    const fn bucket(&self, level: u32, granule: u32) -> u32 {
        self.capacity + level * BUCKETS + (granule >> (level * DIGIT)) % BUCKETS
    }

    /// Puts a slot at the end of the bucket where it belongs, seen from the current granule.
    fn file(&mut self, slot: u32) {
        let due = self.links[slot as usize].due;
        // Digits below the highest that differs do not matter, nor does bit 0 if none differs.
        let level = ((due ^ self.current) | 1).ilog2() / DIGIT;
        let bucket = self.bucket(level, due);
        let last = self.links[bucket as usize].prev;
        self.links[slot as usize] = Link { next: bucket, prev: last, due };
        self.links[last as usize].next = slot;
        self.links[bucket as usize].prev = slot;
        self.occupied[level as usize] |= 1 << ((bucket - self.capacity) % BUCKETS);
    }

    fn unlink(&mut self, slot: u32) {
        let Link { next, prev, due } = self.links[slot as usize];
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.links[slot as usize] = Link { next: slot, prev: slot, due };
        // Only a bucket can be on both sides, and then it has no other timer.
        if next == prev {
            let bucket = next - self.capacity;
            self.occupied[(bucket / BUCKETS) as usize] &= !(1 << (bucket % BUCKETS));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Neither zero nor the beginning of a granule.
    const START: Time = Time::from_nanos(987_654_321_012_345_678);

    fn wheel(capacity: u32) -> Wheel {
        Wheel::new(capacity, START)
    }

    fn granules(count: u32) -> Duration {
        Wheel::GRANULE * count
    }

    /// All that fires at `now`.
    fn advance(wheel: &mut Wheel, now: Time) -> Vec<u32> {
        let mut fired = Vec::new();
        assert!(!wheel.advance(now, usize::MAX, &mut fired));
        fired
    }

    /// When the only timer fires if the wheel is advanced just when it asks for it, and how often
    /// that was.
    fn follow(wheel: &mut Wheel) -> (Time, u32) {
        for round in 1.. {
            let now = wheel.next_deadline().unwrap();
            if !advance(wheel, now).is_empty() {
                return (now, round);
            }
        }
        unreachable!()
    }

    #[test]
    fn a_timer_fires_once_within_a_granule_after_its_deadline() {
        let mut wheel = wheel(8);
        let deadline = START + Duration::from_secs(350);
        wheel.arm(5, deadline);
        assert!(wheel.is_armed(5) && !wheel.is_armed(4));
        assert_eq!(advance(&mut wheel, deadline - Duration::from_nanos(1)), []);
        assert_eq!(advance(&mut wheel, deadline + Wheel::GRANULE), [5]);
        assert!(!wheel.is_armed(5));
        assert_eq!((wheel.armed(), wheel.next_deadline()), (0, None));
        assert_eq!(advance(&mut wheel, deadline + Duration::from_secs(1_000_000)), []);
    }

    #[test]
    fn deadlines_around_every_cascade_are_kept() {
        for level in 0..6 {
            for offset in -2..=2_i32 {
                for ahead in [0, 1, 63, 64, 4095] {
                    let mut wheel = wheel(1);
                    let now = START + granules(ahead);
                    advance(&mut wheel, now);
                    let distance = (1_u32 << (6 * level)).saturating_add_signed(offset);
                    let deadline = now + granules(distance);
                    wheel.arm(0, deadline);
                    let (fired, rounds) = follow(&mut wheel);
                    assert!(fired >= deadline, "{distance}: early");
                    assert!(fired <= deadline + Wheel::GRANULE, "{distance}: late");
                    assert!(rounds <= LEVELS, "{distance}: {rounds} rounds");
                }
            }
        }
    }

    #[test]
    fn a_timer_armed_between_a_bucket_and_its_turn_does_not_delay_it() {
        let mut wheel = wheel(2);
        // The first granule of a level 1 bucket is the next one to come.
        let origin = Time::from_nanos(START.as_nanos() >> Wheel::SHIFT << Wheel::SHIFT);
        wheel.arm(0, origin + granules(65));
        advance(&mut wheel, origin + granules(63));
        wheel.arm(1, origin + granules(70));
        assert_eq!(wheel.next_deadline(), Some(origin + granules(64)));
        assert_eq!(advance(&mut wheel, origin + granules(65)), [0]);
        assert_eq!(advance(&mut wheel, origin + granules(70)), [1]);
    }

    #[test]
    fn far_deadlines_are_kept_and_those_past_all_time_never_come() {
        let day = Duration::from_hours(24);
        let mut wheel = wheel(3);
        for days in [5, 49, 365, 12_000] {
            let deadline = START + day * days;
            wheel.arm(0, deadline);
            let (fired, rounds) = follow(&mut wheel);
            assert!(fired >= deadline && fired <= deadline + Wheel::GRANULE, "{days} days");
            assert!(rounds <= LEVELS);
        }
        wheel.arm(1, START + day * 366 * 37);
        wheel.arm(2, Time::from_nanos(u64::MAX));
        assert_eq!(advance(&mut wheel, Time::from_nanos(u64::MAX)), []);
        assert_eq!(wheel.armed(), 2);
        wheel.arm(0, START);
        assert_eq!(advance(&mut wheel, Time::from_nanos(u64::MAX)), []);
    }

    #[test]
    fn a_deadline_in_the_past_fires_within_a_granule() {
        let mut wheel = wheel(2);
        let now = START + Duration::from_secs(100);
        advance(&mut wheel, now);
        wheel.arm(0, START);
        wheel.arm(1, Time::default());
        let next = wheel.next_deadline().unwrap();
        assert!(next <= now + Wheel::GRANULE);
        assert_eq!(advance(&mut wheel, next), [0, 1]);
    }

    #[test]
    fn arming_again_replaces_the_deadline_and_cancelling_removes_it() {
        let mut wheel = wheel(3);
        let (early, late) = (START + Duration::from_secs(10), START + Duration::from_secs(5000));
        wheel.arm(0, early);
        wheel.arm(0, late);
        wheel.arm(1, late);
        wheel.arm(1, early);
        wheel.arm(2, early);
        wheel.cancel(2);
        wheel.cancel(2);
        assert_eq!(wheel.armed(), 2);
        assert_eq!(advance(&mut wheel, early + Wheel::GRANULE), [1]);
        assert_eq!(advance(&mut wheel, late - Wheel::GRANULE), []);
        assert_eq!(advance(&mut wheel, late + Wheel::GRANULE), [0]);
    }

    #[test]
    fn a_slot_that_does_not_exist_is_left_alone() {
        let mut wheel = wheel(4);
        for slot in [4, 5, 4 + LEVELS * BUCKETS, u32::MAX] {
            wheel.arm(slot, START);
            wheel.cancel(slot);
            assert!(!wheel.is_armed(slot));
        }
        assert_eq!((wheel.armed(), wheel.next_deadline()), (0, None));
    }

    #[test]
    fn the_limit_bounds_every_call_and_loses_nothing() {
        let mut wheel = wheel(1000);
        // Far enough to be filed anew first, which counts as well.
        let deadline = START + granules(70);
        for slot in 0..1000 {
            wheel.arm(slot, deadline);
        }
        let now = deadline + Wheel::GRANULE;
        let mut fired = Vec::new();
        assert!(wheel.advance(now, 0, &mut fired));
        let mut calls = 0;
        loop {
            let before = fired.len();
            let more = wheel.advance(now, 10, &mut fired);
            calls += 1;
            assert!(fired.len() - before <= 10);
            if !more {
                break;
            }
            assert_eq!(wheel.next_deadline().map(|next| next <= now), Some(true));
            // A timer that is taken out or put in half-way is no trouble.
            if calls == 50 {
                wheel.cancel(998);
                wheel.arm(999, now + granules(3));
            }
        }
        assert_eq!(calls, 200);
        assert_eq!(fired, (0..998).collect::<Vec<u32>>());
        assert_eq!(advance(&mut wheel, now + granules(4)), [999]);
    }

    #[test]
    fn a_timer_that_is_armed_again_and_again_stays_in_time_for_days() {
        let mut wheel = wheel(1);
        let idle = Duration::from_secs(350);
        let mut deadline = START + idle;
        let mut fires = 0;
        wheel.arm(0, deadline);
        while deadline < START + Duration::from_hours(6 * 24) {
            let (now, _) = follow(&mut wheel);
            assert!(now >= deadline && now <= deadline + Wheel::GRANULE);
            fires += 1;
            deadline = now + idle;
            wheel.arm(0, deadline);
        }
        assert!((1479..=1481).contains(&fires), "{fires}");
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Arm { slot: u32, after: Duration },
        Cancel { slot: u32 },
        Advance { by: Duration, limit: usize },
    }

    /// Durations of every magnitude from nothing to ten days.
    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            0..400_000_000_u64,
            0..20_000_000_000_u64,
            0..1_200_000_000_000_u64,
            0..864_000_000_000_000_u64,
        ]
        .prop_map(Duration::from_nanos)
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0..40_u32, any_duration()).prop_map(|(slot, after)| Step::Arm { slot, after }),
            1 => (0..40_u32).prop_map(|slot| Step::Cancel { slot }),
            3 => (any_duration(), prop_oneof![0..6_usize, Just(usize::MAX)])
                .prop_map(|(by, limit)| Step::Advance { by, limit }),
        ]
    }

    /// Takes what fired out of the model, in which it must be due.
    fn settle(
        model: &mut BTreeMap<u32, Time>,
        fired: &[u32],
        now: Time,
    ) -> Result<(), TestCaseError> {
        for slot in fired {
            let deadline = model.remove(slot);
            prop_assert!(deadline.is_some_and(|deadline| deadline <= now), "{slot}: {deadline:?}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(steps in prop::collection::vec(any_step(), 0..200)) {
            let (mut wheel, mut model, mut now) = (wheel(40), BTreeMap::new(), START);
            for step in steps {
                match step {
                    Step::Arm { slot, after } => {
                        // Some are past already; those are due at once.
                        let deadline = now + after - granules(2);
                        wheel.arm(slot, deadline);
                        model.insert(slot, deadline.max(now));
                    }
                    Step::Cancel { slot } => {
                        wheel.cancel(slot);
                        model.remove(&slot);
                    }
                    Step::Advance { by, limit } => {
                        now = now + by;
                        let mut fired = Vec::new();
                        let more = wheel.advance(now, limit, &mut fired);
                        prop_assert!(fired.len() <= limit);
                        settle(&mut model, &fired, now)?;
                        if !more {
                            let late = model.values().find(|due| **due + Wheel::GRANULE <= now);
                            prop_assert_eq!(late, None);
                            prop_assert!(wheel.next_deadline().is_none_or(|next| next > now));
                        }
                    }
                }
                prop_assert_eq!(wheel.armed() as usize, model.len());
                for slot in 0..40 {
                    prop_assert_eq!(wheel.is_armed(slot), model.contains_key(&slot));
                }
                match (wheel.next_deadline(), model.values().min()) {
                    (None, None) => {}
                    (Some(next), Some(&first)) => {
                        prop_assert!(next <= first.max(now) + Wheel::GRANULE);
                    }
                    (next, first) => prop_assert!(false, "{next:?}, but {first:?}"),
                }
            }
            // What is left comes in time if the wheel is advanced when it asks for it.
            while let Some(next) = wheel.next_deadline() {
                now = now.max(next);
                let fired = advance(&mut wheel, now);
                settle(&mut model, &fired, now)?;
                let late = model.values().find(|due| **due + Wheel::GRANULE <= now);
                prop_assert_eq!(late, None);
            }
            prop_assert!(model.is_empty());
        }
    }
}
