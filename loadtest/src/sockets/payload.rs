//! Pseudo-random content that either side can make and verify at the cost of a comparison.
//!
//! All content is cut from one table of random bytes. Where a message starts in it depends on the
//! connection, the sequence number and the direction, so that content of another connection,
//! another request or another place in the same message is told apart.

use std::sync::LazyLock;

/// Content starts at a place of its own every so many bytes.
pub const BLOCK: usize = 64 * 1024;

/// Twice a block: a whole block can start anywhere in the first half.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = (0..(2 * BLOCK / 8) as u64).map(|index| mix(index ^ 0x4861_6c66_7370_6163));
    words.flat_map(u64::to_ne_bytes).collect()
});

/// Who sends the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Request,
    /// The server.
    Response,
}

/// The content of one message.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    seed: u64,
}

impl Payload {
    /// What datagrams hold behind their head: the same in all, so that a sender writes heads only.
    pub const DATAGRAM: Self = Self { seed: 0 };

    /// The content that belongs to a connection, a request on it, and a direction.
    pub fn new(id: u64, sequence: u64, direction: Direction) -> Self {
        let side = match direction {
            Direction::Request => 0x5265_7175,
            Direction::Response => 0x5265_7370,
        };
        Self { seed: mix(id ^ mix(sequence ^ side)) }
    }

    /// The content from `position` on: at most `wanted` bytes, and no further than the block's end.
    fn slice(self, position: u64, wanted: usize) -> &'static [u8] {
        let (block, within) = (position / BLOCK as u64, (position % BLOCK as u64) as usize);
        let start = mix(self.seed ^ block) as usize % BLOCK + within;
        &TABLE[start..start + wanted.min(BLOCK - within)]
    }

    /// Writes the content from `position` on.
    pub fn fill(self, mut position: u64, mut out: &mut [u8]) {
        while !out.is_empty() {
            let content = self.slice(position, out.len());
            let (head, rest) = out.split_at_mut(content.len());
            head.copy_from_slice(content);
            position += content.len() as u64;
            out = rest;
        }
    }

    /// Whether these bytes are the content from `position` on.
    pub fn matches(self, mut position: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let content = self.slice(position, bytes.len());
            let (head, rest) = bytes.split_at(content.len());
            if head != content {
                return false;
            }
            position += content.len() as u64;
            bytes = rest;
        }
        true
    }
}

/// The finaliser of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
/// 2014): a bijection whose output looks random.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(payload: Payload, position: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        payload.fill(position, &mut bytes);
        bytes
    }

    #[test]
    fn content_matches_itself_however_it_is_cut() {
        let payload = Payload::new(7, 3, Direction::Request);
        let bytes = content(payload, 0, 3 * BLOCK + 17);
        assert!(payload.matches(0, &bytes));
        let mut position = 0;
        for piece in bytes.chunks(1460) {
            assert!(payload.matches(position, piece));
            assert_eq!(content(payload, position, piece.len()), piece);
            position += piece.len() as u64;
        }
    }

    #[test]
    fn a_flipped_bit_or_moved_content_is_found() {
        let payload = Payload::new(7, 3, Direction::Request);
        let mut bytes = content(payload, 0, 2 * BLOCK);
        assert!(!payload.matches(1, &bytes[..100]));
        assert!(!payload.matches(0, &bytes[BLOCK..]), "the second block is not the first");
        bytes[BLOCK + 5] ^= 0x10;
        assert!(!payload.matches(0, &bytes));
    }

    #[test]
    fn connection_sequence_and_direction_each_change_the_content() {
        let bytes = content(Payload::new(7, 3, Direction::Request), 0, 64);
        for other in [
            Payload::new(8, 3, Direction::Request),
            Payload::new(7, 4, Direction::Request),
            Payload::new(7, 3, Direction::Response),
        ] {
            assert!(!other.matches(0, &bytes));
        }
    }
}
