//! The id of an environment, which its owner chooses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest id, in bytes.
const MAX: usize = 64;

/// 1 to 64 letters, digits, dots, underscores and hyphens: it names a file and stands in URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentId(Box<str>);

/// A text that is not an environment's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the id of an environment: write 1 to {MAX} letters, digits, dots, underscores or \
     hyphens"
)]
pub struct MalformedId(pub String);

impl EnvironmentId {
    /// The id as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvironmentId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let fits = (1..=MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits { Ok(Self(text.into())) } else { Err(MalformedId(text.to_owned())) }
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for EnvironmentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EnvironmentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_directory_or_url_are_refused() {
        for good in ["a", "vm-0001", "sandbox.7_b", &"x".repeat(MAX)] {
            assert_eq!(good.parse::<EnvironmentId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a/b", "a b", "ü", "a\0", "%2e", &"x".repeat(MAX + 1)] {
            assert_eq!(bad.parse::<EnvironmentId>(), Err(MalformedId(bad.to_owned())));
        }
    }
}
