//! Ids for what is made: EC2's form, its prefix and 17 hexadecimal digits.

use std::hash::Hasher as _;

use nf_core::vpc::id::DealtId;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use siphasher::sip::SipHasher24;

use super::Refusal;
use super::resource::parse;

/// Deals out ids. Two sources with one seed deal out the same.
#[derive(Clone, Debug)]
pub struct IdSource(ChaCha12Rng);

impl IdSource {
    /// A source that begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// Another source, which deals out other ids than this one does from now on.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// The next id of a kind. That it is free need not be looked at: of 2⁶⁸ numbers the document
    /// has a few thousand, and it refuses a second use.
    pub(super) fn next<I: DealtId>(&mut self) -> I {
        let [high, low] = [self.0.next_u64(), self.0.next_u64()].map(u128::from);
        I::dealt(high << 64 | low)
    }

    /// The id that the caller has chosen, or the next one.
    pub(super) fn chosen<I: DealtId>(&mut self, chosen: Option<&str>) -> Result<I, Refusal> {
        chosen.map_or_else(|| Ok(self.next()), parse)
    }
}

/// An id in EC2's form of what is no resource of the document but follows from some: from the same
/// ones, always the same.
pub(super) fn derived(prefix: &str, from: &[&str]) -> String {
    let mut hasher = SipHasher24::new();
    hasher.write(prefix.as_bytes());
    for part in from {
        hasher.write(part.as_bytes());
        hasher.write(b"|");
    }
    format!("{prefix}{:017x}", hasher.finish())
}
