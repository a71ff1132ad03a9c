//! Numbered places for many small values, of which each takes no more than its own size.
//!
//! A function that holds eight bytes for each flow should take eight. A vacant place keeps the number
//! of the next one where the value would be, so if the value has a niche there is no room for more.
//! And it grows by one piece at a time: a `Vec` that doubles leaves half of itself unused, or behind
//! with the allocator, and has a packet wait while millions of values are moved.

/// Places of one piece.
const PIECE: usize = 4096;

/// The number of no place.
const NONE: u32 = u32::MAX;

/// Values by numbers that are given when they are put in.
#[derive(Debug)]
pub struct Slots<T> {
    /// Full but for the last one.
    pieces: Vec<Vec<Slot<T>>>,
    /// The vacant place to be taken first.
    vacant: u32,
    len: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Vacant { next: u32 },
    Taken(T),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slots<T> {
    /// Bytes that one place takes.
    pub const SIZE: usize = size_of::<Slot<T>>();

    /// No values, and no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { pieces: Vec::new(), vacant: NONE, len: 0 }
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value in; its number, which no other has until it is taken out. `None`, and the value is
    /// gone, if there are 2^32 - 1 already.
    pub fn insert(&mut self, value: T) -> Option<u32> {
        let number = if self.vacant == NONE {
            self.push(value)?
        } else {
            let number = self.vacant;
            let slot = self.slot(number)?;
            let Slot::Vacant { next } = std::mem::replace(slot, Slot::Taken(value)) else {
                unreachable!("only vacant places are in their list");
            };
            self.vacant = next;
            number
        };
        self.len += 1;
        Some(number)
    }

    fn push(&mut self, value: T) -> Option<u32> {
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let full = (self.pieces.len() - 1) * PIECE;
        let piece = self.pieces.last_mut()?;
        let number = u32::try_from(full + piece.len()).ok().filter(|number| *number != NONE)?;
        piece.push(Slot::Taken(value));
        Some(number)
    }

    /// The value of that number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&T> {
        let piece = self.pieces.get(number as usize / PIECE)?;
        match piece.get(number as usize % PIECE)? {
            Slot::Taken(value) => Some(value),
            Slot::Vacant { .. } => None,
        }
    }

    /// Takes the value of that number out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let next = self.vacant;
        let slot = self.slot(number).filter(|slot| matches!(slot, Slot::Taken(_)))?;
        let Slot::Taken(value) = std::mem::replace(slot, Slot::Vacant { next }) else {
            return None;
        };
        self.vacant = number;
        self.len -= 1;
        Some(value)
    }

    fn slot(&mut self, number: u32) -> Option<&mut Slot<T>> {
        self.pieces.get_mut(number as usize / PIECE)?.get_mut(number as usize % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU16;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_with_a_niche_takes_no_more_than_itself() {
        assert_eq!(Slots::<(u32, NonZeroU16)>::SIZE, 8);
        assert_eq!(Slots::<&str>::SIZE, 16);
    }

    #[test]
    fn numbers_go_on_from_piece_to_piece_and_those_set_free_are_given_first() {
        let mut slots = Slots::new();
        let count = 2 * PIECE as u32 + 1;
        for number in 0..count {
            assert_eq!(slots.insert(number * 3), Some(number));
        }
        assert_eq!((slots.pieces.len(), slots.len()), (3, 2 * PIECE + 1));
        assert!((0..count).all(|number| slots.get(number) == Some(&(number * 3))));
        assert_eq!(slots.get(count), None);
        for number in [7, PIECE as u32] {
            assert_eq!(slots.remove(number), Some(number * 3));
        }
        assert_eq!(slots.insert(1), Some(PIECE as u32));
        assert_eq!(slots.insert(2), Some(7));
        assert_eq!(slots.insert(3), Some(count));
    }

    proptest! {
        #[test]
        fn slots_agree_with_a_sorted_map(
            steps in prop::collection::vec((any::<bool>(), 0..12_u32), 0..200),
        ) {
            let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
            for (value, (insert, number)) in steps.into_iter().enumerate() {
                if insert {
                    let given = slots.insert(value).unwrap();
                    prop_assert!(model.insert(given, value).is_none(), "{} given twice", given);
                } else {
                    prop_assert_eq!(slots.remove(number), model.remove(&number));
                }
                prop_assert_eq!((slots.len(), slots.is_empty()), (model.len(), model.is_empty()));
                for number in 0..12 {
                    prop_assert_eq!(slots.get(number), model.get(&number));
                }
            }
            // As many places as there were values at one time, not as there ever were.
            prop_assert!(model.last_key_value().is_none_or(|(last, _)| *last < 200));
        }
    }
}
