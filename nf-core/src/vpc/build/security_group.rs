//! Security groups: those of the document, then the default ones of VPCs that declare none.

use super::derived::hash_of;
use super::ids::Ids;
use super::network::Network;
use super::{Path, Problems};
use crate::vpc::document::Document;
use crate::vpc::hash::Map;
use crate::vpc::id::{DealtId as _, ResourceId, SecurityGroupId};
use crate::vpc::model::{SecurityGroup, SecurityGroupIx, VpcIx};

/// The name of a VPC's own group.
const DEFAULT: &str = "default";

/// The security groups of a snapshot.
pub(super) struct SecurityGroups {
    pub(super) groups: Vec<Option<SecurityGroup>>,
    default_of: Map<VpcIx, SecurityGroupIx>,
}

impl SecurityGroups {
    pub(super) fn resolve(
        document: &Document,
        ids: &Ids<'_>,
        network: &Network,
        problems: &mut Problems,
    ) -> Self {
        let mut groups = Vec::new();
        let mut default_of = Map::default();
        for (place, group) in document.security_group.iter().enumerate() {
            let path = Path::of("security_group", place);
            let vpc = ids.vpcs.find(&group.vpc_id, || path.key("vpc_id"), problems);
            let vpc = vpc.map(VpcIx::at);
            if let Some(vpc) = vpc.filter(|_| group.group_name == DEFAULT) {
                default_of.entry(vpc).or_insert(SecurityGroupIx::at(place));
            }
            groups.push(vpc.map(|vpc| SecurityGroup {
                id: group.group_id.clone(),
                name: group.group_name.as_str().into(),
                vpc,
            }));
        }
        for (place, vpc) in network.vpcs.iter().enumerate() {
            let ix = VpcIx::at(place);
            let Some(vpc) = vpc.as_ref().filter(|_| !default_of.contains_key(&ix)) else {
                continue;
            };
            default_of.insert(ix, SecurityGroupIx::at(groups.len()));
            groups.push(Some(SecurityGroup {
                id: SecurityGroupId::dealt(hash_of(&["default", vpc.id.as_str()]).into()),
                name: DEFAULT.into(),
                vpc: ix,
            }));
        }
        Self { groups, default_of }
    }

    /// The groups of an interface in `vpc` that names these; without any, the VPC's default one.
    pub(super) fn of_interface(
        &self,
        named: &[SecurityGroupId],
        vpc: VpcIx,
        ids: &Ids<'_>,
        path: &Path,
        problems: &mut Problems,
    ) -> Vec<SecurityGroupIx> {
        if named.is_empty() {
            return self.default_of.get(&vpc).copied().into_iter().collect();
        }
        let mut groups = Vec::new();
        for (place, id) in named.iter().enumerate() {
            let at = || path.index(place);
            if let Some(group) = ids.security_groups.find(id, at, problems) {
                groups.push(SecurityGroupIx::at(group));
            }
        }
        groups
    }
}
