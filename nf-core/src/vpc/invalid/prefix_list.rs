//! What can be wrong with a prefix list.

use ipnet::IpNet;

use crate::vpc::path::Path;

/// What is wrong with a prefix list or an entry of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefixList {
    /// A text that cannot be the name of a list.
    #[error(
        "`{name}` cannot be the name of a prefix list: write 1 to 255 characters, and not \
         `com.amazonaws` first"
    )]
    Name {
        /// The text.
        name: Box<str>,
    },
    /// More entries than the list says it has.
    #[error("the list has at most {max_entries} entries: remove some, or raise max_entries")]
    TooManyEntries {
        /// Its maximum.
        max_entries: u32,
    },
    /// IPv4 and IPv6 in one list.
    #[error("{found} is not of the family of {first}, the first entry: make a list for each")]
    MixedFamilies {
        /// The entry.
        found: IpNet,
        /// The first one.
        first: IpNet,
    },
    /// A network that the list has already.
    #[error("the list has {found} already, {other}: remove one")]
    DuplicateEntry {
        /// The entry.
        found: IpNet,
        /// The first.
        other: Path,
    },
}

impl InvalidPrefixList {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::TooManyEntries { .. } => "PrefixListMaxEntriesExceeded",
            Self::Name { .. } | Self::MixedFamilies { .. } | Self::DuplicateEntry { .. } => {
                "InvalidParameterValue"
            }
        }
    }
}
