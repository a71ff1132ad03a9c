//! Telling about security groups.

use nf_core::vpc::document::SecurityGroup;
use nf_core::vpc::id::{ResourceId as _, SecurityGroupId};
use nf_core::vpc::{self, SecurityGroupIx};
use serde::{Deserialize, Serialize};

use super::permission::IpPermission;
use super::{default_egress, default_group};
use crate::actions::resource::parse;
use crate::actions::tags::{Tag, told};
use crate::actions::{Action, Query, Refusal, View};

/// Tells about security groups, default ones too that the document does not have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeSecurityGroups {
    /// Which. Left out: all.
    #[serde(default)]
    pub group_ids: Vec<String>,
    /// Which, by their names. Left out: all.
    #[serde(default)]
    pub group_names: Vec<String>,
}

/// Security groups in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroups {
    /// All about each.
    pub security_groups: Vec<Group>,
}

/// All about a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// `sg-…`
    pub group_id: String,
    /// Its name.
    pub group_name: String,
    /// Free text.
    pub description: String,
    /// Its VPC.
    pub vpc_id: String,
    /// The VPC's account.
    pub owner_id: String,
    /// What may come in.
    pub ip_permissions: Vec<IpPermission>,
    /// What may go out.
    pub ip_permissions_egress: Vec<IpPermission>,
    /// Labels.
    pub tags: Vec<Tag>,
}

impl Action for DescribeSecurityGroups {
    const NAME: &'static str = "DescribeSecurityGroups";
    type Answer = SecurityGroups;
}

impl Query for DescribeSecurityGroups {
    fn answer(&self, view: &View<'_>) -> Result<SecurityGroups, Refusal> {
        let mut ids: Vec<SecurityGroupId> = Vec::with_capacity(self.group_ids.len());
        for id in &self.group_ids {
            ids.push(parse(id)?);
        }
        let named = |group: &vpc::SecurityGroup| {
            (ids.is_empty() || ids.contains(&group.id))
                && (self.group_names.is_empty()
                    || self.group_names.iter().any(|name| **name == *group.name))
        };
        let found: Vec<_> = view.snapshot.security_groups().filter(|it| named(it.1)).collect();
        if let Some(id) = ids.iter().find(|id| !found.iter().any(|(_, group)| group.id == **id)) {
            return Err(Refusal::not_found(id));
        }
        if let Some(name) =
            self.group_names.iter().find(|name| !found.iter().any(|it| *it.1.name == ***name))
        {
            let message = format!("no security group is named `{name}`");
            return Err(Refusal::new(SecurityGroupId::NOT_FOUND, message));
        }
        let security_groups = found.into_iter().map(|(ix, group)| describe(view, ix, group));
        Ok(SecurityGroups { security_groups: security_groups.collect() })
    }
}

fn describe(view: &View<'_>, ix: SecurityGroupIx, group: &vpc::SecurityGroup) -> Group {
    let vpc = &view.document.vpc[group.vpc.0 as usize];
    // Default groups that the document does not have come behind those it has.
    let unsaid;
    let declared = view.document.security_group.get(ix.0 as usize);
    let said: &SecurityGroup = if let Some(declared) = declared {
        declared
    } else {
        unsaid = default_group(group.id.clone(), vpc);
        &unsaid
    };
    let egress = said.egress.clone().unwrap_or_else(|| default_egress(vpc));
    Group {
        group_id: said.group_id.to_string(),
        group_name: said.group_name.clone(),
        description: said.description.clone(),
        vpc_id: said.vpc_id.to_string(),
        owner_id: vpc.owner_id.clone(),
        ip_permissions: IpPermission::of_rules(&said.ingress),
        ip_permissions_egress: IpPermission::of_rules(&egress),
        tags: told(&said.tags),
    }
}
