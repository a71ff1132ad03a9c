//! Security groups: those of the document, then the default ones of VPCs that declare none. Each is
//! compiled once, for all the interfaces that name it.

mod roster;
mod rule;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::ids::Ids;
use super::network::Network;
use super::prefix_list::PrefixLists;
use super::{Path, Problems};
use crate::vpc::document::Document;
use crate::vpc::id::SecurityGroupId;
use crate::vpc::invalid::InvalidSecurityGroup;
use crate::vpc::model::{Peer, Rules, SecurityGroup, SecurityGroupIx, Service, VpcIx};

use roster::Roster;
use rule::Named;

/// The name of a VPC's own group.
const DEFAULT: &str = "default";

/// The security groups of a snapshot.
pub(super) struct SecurityGroups<'d> {
    pub(super) groups: Vec<Option<SecurityGroup>>,
    roster: Roster<'d>,
}

impl<'d> SecurityGroups<'d> {
    pub(super) fn resolve(
        document: &'d Document,
        ids: &Ids<'_>,
        network: &Network,
        problems: &mut Problems,
    ) -> Self {
        let roster = Roster::collect(document, ids, network, problems);
        let prefix_lists = PrefixLists::resolve(document, problems);
        let named = Named { ids, roster: &roster, prefix_lists: &prefix_lists };
        let mut groups = Vec::new();
        for (place, group) in document.security_group.iter().enumerate() {
            let path = Path::of("security_group", place);
            groups.push(roster.vpc(SecurityGroupIx::at(place)).map(|vpc| SecurityGroup {
                id: group.group_id.clone(),
                name: group.group_name.as_str().into(),
                vpc,
                ingress: rule::compile(&path.key("ingress"), &group.ingress, vpc, &named, problems),
                egress: group.egress.as_ref().map_or_else(everything, |egress| {
                    rule::compile(&path.key("egress"), egress, vpc, &named, problems)
                }),
            }));
        }
        groups.extend(roster.derived().map(|(ix, vpc, id)| {
            Some(SecurityGroup {
                id: id.clone(),
                name: DEFAULT.into(),
                vpc,
                ingress: [(Peer::Group(ix), Service::ALL)].into_iter().collect(),
                egress: everything(),
            })
        }));
        Self { groups, roster }
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
            return self.roster.default_of(vpc).into_iter().collect();
        }
        let mut groups = Vec::with_capacity(named.len());
        for (place, id) in named.iter().enumerate() {
            let at = || path.index(place);
            let Some(group) = self.roster.find(id, vpc, ids, at, problems) else { continue };
            if groups.contains(&group) {
                problems.add(at(), InvalidSecurityGroup::Twice { id: id.clone() }.into());
            } else {
                groups.push(group);
            }
        }
        groups
    }
}

/// What EC2 lets out of a group that it has just made.
fn everything() -> Rules {
    let networks = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    networks.map(|network| (Peer::Network(network), Service::ALL)).into_iter().collect()
}
