//! Elastic IP addresses of a public gateway, while it lives.

use std::net::IpAddr;

use nf_core::vpc::document::{Address, ConnectivityType, SecondaryAddress};
use nf_core::vpc::id::AllocationId;
use serde::{Deserialize, Serialize};

use super::describe::{NatGatewayAddresses, addresses_of};
use super::drain::drain_end;
use super::{interface_of, room_in, to_change};
use crate::actions::network_interface::association_id;
use crate::actions::resource::parse;
use crate::actions::room::Room;
use crate::actions::{Action, Change, Draft, Refusal};

/// Gives a public gateway secondary addresses, which new flows leave from at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The Elastic IP addresses.
    pub allocation_ids: Vec<String>,
    /// The private addresses that they stand for, the first for the first and so on. Where there
    /// are fewer: the lowest free ones.
    #[serde(default)]
    pub private_ip_addresses: Vec<IpAddr>,
}

/// Lets secondary addresses of a public gateway drain, and takes them away when the time is up. They
/// stay allocated.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisassociateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The associations.
    pub association_ids: Vec<String>,
    /// Seconds after which flows that are left end, 1 to 4000. Left out: 350.
    pub max_drain_duration_seconds: Option<u32>,
}

impl Action for AssociateNatGatewayAddress {
    const NAME: &'static str = "AssociateNatGatewayAddress";
    type Answer = NatGatewayAddresses;
}

impl Change for AssociateNatGatewayAddress {
    fn apply(&self, draft: &mut Draft) -> Result<NatGatewayAddresses, Refusal> {
        if self.allocation_ids.is_empty() {
            return Err(Refusal::missing("say what to associate: allocation_ids"));
        }
        let place = draft.edit(|edit| {
            let place = to_change(edit, &self.nat_gateway_id, ConnectivityType::Public)?;
            let subnet_id = edit.document.nat_gateway[place].subnet_id.to_string();
            let mut room = room_in(edit, &subnet_id)?;
            let (allocations, given) = (&self.allocation_ids, &self.private_ip_addresses);
            let added = pair(&edit.document.address, allocations, given, &mut room)?;
            edit.document.nat_gateway[place].secondary_address.extend(added);
            Ok(place)
        })?;
        Ok(addresses_of(&draft.view(), place, |it| {
            it.allocation_id.as_ref().is_some_and(|id| self.allocation_ids.contains(id))
        }))
    }
}

/// Secondary addresses of these allocations, each with the private address given for it or a free
/// one of its family.
pub(super) fn pair(
    addresses: &[Address],
    allocation_ids: &[String],
    given: &[IpAddr],
    room: &mut Room<'_>,
) -> Result<Vec<SecondaryAddress>, Refusal> {
    if given.len() > allocation_ids.len() {
        let message = format!(
            "{} private addresses are too many for {} Elastic IP addresses: each stands for one",
            given.len(),
            allocation_ids.len()
        );
        return Err(Refusal::combination(message));
    }
    for address in given {
        room.use_address(*address);
    }
    let of_one = |(position, id): (usize, &String)| {
        let id: AllocationId = parse(id)?;
        let address = addresses.iter().find(|it| it.allocation_id == id);
        let address = address.ok_or_else(|| Refusal::not_found(&id))?;
        let private = match (given.get(position), address.public_ip) {
            (Some(given), _) => *given,
            (None, IpAddr::V4(_)) => room.take_ipv4()?.into(),
            (None, IpAddr::V6(_)) => room.take_ipv6()?.into(),
        };
        Ok(SecondaryAddress {
            allocation_id: Some(id),
            private_ip_address: Some(private),
            drain_until: None,
        })
    };
    allocation_ids.iter().enumerate().map(of_one).collect()
}

impl Action for DisassociateNatGatewayAddress {
    const NAME: &'static str = "DisassociateNatGatewayAddress";
    type Answer = NatGatewayAddresses;
}

impl Change for DisassociateNatGatewayAddress {
    fn apply(&self, draft: &mut Draft) -> Result<NatGatewayAddresses, Refusal> {
        if self.association_ids.is_empty() {
            return Err(Refusal::missing("say what to disassociate: association_ids"));
        }
        let place = draft.edit(|edit| {
            let end = drain_end(edit.now, self.max_drain_duration_seconds)?;
            let place = to_change(edit, &self.nat_gateway_id, ConnectivityType::Public)?;
            let gateway = &mut edit.document.nat_gateway[place];
            let eni = interface_of(edit.before, gateway);
            let public = eni.into_iter().flat_map(|eni| {
                let of_one = |id: &AllocationId, private| association_id(id, &eni.id, private);
                eni.public_ips.iter().filter_map(move |it| {
                    let id = it.allocation_id.as_ref()?;
                    Some((of_one(id, it.private_ip), id))
                })
            });
            let public: Vec<_> = public.collect();
            for wanted in &self.association_ids {
                let Some((_, id)) = public.iter().find(|(association, _)| association == wanted)
                else {
                    let message =
                        format!("{} has no association `{wanted}`", gateway.nat_gateway_id);
                    return Err(Refusal::new("InvalidAssociationID.NotFound", message));
                };
                let mut secondary = gateway.secondary_address.iter_mut();
                let found = secondary.find(|it| it.allocation_id.as_ref() == Some(*id));
                let Some(secondary) = found else {
                    let gateway = &gateway.nat_gateway_id;
                    let message = format!("{id} is the primary address of {gateway}, and stays");
                    return Err(Refusal::not_permitted(message));
                };
                secondary.drain_until = Some(end);
            }
            Ok(place)
        })?;
        Ok(addresses_of(&draft.view(), place, |it| {
            it.association_id.as_ref().is_some_and(|id| self.association_ids.contains(id))
        }))
    }
}
