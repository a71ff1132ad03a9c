//! Which security groups there are, in which VPC, under which name: what interfaces and rules refer
//! to.

use super::DEFAULT;
use crate::vpc::build::derived::hash_of;
use crate::vpc::build::ids::Ids;
use crate::vpc::build::network::Network;
use crate::vpc::build::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, Document};
use crate::vpc::hash::Map;
use crate::vpc::id::{DealtId as _, ResourceId, SecurityGroupId};
use crate::vpc::invalid::InvalidSecurityGroup;
use crate::vpc::model::{SecurityGroupIx, VpcIx};

/// The longest name of a group, in characters (`CreateSecurityGroup`).
const MAX_NAME: usize = 255;

/// What names have besides letters and digits (`CreateSecurityGroup`).
const PUNCTUATION: &[u8] = b" ._-:/()#,@[]+=&;{}!$*";

/// The security groups of a document and the default ones of VPCs that declare none.
pub(super) struct Roster<'d> {
    document: &'d Document,
    /// The VPC of each group, derived ones last.
    vpcs: Vec<Option<VpcIx>>,
    default_of: Map<VpcIx, SecurityGroupIx>,
    /// The groups that the document does not have. It may name them all the same: whoever lists
    /// the groups sees their ids.
    derived: Vec<(SecurityGroupIx, VpcIx, SecurityGroupId)>,
    derived_by_id: Map<SecurityGroupId, SecurityGroupIx>,
}

impl<'d> Roster<'d> {
    pub(super) fn collect(
        document: &'d Document,
        ids: &Ids<'_>,
        network: &Network,
        problems: &mut Problems,
    ) -> Self {
        let mut roster = Self {
            document,
            vpcs: Vec::new(),
            default_of: Map::default(),
            derived: Vec::new(),
            derived_by_id: Map::default(),
        };
        roster.declare(ids, problems);
        roster.derive(ids, network, problems);
        roster
    }

    /// Takes the groups of the document.
    fn declare(&mut self, ids: &Ids<'_>, problems: &mut Problems) {
        let mut names: Map<(VpcIx, String), usize> = Map::default();
        for (place, group) in self.document.security_group.iter().enumerate() {
            let path = Path::of("security_group", place);
            let name = &group.group_name;
            let at = || path.key("group_name");
            if !is_name(name) {
                let kind = InvalidSecurityGroup::Name { name: name.as_str().into() };
                problems.add(at(), kind.into());
            }
            let vpc = ids.vpcs.find(&group.vpc_id, || path.key("vpc_id"), problems);
            let vpc = vpc.map(VpcIx::at);
            self.vpcs.push(vpc);
            let Some(vpc) = vpc else { continue };
            // "Names are case-insensitive and must be unique within the VPC"
            // (`CreateSecurityGroup`).
            let key = name.to_ascii_lowercase();
            if key == DEFAULT {
                self.default_of.entry(vpc).or_insert(SecurityGroupIx::at(place));
            }
            let first = *names.entry((vpc, key)).or_insert(place);
            if first != place {
                problems.add(at(), name_in_use(group, first).into());
            }
        }
    }

    /// Adds the default groups that are left to add.
    fn derive(&mut self, ids: &Ids<'_>, network: &Network, problems: &mut Problems) {
        for (place, vpc) in network.vpcs.iter().enumerate() {
            let ix = VpcIx::at(place);
            let Some(vpc) = vpc.as_ref().filter(|_| !self.default_of.contains_key(&ix)) else {
                continue;
            };
            let id = SecurityGroupId::dealt(hash_of(&["default", vpc.id.as_str()]).into());
            if let Some(declared) = ids.security_groups.get(&id) {
                let at = Path::of("security_group", declared).key("group_id");
                problems.add(at, InvalidKind::duplicate(&id, Path::of("vpc", place)));
            }
            let group = SecurityGroupIx::at(self.vpcs.len());
            self.vpcs.push(Some(ix));
            self.default_of.insert(ix, group);
            self.derived_by_id.insert(id.clone(), group);
            self.derived.push((group, ix, id));
        }
    }

    /// The VPC of a group.
    pub(super) fn vpc(&self, group: SecurityGroupIx) -> Option<VpcIx> {
        *self.vpcs.get(group.place())?
    }

    /// The default group of a VPC.
    pub(super) fn default_of(&self, vpc: VpcIx) -> Option<SecurityGroupIx> {
        self.default_of.get(&vpc).copied()
    }

    /// The default groups that the document does not have.
    pub(super) fn derived(
        &self,
    ) -> impl Iterator<Item = (SecurityGroupIx, VpcIx, &SecurityGroupId)> {
        self.derived.iter().map(|(ix, vpc, id)| (*ix, *vpc, id))
    }

    /// The group of that id, for something in `vpc`; that there is none, or only in another VPC,
    /// is a problem of the value at `path`.
    pub(super) fn find(
        &self,
        id: &SecurityGroupId,
        vpc: VpcIx,
        ids: &Ids<'_>,
        path: impl Fn() -> Path,
        problems: &mut Problems,
    ) -> Option<SecurityGroupIx> {
        let group = match self.derived_by_id.get(id) {
            Some(derived) => *derived,
            None => SecurityGroupIx::at(ids.security_groups.find(id, &path, problems)?),
        };
        // That its VPC does not exist was reported with the group.
        let found = self.vpc(group)?;
        if found == vpc {
            return Some(group);
        }
        let [found, wanted] = [found, vpc].map(|ix| self.document.vpc[ix.place()].vpc_id.clone());
        let kind = InvalidSecurityGroup::OtherVpc { id: id.clone(), found, wanted };
        problems.add(path(), kind.into());
        None
    }
}

fn name_in_use(group: &document::SecurityGroup, first: usize) -> InvalidSecurityGroup {
    InvalidSecurityGroup::NameInUse {
        name: group.group_name.as_str().into(),
        vpc: group.vpc_id.clone(),
        other: Path::of("security_group", first),
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || PUNCTUATION.contains(&byte))
        && !name.starts_with("sg-")
}
