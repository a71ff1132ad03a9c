//! Actions on security groups.
//!
//! | file | idea |
//! | --- | --- |
//! | this one | making and deleting them, and the default group that a document need not have |
//! | `permission` | rules as EC2 writes them, and as the document does |
//! | `rules` | adding and taking away rules |
//! | `describe` | telling about them |

mod describe;
mod permission;
mod rules;

use nf_core::vpc::document::{Document, IpProtocol, SecurityGroup, SecurityGroupRule, Tags, Vpc};
use nf_core::vpc::id::{ResourceId as _, SecurityGroupId};
use serde::{Deserialize, Serialize};

use super::resource::{find, parse, place};
use super::tags::{Tag, TagSpecification, specified, told};
use super::{Action, Change, Draft, Edit, Refusal, Return};

pub use describe::{DescribeSecurityGroups, Group, SecurityGroups};
pub use permission::{IpPermission, IpRange, Ipv6Range, PrefixListRange, UserIdGroupPair};
pub use rules::{
    AuthorizeSecurityGroupEgress, AuthorizeSecurityGroupIngress, RevokeSecurityGroupEgress,
    RevokeSecurityGroupIngress,
};

/// The name of a VPC's own group.
const DEFAULT: &str = "default";

/// EC2: "Up to 255 characters in length", for names and descriptions.
const LONGEST_TEXT: usize = 255;

/// Makes a security group that lets nothing in and everything out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSecurityGroup {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub group_id: Option<String>,
    /// Its name, unique in its VPC.
    pub group_name: String,
    /// Free text.
    pub description: String,
    /// Its VPC.
    pub vpc_id: String,
    /// Labels, of `security-group`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// The group that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedGroup {
    /// `sg-…`
    pub group_id: String,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Deletes a security group that nothing uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteSecurityGroup {
    /// Its id.
    pub group_id: String,
}

impl Action for CreateSecurityGroup {
    const NAME: &'static str = "CreateSecurityGroup";
    type Answer = CreatedGroup;
}

impl Change for CreateSecurityGroup {
    fn apply(&self, draft: &mut Draft) -> Result<CreatedGroup, Refusal> {
        let name = self.group_name.trim();
        if name.eq_ignore_ascii_case(DEFAULT) {
            let message = "the name `default` is that of the VPC's own group: choose another";
            return Err(Refusal::new("InvalidGroup.Reserved", message));
        }
        if name.is_empty() || name.chars().count() > LONGEST_TEXT || name.starts_with("sg-") {
            let message = format!(
                "`{name}` is not the name of a group: write 1 to {LONGEST_TEXT} characters, not \
                 `sg-` first"
            );
            return Err(Refusal::value(message));
        }
        if self.description.chars().count() > LONGEST_TEXT {
            let message = format!("the description has more than {LONGEST_TEXT} characters");
            return Err(Refusal::value(message));
        }
        draft.edit(|edit| {
            let vpc_id = find::<Vpc>(edit.document, &self.vpc_id)?.vpc_id.clone();
            let mut groups = edit.document.security_group.iter();
            if let Some(other) = groups.find(|it| it.vpc_id == vpc_id && it.group_name == name) {
                let message =
                    format!("{vpc_id} has a group named `{name}` already, {}", other.group_id);
                return Err(Refusal::new("InvalidGroup.Duplicate", message));
            }
            let group = SecurityGroup {
                group_id: edit.ids.chosen(self.group_id.as_deref())?,
                group_name: name.to_owned(),
                vpc_id,
                description: self.description.clone(),
                ingress: Vec::new(),
                egress: None,
                tags: specified(&self.tag_specifications, "security-group")?,
            };
            let created =
                CreatedGroup { group_id: group.group_id.to_string(), tags: told(&group.tags) };
            edit.document.security_group.push(group);
            Ok(created)
        })
    }
}

impl Action for DeleteSecurityGroup {
    const NAME: &'static str = "DeleteSecurityGroup";
    type Answer = Return;
}

impl Change for DeleteSecurityGroup {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let id: SecurityGroupId = parse(&self.group_id)?;
            let snapshot = edit.before;
            let group = snapshot.security_groups().map(|(_, group)| group).find(|it| it.id == id);
            let group = group.ok_or_else(|| Refusal::not_found(&id))?;
            if &*group.name == DEFAULT {
                let message = format!(
                    "{id} is the default group of {}, which it cannot be without",
                    snapshot.vpc(group.vpc).id
                );
                return Err(Refusal::new("CannotDelete", message));
            }
            if let Some(user) = user_of(edit.document, &id) {
                let message = format!("{id} is in use by {user}: take it out there");
                return Err(Refusal::dependency(message));
            }
            let place = place::<SecurityGroup>(edit.document, &self.group_id)?;
            edit.document.security_group.remove(place);
            Ok(Return::TRUE)
        })
    }
}

/// What uses a group, if anything does.
fn user_of(document: &Document, id: &SecurityGroupId) -> Option<String> {
    let interfaces = document.network_interface.iter();
    let interface = interfaces
        .filter(|it| it.groups.contains(id))
        .map(|it| it.network_interface_id.to_string());
    let bridges = document.lambda_bridge.iter();
    let bridge = bridges
        .filter(|it| it.security_group_ids.contains(id))
        .map(|it| it.lambda_bridge_id.to_string());
    let names_it = |rule: &SecurityGroupRule| rule.referenced_group_id.as_ref() == Some(id);
    let others = document.security_group.iter().filter(|it| it.group_id != *id);
    let rule = others
        .filter(|it| it.ingress.iter().chain(it.egress.iter().flatten()).any(names_it))
        .map(|it| format!("a rule of {}", it.group_id));
    interface.chain(bridge).chain(rule).next()
}

/// The groups of these ids. One that is its VPC's default group and not in the document is put
/// there: it could not be named otherwise.
pub(super) fn named_groups(
    edit: &mut Edit<'_>,
    ids: &[String],
) -> Result<Vec<SecurityGroupId>, Refusal> {
    let mut groups = Vec::with_capacity(ids.len());
    for id in ids {
        let place = group_place(edit, id)?;
        groups.push(edit.document.security_group[place].group_id.clone());
    }
    Ok(groups)
}

/// Where in the document a group stands, as for [`named_groups`].
fn group_place(edit: &mut Edit<'_>, id: &str) -> Result<usize, Refusal> {
    let found = place::<SecurityGroup>(edit.document, id);
    if found.is_ok() {
        return found;
    }
    let snapshot = edit.before;
    let mut groups = snapshot.security_groups().map(|(_, group)| group);
    let Some(group) = groups.find(|group| group.id.as_str() == id) else { return found };
    let vpc = &edit.document.vpc[group.vpc.0 as usize];
    let default = default_group(group.id.clone(), vpc);
    edit.document.security_group.push(default);
    Ok(edit.document.security_group.len() - 1)
}

/// What the default group of a VPC says as long as the document does not have it.
fn default_group(group_id: SecurityGroupId, vpc: &Vpc) -> SecurityGroup {
    let from_members = SecurityGroupRule {
        referenced_group_id: Some(group_id.clone()),
        ..everything(IpProtocol::All)
    };
    SecurityGroup {
        group_id,
        group_name: DEFAULT.to_owned(),
        vpc_id: vpc.vpc_id.clone(),
        description: "default VPC security group".to_owned(),
        ingress: vec![from_members],
        egress: None,
        tags: Tags::new(),
    }
}

/// A rule for a whole protocol, without the other end.
const fn everything(ip_protocol: IpProtocol) -> SecurityGroupRule {
    SecurityGroupRule {
        ip_protocol,
        from_port: None,
        to_port: None,
        cidr_ipv4: None,
        cidr_ipv6: None,
        prefix_list_id: None,
        referenced_group_id: None,
        description: String::new(),
    }
}

/// The rules that leaving `egress` out means.
fn default_egress(vpc: &Vpc) -> Vec<SecurityGroupRule> {
    let all = everything(IpProtocol::All);
    let v4 = SecurityGroupRule { cidr_ipv4: Some(ipnet::Ipv4Net::default()), ..all.clone() };
    let v6 = SecurityGroupRule { cidr_ipv6: Some(ipnet::Ipv6Net::default()), ..all };
    let v6 = vpc.ipv6_cidr_block.map(|_| v6);
    std::iter::once(v4).chain(v6).collect()
}
