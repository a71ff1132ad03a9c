//! Actions on VPCs.

use ipnet::{Ipv4Net, Ipv6Net};
use nf_core::vpc::document::{Document, RouteTable, Vpc, default_owner};
use nf_core::vpc::id::{ResourceId as _, VpcId};
use serde::{Deserialize, Serialize};

use super::resource::{chosen, place};
use super::{Action, Change, Draft, Query, Refusal, Return, View};

/// Makes a VPC with a main route table and a default security group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVpc {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub vpc_id: Option<String>,
    /// Its IPv4 addresses, /16 to /28.
    pub cidr_block: Ipv4Net,
    /// Its IPv6 addresses.
    pub ipv6_cidr_block: Option<Ipv6Net>,
    /// Ours: the account it belongs to.
    pub owner_id: Option<String>,
}

/// The VPC that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneVpc {
    /// All about it.
    pub vpc: VpcDescription,
}

/// Deletes a VPC in which nothing is but what every VPC has: its main route table and its default
/// security group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteVpc {
    /// Its id.
    pub vpc_id: String,
}

/// Tells about VPCs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeVpcs {
    /// Which. Left out: all.
    #[serde(default)]
    pub vpc_ids: Vec<String>,
}

/// VPCs in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpcs {
    /// All about each.
    pub vpcs: Vec<VpcDescription>,
}

/// All about a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcDescription {
    /// `vpc-…`
    pub vpc_id: String,
    /// `available`
    pub state: String,
    /// Its account.
    pub owner_id: String,
    /// Its IPv4 addresses.
    pub cidr_block: Ipv4Net,
    /// Its IPv6 addresses.
    pub ipv6_cidr_block_association_set: Vec<Ipv6CidrBlockAssociation>,
}

/// A block of IPv6 addresses of a VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6CidrBlockAssociation {
    /// The block.
    pub ipv6_cidr_block: Ipv6Net,
}

impl Action for CreateVpc {
    const NAME: &'static str = "CreateVpc";
    type Answer = OneVpc;
}

impl Change for CreateVpc {
    fn apply(&self, draft: &mut Draft) -> Result<OneVpc, Refusal> {
        draft.edit(|edit| {
            let vpc = Vpc {
                vpc_id: edit.ids.chosen(self.vpc_id.as_deref())?,
                // EC2: "we modify the specified CIDR block to its canonical form".
                cidr_block: self.cidr_block.trunc(),
                ipv6_cidr_block: self.ipv6_cidr_block.map(|block| block.trunc()),
                owner_id: self.owner_id.clone().unwrap_or_else(default_owner),
            };
            edit.document.route_table.push(RouteTable {
                route_table_id: edit.ids.next(),
                vpc_id: vpc.vpc_id.clone(),
                main: true,
                route: Vec::new(),
            });
            let told = describe(&vpc);
            edit.document.vpc.push(vpc);
            Ok(OneVpc { vpc: told })
        })
    }
}

impl Action for DeleteVpc {
    const NAME: &'static str = "DeleteVpc";
    type Answer = Return;
}

impl Change for DeleteVpc {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<Vpc>(edit.document, &self.vpc_id)?;
            let id = edit.document.vpc[place].vpc_id.clone();
            if let Some(user) = user_of(edit.document, &id) {
                let message = format!("{user} is in {id}: delete that before");
                return Err(Refusal::dependency(message));
            }
            edit.document.vpc.remove(place);
            edit.document.route_table.retain(|it| it.vpc_id != id);
            edit.document.security_group.retain(|it| it.vpc_id != id);
            Ok(Return::TRUE)
        })
    }
}

impl Action for DescribeVpcs {
    const NAME: &'static str = "DescribeVpcs";
    type Answer = Vpcs;
}

impl Query for DescribeVpcs {
    fn answer(&self, view: &View<'_>) -> Result<Vpcs, Refusal> {
        let found = chosen::<Vpc>(view.document, &self.vpc_ids)?;
        Ok(Vpcs { vpcs: found.into_iter().map(|(_, vpc)| describe(vpc)).collect() })
    }
}

fn describe(vpc: &Vpc) -> VpcDescription {
    let ipv6 = vpc.ipv6_cidr_block.into_iter();
    VpcDescription {
        vpc_id: vpc.vpc_id.to_string(),
        state: "available".to_owned(),
        owner_id: vpc.owner_id.clone(),
        cidr_block: vpc.cidr_block,
        ipv6_cidr_block_association_set: ipv6
            .map(|ipv6_cidr_block| Ipv6CidrBlockAssociation { ipv6_cidr_block })
            .collect(),
    }
}

/// What keeps a VPC from being deleted, if anything does.
fn user_of(document: &Document, id: &VpcId) -> Option<String> {
    let subnets = document.subnet.iter().filter(|it| it.vpc_id == *id);
    let gateways = document.internet_gateway.iter().filter(|it| it.vpc_id.as_ref() == Some(id));
    let tables = document.route_table.iter().filter(|it| it.vpc_id == *id && !it.main);
    let groups = document.security_group.iter();
    let groups = groups.filter(|it| it.vpc_id == *id && it.group_name != "default");
    let target_groups = document.target_group.iter().filter(|it| it.vpc_id == *id);
    let mut users = subnets
        .map(|it| it.subnet_id.as_str())
        .chain(gateways.map(|it| it.internet_gateway_id.as_str()))
        .chain(tables.map(|it| it.route_table_id.as_str()))
        .chain(groups.map(|it| it.group_id.as_str()))
        .chain(target_groups.map(|it| it.target_group_name.as_str()));
    users.next().map(str::to_owned)
}
