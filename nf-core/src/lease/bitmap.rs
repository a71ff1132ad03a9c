//! The taken ports of a busy destination: one bit for each of 65,536 ports, with summaries above.

/// A set of ports in 8 KiB that finds the next absent one in a fixed number of steps.
pub struct Bitmap {
    /// Bit `p % 64` of word `p / 64` is set if port `p` is in.
    words: [u64; 1024],
    /// Bit `w % 64` of summary `w / 64` is set if word `w` is full.
    full_words: [u64; 16],
    /// Bit `s` is set if summary `s` is full; those past the last are set too.
    full_summaries: u64,
    len: u32,
    /// How many words, of all three levels, searches have looked at.
    #[cfg(test)]
    pub visits: std::cell::Cell<u32>,
}

impl Bitmap {
    /// The set of these ports.
    pub fn new(ports: &[u16]) -> Self {
        let mut bitmap = Self {
            words: [0; 1024],
            full_words: [0; 16],
            full_summaries: u64::MAX << 16,
            len: 0,
            #[cfg(test)]
            visits: std::cell::Cell::new(0),
        };
        for &port in ports {
            bitmap.insert(port);
        }
        bitmap
    }

    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Adds a port; false if it was in.
    pub fn insert(&mut self, port: u16) -> bool {
        let (summary, word) = (usize::from(port >> 12), usize::from(port >> 6));
        let bit = 1 << (port & 63);
        if self.words[word] & bit != 0 {
            return false;
        }
        self.words[word] |= bit;
        self.len += 1;
        if self.words[word] == u64::MAX {
            self.full_words[summary] |= 1 << (word & 63);
            if self.full_words[summary] == u64::MAX {
                self.full_summaries |= 1 << summary;
            }
        }
        true
    }

    /// Takes a port out; false if it was not in.
    pub fn remove(&mut self, port: u16) -> bool {
        let (summary, word) = (usize::from(port >> 12), usize::from(port >> 6));
        let bit = 1 << (port & 63);
        if self.words[word] & bit == 0 {
            return false;
        }
        self.words[word] &= !bit;
        self.full_words[summary] &= !(1 << (word & 63));
        self.full_summaries &= !(1 << summary);
        self.len -= 1;
        true
    }

    /// The lowest port from `from` on that is not in.
    pub fn next_absent(&self, from: u16) -> Option<u16> {
        let word = usize::from(from >> 6);
        if let Some(bit) = self.first_clear(self.words[word], u32::from(from & 63)) {
            return Some((word << 6) as u16 | bit);
        }
        let word = self.next_open_word(word + 1)?;
        self.first_clear(self.words[word], 0).map(|bit| (word << 6) as u16 | bit)
    }

    /// The first word from `from` on that is not full.
    fn next_open_word(&self, from: usize) -> Option<usize> {
        let summary = from >> 6;
        let full_words = *self.full_words.get(summary)?;
        if let Some(bit) = self.first_clear(full_words, (from & 63) as u32) {
            return Some(summary << 6 | usize::from(bit));
        }
        let summary = usize::from(self.first_clear(self.full_summaries, summary as u32 + 1)?);
        self.first_clear(self.full_words[summary], 0).map(|bit| summary << 6 | usize::from(bit))
    }

    /// The lowest clear bit of `word` from bit `from` on, `from` being at most 63.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count the words looked at"))]
    fn first_clear(&self, word: u64, from: u32) -> Option<u16> {
        #[cfg(test)]
        self.visits.set(self.visits.get() + 1);
        let clear = !word & (u64::MAX << from);
        (clear != 0).then(|| clear.trailing_zeros() as u16)
    }

    /// The ports that are in, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.words.iter().zip(0_u16..).flat_map(|(&word, high)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| high << 6 | bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_absent_port_is_found_whatever_is_full_before_it() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for free in [0, 1, 63, 64, 65, 4095, 4096, 4097, 40_000, 65_471, 65_472, u16::MAX] {
            let mut bitmap = Bitmap::new(&all);
            assert_eq!(bitmap.next_absent(0), None);
            assert!(bitmap.remove(free));
            assert!(!bitmap.remove(free));
            for from in [0, free.saturating_sub(5000), free.saturating_sub(64), free] {
                assert_eq!(bitmap.next_absent(from), Some(free), "from {from}");
            }
            if let Some(past) = free.checked_add(1) {
                assert_eq!(bitmap.next_absent(past), None);
            }
            assert!(bitmap.insert(free));
            assert!(!bitmap.insert(free));
            assert_eq!((bitmap.next_absent(0), bitmap.len()), (None, 65_536));
        }
    }

    #[test]
    fn no_search_looks_at_more_than_five_words() {
        // Every pattern of full and open words that makes the search climb and descend.
        for step in [1, 63, 64, 65, 4095, 4096, 4097, 9999] {
            let mut ports: Vec<u16> = (0..=u16::MAX).collect();
            ports.retain(|port| port % step != step - 1);
            let bitmap = Bitmap::new(&ports);
            for from in 0..=u16::MAX {
                bitmap.visits.set(0);
                let expected = (from..=u16::MAX).find(|port| port % step == step - 1);
                assert_eq!(bitmap.next_absent(from), expected);
                assert!(bitmap.visits.get() <= 5, "{} words from {from}", bitmap.visits.get());
            }
        }
    }

    #[test]
    fn ports_are_listed_in_order() {
        let ports = [0, 1, 63, 64, 4096, 65_534, 65_535];
        assert_eq!(Bitmap::new(&ports).iter().collect::<Vec<_>>(), ports);
    }
}
