//! Prefix lists: networks under a name, all of one family and none twice.

use ipnet::IpNet;

use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, Document};
use crate::vpc::hash::Map;
use crate::vpc::invalid::InvalidPrefixList;

/// The longest name, in characters (`CreateManagedPrefixList`).
const MAX_NAME: usize = 255;

/// What names of lists that EC2 itself keeps start with.
const RESERVED: &str = "com.amazonaws";

/// EC2: "Must specify a max size between 1 and 1000".
const MAX_ENTRIES: u32 = 1_000;

/// The networks of every list of a document.
pub(super) struct PrefixLists(Vec<Vec<IpNet>>);

impl PrefixLists {
    pub(super) fn resolve(document: &Document, problems: &mut Problems) -> Self {
        let lists = document.prefix_list.iter().enumerate();
        let lists =
            lists.map(|(place, it)| networks(&Path::of("prefix_list", place), it, problems));
        Self(lists.collect())
    }

    /// The networks of the list at that place of the document.
    pub(super) fn networks(&self, place: usize) -> &[IpNet] {
        &self.0[place]
    }
}

fn networks(path: &Path, list: &document::PrefixList, problems: &mut Problems) -> Vec<IpNet> {
    let name = &list.prefix_list_name;
    if !(1..=MAX_NAME).contains(&name.chars().count()) || name.starts_with(RESERVED) {
        let kind = InvalidPrefixList::Name { name: name.as_str().into() };
        problems.add(path.key("prefix_list_name"), kind.into());
    }
    let max_entries = list.max_entries;
    problems.check_range(|| path.key("max_entries"), max_entries, 1, MAX_ENTRIES);
    let entries = path.key("entry");
    if list.entry.len() > max_entries as usize {
        let kind = InvalidPrefixList::TooManyEntries { max_entries };
        problems.add(entries.index(max_entries as usize), kind.into());
    }
    let mut places: Map<IpNet, usize> = Map::default();
    for (place, entry) in list.entry.iter().enumerate() {
        let (found, first) = (entry.cidr, list.entry[0].cidr);
        let at = || entries.index(place).key("cidr");
        if found.trunc() != found {
            problems.add(at(), InvalidKind::HostBits { found });
        } else if found.addr().is_ipv4() != first.addr().is_ipv4() {
            problems.add(at(), InvalidPrefixList::MixedFamilies { found, first }.into());
        } else if let Some(other) = places.insert(found, place) {
            let other = entries.index(other);
            problems.add(at(), InvalidPrefixList::DuplicateEntry { found, other }.into());
        }
    }
    list.entry.iter().map(|entry| entry.cidr).collect()
}
