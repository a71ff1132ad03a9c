//! Which bytes of one datagram have come: every fragment once, none over another.

use crate::packet::Part;

/// Fragments that one datagram may have. The longest datagram has 45 on Ethernet, and 119 on links
/// of 576 bytes.
pub(super) const MOST: usize = 128;

/// The fragments of a datagram that have come.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Beginning and end of each, in bytes, in their order; none reaches into the next.
    spans: Vec<(u16, u16)>,
    /// Where the datagram ends, once its last fragment has come.
    end: Option<u16>,
}

/// What a fragment is to those that have come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It carries bytes that have not come yet.
    New,
    /// It carries the bytes of one that has come.
    Again,
    /// It carries bytes that others have carried as well, or another end.
    Overlaps,
    /// There are [`MOST`] already.
    TooMany,
}

impl Parts {
    /// Takes a fragment in, if it is new.
    pub(super) fn add(&mut self, part: Part) -> Added {
        let at = self.spans.partition_point(|(start, _)| *start < part.start);
        let (before, behind) = self.spans.split_at(at);
        let span = (part.start, part.end);
        if behind.first() == Some(&span) {
            let same = part.is_last == (self.end == Some(part.end));
            return if same { Added::Again } else { Added::Overlaps };
        }
        let reaches_back = before.last().is_some_and(|(_, end)| *end > part.start);
        let reaches_on = behind.first().is_some_and(|(start, _)| *start < part.end);
        let other_end = match self.end {
            Some(end) => part.is_last || part.end > end,
            None => part.is_last && !behind.is_empty(),
        };
        if reaches_back || reaches_on || other_end {
            return Added::Overlaps;
        }
        if self.spans.len() == MOST {
            return Added::TooMany;
        }
        self.spans.insert(at, span);
        if part.is_last {
            self.end = Some(part.end);
        }
        Added::New
    }

    /// Forgets all fragments but this one.
    pub(super) fn begin_anew(&mut self, part: Part) {
        *self = Self::default();
        self.add(part);
    }

    /// Whether every byte has come.
    pub(super) fn are_complete(&self) -> bool {
        let bytes: usize = self.spans.iter().map(|(start, end)| usize::from(end - start)).sum();
        self.end.is_some_and(|end| usize::from(end) == bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(start: u16, end: u16) -> Part {
        Part { start, end, is_last: false }
    }

    fn last(start: u16, end: u16) -> Part {
        Part { start, end, is_last: true }
    }

    /// The fragments that have come before, and what the last one of the list is to them.
    fn added(parts: &[Part]) -> Added {
        let mut all = Parts::default();
        let (added, before) = parts.split_last().unwrap();
        for part in before {
            assert_eq!(all.add(*part), Added::New, "{part:?}");
        }
        all.add(*added)
    }

    #[test]
    fn fragments_that_touch_do_not_overlap() {
        assert_eq!(added(&[part(0, 8), part(16, 24), part(8, 16)]), Added::New);
        assert_eq!(added(&[last(16, 20), part(8, 16)]), Added::New);
    }

    #[test]
    fn the_same_bytes_again_are_no_overlap() {
        assert_eq!(added(&[part(0, 8), part(8, 16), part(8, 16)]), Added::Again);
        assert_eq!(added(&[part(0, 8), last(8, 13), last(8, 13)]), Added::Again);
    }

    #[test]
    fn every_overlap_is_found() {
        let between = [part(0, 16), part(32, 48)];
        let overlapping =
            [(0, 8), (0, 24), (8, 16), (8, 24), (24, 40), (16, 40), (32, 40), (40, 48), (40, 56)];
        for (start, end) in overlapping {
            let parts = [between[0], between[1], part(start, end)];
            assert_eq!(added(&parts), Added::Overlaps, "{start} to {end}");
        }
        assert_eq!(added(&[part(8, 16), part(0, 24)]), Added::Overlaps, "around it");
    }

    #[test]
    fn a_datagram_has_one_end() {
        assert_eq!(added(&[last(8, 13), part(16, 24)]), Added::Overlaps, "behind it");
        assert_eq!(added(&[last(8, 16), part(16, 24)]), Added::Overlaps, "behind it");
        assert_eq!(added(&[part(16, 24), last(8, 16)]), Added::Overlaps, "before others");
        assert_eq!(added(&[last(16, 24), last(8, 16)]), Added::Overlaps, "two of them");
        assert_eq!(added(&[last(8, 16), part(8, 16)]), Added::Overlaps, "it is none after all");
        assert_eq!(added(&[part(8, 16), last(8, 16)]), Added::Overlaps, "it is one after all");
    }

    #[test]
    fn there_is_an_end_to_how_many_there_are() {
        let mut parts = Parts::default();
        for n in 0..MOST as u16 {
            assert_eq!(parts.add(part(n * 16, n * 16 + 8)), Added::New);
        }
        assert_eq!(parts.add(part(8, 16)), Added::TooMany);
        assert_eq!(parts.add(part(16, 24)), Added::Again);
    }

    #[test]
    fn a_first_fragment_that_comes_again_is_all_there_is() {
        let mut parts = Parts::default();
        for it in [part(0, 8), last(16, 20)] {
            parts.add(it);
        }
        parts.begin_anew(part(0, 8));
        assert_eq!(parts.add(last(8, 10)), Added::New);
        assert!(parts.are_complete());
    }

    proptest! {
        /// A datagram in fragments of any length that come in any order is complete with the last
        /// of them and not before, whatever comes twice.
        #[test]
        fn a_datagram_is_complete_when_all_of_it_has_come(
            lengths in prop::collection::vec(1_u16..100, 1..40),
            tail in 1_u16..500,
            seed in any::<u64>(),
        ) {
            let mut start = 0;
            let mut all = Vec::new();
            for length in lengths {
                all.push(part(start, start + length * 8));
                start += length * 8;
            }
            all.push(last(start, start + tail));
            // Fisher and Yates, by a linear congruential generator.
            let mut state = seed;
            for n in (1..all.len()).rev() {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                all.swap(n, (state >> 33) as usize % (n + 1));
            }
            let mut parts = Parts::default();
            for (n, it) in all.iter().enumerate() {
                prop_assert!(!parts.are_complete());
                prop_assert_eq!(parts.add(*it), Added::New);
                prop_assert_eq!(parts.add(all[n / 2]), Added::Again);
            }
            prop_assert!(parts.are_complete());
        }
    }
}
