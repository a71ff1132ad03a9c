//! The content of bulk streams: blocks of 64 KiB that begin with the connection's id and their own
//! number. A sender changes 16 bytes in each; a receiver looks at these and at a sample of the
//! rest, so that neither side measures its own checking.

use std::sync::LazyLock;

use super::payload::{BLOCK, Direction, Payload, mix};

/// Bytes at the beginning of a block: id and number, in network byte order.
const HEAD: usize = 16;

/// Blocks that are handed to the kernel in one write.
const AT_ONCE: usize = 2;

/// Bytes of a block that are compared, beside its head.
const SAMPLE: usize = 64;

/// What a block holds behind its head, the same in all.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut body = vec![0; BLOCK];
    Payload::new(0, 0, Direction::Request).fill(0, &mut body);
    body
});

/// A buffer to send blocks from, for all connections of a thread.
#[derive(Debug)]
pub struct BlockBuffer(Vec<u8>);

impl Default for BlockBuffer {
    fn default() -> Self {
        Self(BODY.repeat(AT_ONCE))
    }
}

impl BlockBuffer {
    /// The stream of connection `id` from `position` on, as far as the buffer reaches.
    pub fn from(&mut self, id: u64, position: u64) -> &[u8] {
        let first = position / BLOCK as u64;
        for (number, block) in (first..).zip(self.0.chunks_exact_mut(BLOCK)) {
            block[..HEAD].copy_from_slice(&head(id, number));
        }
        &self.0[(position % BLOCK as u64) as usize..]
    }
}

/// Verifies a stream as it arrives, in pieces of any size.
#[derive(Clone, Copy, Debug)]
pub struct BlockChecker {
    id: u64,
    position: u64,
}

impl BlockChecker {
    /// For the stream of connection `id`.
    pub fn new(id: u64) -> Self {
        Self { id, position: 0 }
    }

    /// Whole blocks that have come.
    pub fn blocks(&self) -> u64 {
        self.position / BLOCK as u64
    }

    /// Whether the next bytes are as they should be.
    pub fn check(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let (number, within) =
                (self.position / BLOCK as u64, (self.position % BLOCK as u64) as usize);
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            let sample = sample_of(number);
            let body = &BODY[sample..sample + SAMPLE];
            if !agree(piece, within, &head(self.id, number), 0)
                || !agree(piece, within, body, sample)
            {
                return false;
            }
            self.position += piece.len() as u64;
            bytes = rest;
        }
        true
    }
}

/// Whether a piece of a block, from `within` on, agrees with `expected`, which belongs at `at`, as
/// far as they overlap.
fn agree(piece: &[u8], within: usize, expected: &[u8], at: usize) -> bool {
    let (start, end) = (within.max(at), (within + piece.len()).min(at + expected.len()));
    start >= end || piece[start - within..end - within] == expected[start - at..end - at]
}

/// Where in a block its sample lies: another place in each.
fn sample_of(number: u64) -> usize {
    HEAD + mix(number) as usize % (BLOCK - HEAD - SAMPLE)
}

fn head(id: u64, number: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&id.to_be_bytes());
    head[8..].copy_from_slice(&number.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: u64, length: usize) -> Vec<u8> {
        let (mut buffer, mut stream) = (BlockBuffer::default(), Vec::new());
        while stream.len() < length {
            // Pieces that no block's length is a multiple of, as a socket would take them.
            let piece = buffer.from(id, stream.len() as u64);
            let taken = piece.len().min(50_001).min(length - stream.len());
            stream.extend_from_slice(&piece[..taken]);
        }
        stream
    }

    fn verify(id: u64, stream: &[u8], pieces: usize) -> bool {
        let mut checker = BlockChecker::new(id);
        let fine = stream.chunks(pieces).all(|piece| checker.check(piece));
        assert!(!fine || checker.position == stream.len() as u64);
        fine
    }

    #[test]
    fn a_stream_verifies_in_pieces_of_any_size() {
        let stream = stream(5, 5 * BLOCK + 99);
        for pieces in [1, 13, 1448, 65_536, 200_000] {
            assert!(verify(5, &stream, pieces), "{pieces}");
        }
    }

    #[test]
    fn lost_repeated_moved_or_foreign_bytes_are_found() {
        let whole = stream(5, 8 * BLOCK);
        assert!(!verify(6, &whole, 1448), "another connection's");
        let mut lost = whole.clone();
        lost.drain(BLOCK + 100..BLOCK + 101);
        assert!(!verify(5, &lost, 1448), "one byte lost");
        let mut repeated = whole.clone();
        repeated.copy_within(0..BLOCK, BLOCK);
        assert!(!verify(5, &repeated, 1448), "a block repeated");
        for number in 0..8u64 {
            let mut flipped = whole.clone();
            flipped[number as usize * BLOCK + sample_of(number)] ^= 1;
            assert!(!verify(5, &flipped, 1448), "a bit of block {number}'s sample");
        }
    }
}
