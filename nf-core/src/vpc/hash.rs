//! The hasher of the snapshot's own tables.

use std::hash::BuildHasher;

/// A hash map for keys that the operator chose.
///
/// The seeds are fixed because the keys *in* the table come from the document, not from packets:
/// nobody outside can pile them up in one bucket, and the core draws no randomness of its own.
pub(super) type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// `ahash` with seeds that never change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> Self::Hasher {
        // The hexadecimal digits of pi, as good as any other number.
        ahash::RandomState::with_seeds(
            0x243f_6a88_85a3_08d3,
            0x1319_8a2e_0370_7344,
            0xa409_3822_299f_31d0,
            0x082e_fa98_ec4e_6c89,
        )
        .build_hasher()
    }
}
