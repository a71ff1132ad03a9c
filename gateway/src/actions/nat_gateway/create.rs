//! Making and deleting NAT gateways.

use std::net::{IpAddr, Ipv4Addr};

use nf_core::vpc::document::{
    ConnectivityType, FilteringBehavior, MappingBehavior, NatGateway as Declared, Subnet,
};
use serde::{Deserialize, Serialize};

use super::assignment::secondary;
use super::association::pair;
use super::describe::{NatGateway, describe};
use super::room_in;
use crate::actions::resource::{find, parse, place};
use crate::actions::tags::{TagSpecification, specified};
use crate::actions::{Action, Change, Draft, Refusal};

/// Makes a NAT gateway, which works at once. Its private addresses are written down: they stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateNatGateway {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub nat_gateway_id: Option<String>,
    /// Its subnet.
    pub subnet_id: String,
    /// `public` (when left out) or `private`.
    pub connectivity_type: Option<ConnectivityType>,
    /// The primary Elastic IP address of a public one.
    pub allocation_id: Option<String>,
    /// Further ones.
    #[serde(default)]
    pub secondary_allocation_ids: Vec<String>,
    /// Its primary private address. Left out: the lowest free one.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Its secondary private addresses. Of a public one: those that the further Elastic IP addresses
    /// stand for, the first for the first and so on.
    #[serde(default)]
    pub secondary_private_ip_addresses: Vec<Ipv4Addr>,
    /// How many secondary private addresses of a private one to choose, instead.
    pub secondary_private_ip_address_count: Option<u32>,
    /// Ours: `symmetric` (when left out) or `endpoint-independent`.
    pub mapping: Option<MappingBehavior>,
    /// Ours: who may send to a mapping that is endpoint-independent.
    pub filtering: Option<FilteringBehavior>,
    /// Labels, of `natgateway`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// The gateway that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// All about it.
    pub nat_gateway: NatGateway,
}

/// Deletes a NAT gateway, and ends its flows. Its Elastic IP addresses stay allocated, and routes to
/// it become blackholes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteNatGateway {
    /// Its id.
    pub nat_gateway_id: String,
}

/// The gateway that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Its id.
    pub nat_gateway_id: String,
}

impl Action for CreateNatGateway {
    const NAME: &'static str = "CreateNatGateway";
    type Answer = Created;
}

impl Change for CreateNatGateway {
    fn apply(&self, draft: &mut Draft) -> Result<Created, Refusal> {
        let place = draft.edit(|edit| {
            let subnet_id = find::<Subnet>(edit.document, &self.subnet_id)?.subnet_id.clone();
            let connectivity_type = self.connectivity_type.unwrap_or_default();
            let mut room = room_in(edit, &self.subnet_id)?;
            let given = &self.secondary_private_ip_addresses;
            for address in self.private_ip_address.iter().chain(given) {
                room.use_address(IpAddr::V4(*address));
            }
            let primary = match self.private_ip_address {
                Some(primary) => primary,
                None => room.take_ipv4()?,
            };
            let secondary_address = match connectivity_type {
                ConnectivityType::Private => {
                    if !self.secondary_allocation_ids.is_empty() {
                        let message = "a private NAT gateway has no Elastic IP address: leave \
                                       secondary_allocation_ids out";
                        return Err(Refusal::combination(message));
                    }
                    secondary(given, self.secondary_private_ip_address_count, &mut room)?
                }
                ConnectivityType::Public => {
                    if self.secondary_private_ip_address_count.is_some() {
                        let message = "a public NAT gateway has a private address for each Elastic \
                                       IP address: leave secondary_private_ip_address_count out";
                        return Err(Refusal::combination(message));
                    }
                    let given: Vec<_> = given.iter().copied().map(IpAddr::V4).collect();
                    let allocations = &self.secondary_allocation_ids;
                    pair(&edit.document.address, allocations, &given, &mut room)?
                }
            };
            let id = edit.ids.chosen(self.nat_gateway_id.as_deref())?;
            edit.document.nat_gateway.push(Declared {
                connectivity_type,
                allocation_ids: self
                    .allocation_id
                    .iter()
                    .map(|id| parse(id))
                    .collect::<Result<_, _>>()?,
                private_ip_address: Some(primary),
                secondary_address,
                mapping: self.mapping.unwrap_or_default(),
                filtering: self.filtering,
                tags: specified(&self.tag_specifications, "natgateway")?,
                ..Declared::new(id, subnet_id)
            });
            Ok(edit.document.nat_gateway.len() - 1)
        })?;
        Ok(Created { nat_gateway: describe(&draft.view(), place) })
    }
}

impl Action for DeleteNatGateway {
    const NAME: &'static str = "DeleteNatGateway";
    type Answer = Deleted;
}

impl Change for DeleteNatGateway {
    fn apply(&self, draft: &mut Draft) -> Result<Deleted, Refusal> {
        draft.edit(|edit| {
            let place = place::<Declared>(edit.document, &self.nat_gateway_id)?;
            let gone = edit.document.nat_gateway.remove(place);
            Ok(Deleted { nat_gateway_id: gone.nat_gateway_id.to_string() })
        })
    }
}
