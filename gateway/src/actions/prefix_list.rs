//! Actions on prefix lists: networks under a name, for rules of security groups.

use std::fmt;

use ipnet::IpNet;
use nf_core::vpc::document::{Document, PrefixList, PrefixListEntry, SecurityGroup};
use nf_core::vpc::id::PrefixListId;
use serde::{Deserialize, Serialize};

use super::resource::{chosen, find, place};
use super::{Action, Change, Draft, Query, Refusal, Return, View};

/// EC2: "Up to 255 characters in length. The name cannot start with com.amazonaws."
const LONGEST_NAME: usize = 255;

/// The family of a list's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressFamily {
    /// IPv4.
    #[serde(rename = "IPv4")]
    Ipv4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    Ipv6,
}

impl AddressFamily {
    const fn of(network: IpNet) -> Self {
        match network {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A network of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The network.
    pub cidr: IpNet,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A network that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveEntry {
    /// The network.
    pub cidr: IpNet,
}

/// Makes a prefix list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateManagedPrefixList {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub prefix_list_id: Option<String>,
    /// Its name.
    pub prefix_list_name: String,
    /// How many networks it may have.
    pub max_entries: u32,
    /// The family of its networks. Left out: that of the first.
    pub address_family: Option<AddressFamily>,
    /// Its networks.
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// Changes a prefix list. Every rule that names it goes by the new one at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifyManagedPrefixList {
    /// The list.
    pub prefix_list_id: String,
    /// A new name.
    pub prefix_list_name: Option<String>,
    /// How many networks it may have from now on.
    pub max_entries: Option<u32>,
    /// Networks that go.
    #[serde(default)]
    pub remove_entries: Vec<RemoveEntry>,
    /// Networks that come, or have another description now.
    #[serde(default)]
    pub add_entries: Vec<Entry>,
}

/// Deletes a prefix list that no rule names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteManagedPrefixList {
    /// The list.
    pub prefix_list_id: String,
}

/// Tells about prefix lists.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeManagedPrefixLists {
    /// Which. Left out: all.
    #[serde(default)]
    pub prefix_list_ids: Vec<String>,
}

/// Tells which networks a prefix list has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetManagedPrefixListEntries {
    /// The list.
    pub prefix_list_id: String,
}

/// The list that was made or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnePrefixList {
    /// All about it.
    pub prefix_list: PrefixListDescription,
}

/// Prefix lists in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixLists {
    /// All about each.
    pub prefix_lists: Vec<PrefixListDescription>,
}

/// All about a prefix list but its networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixListDescription {
    /// `pl-…`
    pub prefix_list_id: String,
    /// Its name.
    pub prefix_list_name: String,
    /// The family of its networks, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_family: Option<AddressFamily>,
    /// How many networks it may have.
    pub max_entries: u32,
}

/// The networks of a prefix list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// In the order of the document.
    pub entries: Vec<Entry>,
}

impl Action for CreateManagedPrefixList {
    const NAME: &'static str = "CreateManagedPrefixList";
    type Answer = OnePrefixList;
}

impl Change for CreateManagedPrefixList {
    fn apply(&self, draft: &mut Draft) -> Result<OnePrefixList, Refusal> {
        check_name(&self.prefix_list_name)?;
        if let Some(family) = self.address_family
            && let Some(entry) = self.entries.iter().find(|it| AddressFamily::of(it.cidr) != family)
        {
            return Err(Refusal::value(format!("{} is not {family}", entry.cidr)));
        }
        draft.edit(|edit| {
            let list = PrefixList {
                prefix_list_id: edit.ids.chosen(self.prefix_list_id.as_deref())?,
                prefix_list_name: self.prefix_list_name.clone(),
                max_entries: self.max_entries,
                entry: self.entries.iter().map(PrefixListEntry::from).collect(),
            };
            let prefix_list =
                PrefixListDescription { address_family: self.address_family, ..describe(&list) };
            edit.document.prefix_list.push(list);
            Ok(OnePrefixList { prefix_list })
        })
    }
}

impl Action for ModifyManagedPrefixList {
    const NAME: &'static str = "ModifyManagedPrefixList";
    type Answer = OnePrefixList;
}

impl Change for ModifyManagedPrefixList {
    fn apply(&self, draft: &mut Draft) -> Result<OnePrefixList, Refusal> {
        draft.edit(|edit| {
            let place = place::<PrefixList>(edit.document, &self.prefix_list_id)?;
            let list = &mut edit.document.prefix_list[place];
            let id = &list.prefix_list_id;
            if let Some(name) = &self.prefix_list_name {
                check_name(name)?;
                list.prefix_list_name.clone_from(name);
            }
            list.max_entries = self.max_entries.unwrap_or(list.max_entries);
            for RemoveEntry { cidr } in &self.remove_entries {
                let place = list.entry.iter().position(|it| it.cidr == *cidr);
                let place = place.ok_or_else(|| {
                    let message = format!("{cidr} is not in {id}");
                    Refusal::new("InvalidPrefixListModification", message)
                })?;
                list.entry.remove(place);
            }
            for entry in &self.add_entries {
                let entry = PrefixListEntry::from(entry);
                match list.entry.iter_mut().find(|it| it.cidr == entry.cidr) {
                    Some(there) => *there = entry,
                    None => list.entry.push(entry),
                }
            }
            Ok(OnePrefixList { prefix_list: describe(list) })
        })
    }
}

impl Action for DeleteManagedPrefixList {
    const NAME: &'static str = "DeleteManagedPrefixList";
    type Answer = Return;
}

impl Change for DeleteManagedPrefixList {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<PrefixList>(edit.document, &self.prefix_list_id)?;
            let id = &edit.document.prefix_list[place].prefix_list_id;
            if let Some(group) = user_of(edit.document, id) {
                let message =
                    format!("{id} is in use by a rule of {}: take it out there", group.group_id);
                return Err(Refusal::dependency(message));
            }
            edit.document.prefix_list.remove(place);
            Ok(Return::TRUE)
        })
    }
}

impl Action for DescribeManagedPrefixLists {
    const NAME: &'static str = "DescribeManagedPrefixLists";
    type Answer = PrefixLists;
}

impl Query for DescribeManagedPrefixLists {
    fn answer(&self, view: &View<'_>) -> Result<PrefixLists, Refusal> {
        let found = chosen::<PrefixList>(view.document, &self.prefix_list_ids)?;
        Ok(PrefixLists { prefix_lists: found.into_iter().map(|(_, it)| describe(it)).collect() })
    }
}

impl Action for GetManagedPrefixListEntries {
    const NAME: &'static str = "GetManagedPrefixListEntries";
    type Answer = Entries;
}

impl Query for GetManagedPrefixListEntries {
    fn answer(&self, view: &View<'_>) -> Result<Entries, Refusal> {
        let list = find::<PrefixList>(view.document, &self.prefix_list_id)?;
        Ok(Entries { entries: list.entry.iter().map(Entry::from).collect() })
    }
}

impl From<&Entry> for PrefixListEntry {
    fn from(entry: &Entry) -> Self {
        Self { cidr: entry.cidr, description: entry.description.clone().unwrap_or_default() }
    }
}

impl From<&PrefixListEntry> for Entry {
    fn from(entry: &PrefixListEntry) -> Self {
        let description = Some(entry.description.clone()).filter(|text| !text.is_empty());
        Self { cidr: entry.cidr, description }
    }
}

fn describe(list: &PrefixList) -> PrefixListDescription {
    PrefixListDescription {
        prefix_list_id: list.prefix_list_id.to_string(),
        prefix_list_name: list.prefix_list_name.clone(),
        address_family: list.entry.first().map(|entry| AddressFamily::of(entry.cidr)),
        max_entries: list.max_entries,
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.starts_with("com.amazonaws") {
        let message = format!(
            "`{name}` is not the name of a prefix list: write 1 to {LONGEST_NAME} characters, not \
             `com.amazonaws` first"
        );
        return Err(Refusal::value(message));
    }
    Ok(())
}

/// A group with a rule that names the list.
fn user_of<'d>(document: &'d Document, id: &PrefixListId) -> Option<&'d SecurityGroup> {
    document.security_group.iter().find(|group| {
        let mut rules = group.ingress.iter().chain(group.egress.iter().flatten());
        rules.any(|rule| rule.prefix_list_id.as_ref() == Some(id))
    })
}
