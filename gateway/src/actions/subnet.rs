//! Actions on subnets.

use ipnet::{Ipv4Net, Ipv6Net};
use nf_core::vpc::SubnetIx;
use nf_core::vpc::document::{Subnet, Vpc, default_zone};
use nf_core::vpc::id::SubnetId;
use serde::{Deserialize, Serialize};

use super::resource::{chosen, find, place};
use super::room::Room;
use super::{Action, AttributeValue, Change, Draft, Edit, Query, Refusal, Return, View};

/// Makes a subnet of a VPC, with the VPC's main route table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSubnet {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub subnet_id: Option<String>,
    /// Its VPC.
    pub vpc_id: String,
    /// Its IPv4 addresses, inside the VPC's.
    pub cidr_block: Ipv4Net,
    /// Its IPv6 addresses, inside the VPC's.
    pub ipv6_cidr_block: Option<Ipv6Net>,
    /// The zone it is in. Left out: the one of everything where nothing is said.
    pub availability_zone: Option<String>,
    /// Ours: the Linux interface that is its segment. Left out: it has none.
    pub port: Option<String>,
}

/// The subnet that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneSubnet {
    /// All about it.
    pub subnet: SubnetDescription,
}

/// Deletes a subnet without interfaces.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteSubnet {
    /// Its id.
    pub subnet_id: String,
}

/// Changes one attribute of a subnet, for interfaces that are made from now on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifySubnetAttribute {
    /// The subnet.
    pub subnet_id: String,
    /// Whether interfaces that are made in it get a public IPv4 address.
    pub map_public_ip_on_launch: Option<AttributeValue<bool>>,
    /// Whether interfaces that are made in it get an IPv6 address.
    pub assign_ipv6_address_on_creation: Option<AttributeValue<bool>>,
}

/// Tells about subnets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeSubnets {
    /// Which. Left out: all.
    #[serde(default)]
    pub subnet_ids: Vec<String>,
}

/// Subnets in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnets {
    /// All about each.
    pub subnets: Vec<SubnetDescription>,
}

/// All about a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetDescription {
    /// `subnet-…`
    pub subnet_id: String,
    /// `available`
    pub state: String,
    /// Its VPC.
    pub vpc_id: String,
    /// The VPC's account.
    pub owner_id: String,
    /// Its IPv4 addresses.
    pub cidr_block: Ipv4Net,
    /// Its IPv6 addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr_block: Option<Ipv6Net>,
    /// How many IPv4 addresses no interface has. Hosts of a segment that nobody has declared are
    /// not known.
    pub available_ip_address_count: u64,
    /// The zone it is in.
    pub availability_zone: String,
    /// Whether interfaces that are made in it get a public IPv4 address.
    pub map_public_ip_on_launch: bool,
    /// Whether interfaces that are made in it get an IPv6 address.
    pub assign_ipv6_address_on_creation: bool,
    /// Ours: the Linux interface that is its segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

impl Action for CreateSubnet {
    const NAME: &'static str = "CreateSubnet";
    type Answer = OneSubnet;
}

impl Change for CreateSubnet {
    fn apply(&self, draft: &mut Draft) -> Result<OneSubnet, Refusal> {
        let place = draft.edit(|edit| {
            let vpc_id = find::<Vpc>(edit.document, &self.vpc_id)?.vpc_id.clone();
            let availability_zone = self.availability_zone.clone();
            edit.document.subnet.push(Subnet {
                subnet_id: edit.ids.chosen(self.subnet_id.as_deref())?,
                vpc_id,
                // EC2: "we modify the specified CIDR block to its canonical form".
                cidr_block: self.cidr_block.trunc(),
                ipv6_cidr_block: self.ipv6_cidr_block.map(|block| block.trunc()),
                route_table_id: None,
                port: self.port.as_deref().map(Box::from),
                availability_zone: availability_zone.unwrap_or_else(default_zone),
                map_public_ip_on_launch: false,
                assign_ipv6_address_on_creation: false,
            });
            Ok(edit.document.subnet.len() - 1)
        })?;
        Ok(OneSubnet { subnet: describe(&draft.view(), place) })
    }
}

impl Action for DeleteSubnet {
    const NAME: &'static str = "DeleteSubnet";
    type Answer = Return;
}

impl Change for DeleteSubnet {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<Subnet>(edit.document, &self.subnet_id)?;
            let id = &edit.document.subnet[place].subnet_id;
            if let Some(user) = user_of(edit, id) {
                let message = format!("{id} is in use by {user}: delete that before");
                return Err(Refusal::dependency(message));
            }
            edit.document.subnet.remove(place);
            Ok(Return::TRUE)
        })
    }
}

impl Action for ModifySubnetAttribute {
    const NAME: &'static str = "ModifySubnetAttribute";
    type Answer = Return;
}

impl Change for ModifySubnetAttribute {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        if self.map_public_ip_on_launch.is_some() == self.assign_ipv6_address_on_creation.is_some()
        {
            let message = "one attribute is changed at a time: map_public_ip_on_launch or \
                           assign_ipv6_address_on_creation";
            return Err(Refusal::combination(message));
        }
        draft.edit(|edit| {
            let place = place::<Subnet>(edit.document, &self.subnet_id)?;
            let subnet = &mut edit.document.subnet[place];
            if let Some(public) = &self.map_public_ip_on_launch {
                subnet.map_public_ip_on_launch = public.value;
            }
            if let Some(ipv6) = &self.assign_ipv6_address_on_creation {
                if ipv6.value && subnet.ipv6_cidr_block.is_none() {
                    let message = format!("{} has no ipv6_cidr_block", subnet.subnet_id);
                    return Err(Refusal::value(message));
                }
                subnet.assign_ipv6_address_on_creation = ipv6.value;
            }
            Ok(Return::TRUE)
        })
    }
}

impl Action for DescribeSubnets {
    const NAME: &'static str = "DescribeSubnets";
    type Answer = Subnets;
}

impl Query for DescribeSubnets {
    fn answer(&self, view: &View<'_>) -> Result<Subnets, Refusal> {
        let found = chosen::<Subnet>(view.document, &self.subnet_ids)?;
        Ok(Subnets { subnets: found.into_iter().map(|(place, _)| describe(view, place)).collect() })
    }
}

fn describe(view: &View<'_>, place: usize) -> SubnetDescription {
    let subnet = &view.document.subnet[place];
    let ix = SubnetIx(place as u32);
    let vpc = view.snapshot.vpc(view.snapshot.subnet(ix).vpc);
    SubnetDescription {
        subnet_id: subnet.subnet_id.to_string(),
        state: "available".to_owned(),
        vpc_id: subnet.vpc_id.to_string(),
        owner_id: vpc.owner_id.to_string(),
        cidr_block: subnet.cidr_block,
        ipv6_cidr_block: subnet.ipv6_cidr_block,
        available_ip_address_count: Room::available_ipv4(view.snapshot, ix),
        availability_zone: subnet.availability_zone.clone(),
        map_public_ip_on_launch: subnet.map_public_ip_on_launch,
        assign_ipv6_address_on_creation: subnet.assign_ipv6_address_on_creation,
        port: subnet.port.as_ref().map(ToString::to_string),
    }
}

/// An interface in a subnet, declared or of a function.
fn user_of(edit: &Edit<'_>, id: &SubnetId) -> Option<String> {
    let mut enis = edit.before.enis().map(|(_, eni)| eni);
    let eni = enis.find(|eni| edit.before.subnet(eni.subnet).id == *id)?;
    let of =
        if eni.is_requester_managed() { format!(" ({})", eni.description) } else { String::new() };
    Some(format!("network interface {}{of}", eni.id))
}
