//! Identifications of the gateway's own. Two hosts behind one address may use the same one toward
//! one server, which could not tell the parts of both datagrams apart (RFC 3022, section 6.3; RFC
//! 6864, section 5.3).
//!
//! Each is used once before any is used again, and none that a datagram under way has. The order is
//! a permutation that nobody can guess without the seed: a plain count would tell one client how
//! much others send (RFC 7739, section 4).

use std::collections::HashSet;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Rounds of the permutation. Luby and Rackoff, "How to construct pseudorandom permutations from
/// pseudorandom functions": with four, even who may ask for any place cannot tell it from chance.
const ROUNDS: u8 = 4;

#[derive(Debug)]
pub(super) struct Identifications {
    seed: u64,
    /// How many were taken of each family.
    taken4: u16,
    taken6: u32,
    /// IPv4's that datagrams under way have. Of IPv6's there are too many to come round.
    held: HashSet<u16, ahash::RandomState>,
}

impl Identifications {
    pub(super) fn new(seed: u64) -> Self {
        let held = HashSet::with_hasher(ahash::RandomState::with_seeds(seed, 19, 20, 21));
        Self { seed, taken4: 0, taken6: 0, held }
    }

    /// One that nobody holds. Fewer than 65,536 are ever held.
    pub(super) fn take(&mut self, is_ipv4: bool) -> u32 {
        if !is_ipv4 {
            self.taken6 = self.taken6.wrapping_add(1);
            return self.permuted(self.taken6, 16);
        }
        loop {
            self.taken4 = self.taken4.wrapping_add(1);
            let identification = self.permuted(u32::from(self.taken4), 8);
            if !self.held.contains(&(identification as u16)) {
                return identification;
            }
        }
    }

    /// The same, held until it is released.
    pub(super) fn hold(&mut self, is_ipv4: bool) -> u32 {
        let identification = self.take(is_ipv4);
        if is_ipv4 {
            self.held.insert(identification as u16);
        }
        identification
    }

    pub(super) fn release(&mut self, is_ipv4: bool, identification: u32) {
        if is_ipv4 {
            self.held.remove(&(identification as u16));
        }
    }

    /// A Feistel network over two halves of so many bits.
    fn permuted(&self, number: u32, half: u32) -> u32 {
        let mask = (1 << half) - 1;
        let (mut left, mut right) = (number >> half & mask, number & mask);
        for round in 0..ROUNDS {
            let mut hasher = SipHasher13::new_with_keys(self.seed, u64::from(half));
            hasher.write_u8(round);
            hasher.write_u32(right);
            (left, right) = (right, left ^ hasher.finish() as u32 & mask);
        }
        left << half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_used_once_before_any_is_used_again() {
        let mut all = Identifications::new(1);
        let first: Vec<u32> = (0..1 << 16).map(|_| all.take(true)).collect();
        assert!(first.iter().all(|it| *it < 1 << 16));
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 1 << 16);
        assert_eq!(all.take(true), first[0]);
        let wide: HashSet<u32> = (0..100_000).map(|_| all.take(false)).collect();
        assert_eq!(wide.len(), 100_000);
        assert!(wide.iter().filter(|it| **it >= 1 << 31).count() > 40_000, "over all 32 bits");
    }

    #[test]
    fn one_that_is_held_is_passed_over_until_it_is_released() {
        let mut all = Identifications::new(1);
        let held = all.hold(true);
        assert!((0..1 << 16).all(|_| all.take(true) != held));
        all.release(true, held);
        assert!((0..1 << 16).any(|_| all.take(true) == held));
    }

    #[test]
    fn their_order_is_the_seeds() {
        let some = |seed| {
            let mut all = Identifications::new(seed);
            [(); 8].map(|()| all.take(true))
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
        let steps: HashSet<u32> = some(1).windows(2).map(|it| it[1].wrapping_sub(it[0])).collect();
        assert!(steps.len() > 3, "no count: {steps:?}");
    }
}
