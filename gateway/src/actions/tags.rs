//! Labels: on what is made, and put on and taken off afterwards.

use nf_core::vpc::document::{Address, Instance, NatGateway, SecurityGroup, Tags};
use serde::{Deserialize, Serialize};

use super::network_interface::own_interface;
use super::resource::place;
use super::{Action, Change, Draft, Edit, Refusal, Return};

/// EC2: "Maximum number of tags per resource".
const MOST: usize = 50;

/// EC2: "Maximum key length".
const LONGEST_KEY: usize = 128;

/// EC2: "Maximum value length".
const LONGEST_VALUE: usize = 256;

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    /// What it is about.
    pub key: String,
    /// What it says.
    #[serde(default)]
    pub value: String,
}

/// Labels for what is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagSpecification {
    /// What is made: `network-interface`, `instance`, `elastic-ip`, `security-group`, `natgateway`.
    pub resource_type: String,
    /// The labels.
    pub tags: Vec<Tag>,
}

/// Puts labels on resources; one with the same key is replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTags {
    /// Ids of network interfaces, instances, Elastic IP addresses, security groups and NAT gateways.
    pub resources: Vec<String>,
    /// The labels.
    pub tags: Vec<Tag>,
}

/// Takes labels off resources. What is not there is no error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteTags {
    /// Their ids.
    pub resources: Vec<String>,
    /// The labels; left out: all.
    #[serde(default)]
    pub tags: Vec<TagToDelete>,
}

/// A label that goes, whatever it says or only if it says `value`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagToDelete {
    /// What it is about.
    pub key: String,
    /// What it says.
    pub value: Option<String>,
}

impl Action for CreateTags {
    const NAME: &'static str = "CreateTags";
    type Answer = Return;
}

impl Change for CreateTags {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            for id in &self.resources {
                let tags = tags_of(edit, id)?;
                for tag in &self.tags {
                    tags.insert(tag.key.clone(), tag.value.clone());
                }
                check(tags)?;
            }
            Ok(Return::TRUE)
        })
    }
}

impl Action for DeleteTags {
    const NAME: &'static str = "DeleteTags";
    type Answer = Return;
}

impl Change for DeleteTags {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            for id in &self.resources {
                let tags = tags_of(edit, id)?;
                if self.tags.is_empty() {
                    tags.clear();
                }
                for tag in &self.tags {
                    let says = tags.get(&tag.key);
                    if says.is_some_and(|says| tag.value.as_ref().is_none_or(|it| it == says)) {
                        tags.remove(&tag.key);
                    }
                }
            }
            Ok(Return::TRUE)
        })
    }
}

/// The labels that a request for one kind of resource has.
pub(super) fn specified(
    specifications: &[TagSpecification],
    resource_type: &str,
) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for it in specifications {
        if it.resource_type != resource_type {
            let message = format!(
                "resource_type {} is not what is made here: write {resource_type}",
                it.resource_type
            );
            return Err(Refusal::value(message));
        }
        tags.extend(it.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
    }
    check(&tags)?;
    Ok(tags)
}

/// The labels as answers have them.
pub(super) fn told(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > MOST {
        let message =
            format!("a resource has at most {MOST} tags, this one would have {}", tags.len());
        return Err(Refusal::new("TagLimitExceeded", message));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > LONGEST_KEY || key.starts_with("aws:") {
            let message = format!(
                "`{key}` is not the key of a tag: write 1 to {LONGEST_KEY} characters, not `aws:` \
                 first"
            );
            return Err(Refusal::new("InvalidTagKey.Malformed", message));
        }
        if value.chars().count() > LONGEST_VALUE {
            let message = format!("the tag `{key}` has more than {LONGEST_VALUE} characters");
            return Err(Refusal::value(message));
        }
    }
    Ok(())
}

/// The labels of a resource, by the kind that its id is of.
fn tags_of<'e>(edit: &'e mut Edit<'_>, id: &str) -> Result<&'e mut Tags, Refusal> {
    let is = |prefix: &str| id.starts_with(prefix);
    if is("eni-") {
        let place = own_interface(edit, id)?;
        Ok(&mut edit.document.network_interface[place].tags)
    } else if is("i-") {
        let place = place::<Instance>(edit.document, id)?;
        Ok(&mut edit.document.instance[place].tags)
    } else if is("eipalloc-") {
        let place = place::<Address>(edit.document, id)?;
        Ok(&mut edit.document.address[place].tags)
    } else if is("sg-") {
        let place = place::<SecurityGroup>(edit.document, id)?;
        Ok(&mut edit.document.security_group[place].tags)
    } else if is("nat-") {
        let place = place::<NatGateway>(edit.document, id)?;
        Ok(&mut edit.document.nat_gateway[place].tags)
    } else {
        let message = format!(
            "`{id}` has no tags: network interfaces, instances, Elastic IP addresses, security \
             groups and NAT gateways have"
        );
        Err(Refusal::new("InvalidID", message))
    }
}
