//! Private addresses of a private gateway, while it lives.

use std::net::{IpAddr, Ipv4Addr};

use nf_core::vpc::document::{ConnectivityType, SecondaryAddress};
use serde::{Deserialize, Serialize};

use super::describe::{NatGatewayAddresses, addresses_of};
use super::drain::drain_end;
use super::{room_in, to_change};
use crate::actions::room::Room;
use crate::actions::{Action, Change, Draft, Refusal};

/// Gives a private gateway secondary addresses, which new flows leave from at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignPrivateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// How many to choose, instead. Left out, like the addresses: one.
    pub private_ip_address_count: Option<u32>,
}

/// Lets secondary addresses of a private gateway drain, and takes them away when the time is up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnassignPrivateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The addresses.
    pub private_ip_addresses: Vec<IpAddr>,
    /// Seconds after which flows that are left end, 1 to 4000. Left out: 350.
    pub max_drain_duration_seconds: Option<u32>,
}

impl Action for AssignPrivateNatGatewayAddress {
    const NAME: &'static str = "AssignPrivateNatGatewayAddress";
    type Answer = NatGatewayAddresses;
}

impl Change for AssignPrivateNatGatewayAddress {
    fn apply(&self, draft: &mut Draft) -> Result<NatGatewayAddresses, Refusal> {
        let (place, added) = draft.edit(|edit| {
            let place = to_change(edit, &self.nat_gateway_id, ConnectivityType::Private)?;
            let subnet_id = edit.document.nat_gateway[place].subnet_id.to_string();
            let mut room = room_in(edit, &subnet_id)?;
            let count = match (self.private_ip_address_count, &self.private_ip_addresses[..]) {
                (None, []) => Some(1),
                (count, _) => count,
            };
            let added = secondary(&self.private_ip_addresses, count, &mut room)?;
            let private: Vec<_> = added.iter().filter_map(|it| it.private_ip_address).collect();
            edit.document.nat_gateway[place].secondary_address.extend(added);
            Ok((place, private))
        })?;
        Ok(addresses_of(&draft.view(), place, |it| added.contains(&it.private_ip)))
    }
}

/// Secondary addresses of a private gateway: these, or so many.
pub(super) fn secondary(
    given: &[Ipv4Addr],
    count: Option<u32>,
    room: &mut Room<'_>,
) -> Result<Vec<SecondaryAddress>, Refusal> {
    let private = match count {
        Some(_) if !given.is_empty() => {
            let message = "addresses and how many to choose exclude each other: keep one";
            return Err(Refusal::combination(message));
        }
        // EC2: beside the primary one of 32.
        Some(count) if !(1..=31).contains(&count) => {
            let message = format!("addresses are chosen from 1 to 31 at a time, not {count}");
            return Err(Refusal::value(message));
        }
        Some(count) => (0..count).map(|_| room.take_ipv4()).collect::<Result<_, _>>()?,
        None => given.to_vec(),
    };
    let of_one = |private: Ipv4Addr| SecondaryAddress {
        allocation_id: None,
        private_ip_address: Some(private.into()),
        drain_until: None,
    };
    Ok(private.into_iter().map(of_one).collect())
}

impl Action for UnassignPrivateNatGatewayAddress {
    const NAME: &'static str = "UnassignPrivateNatGatewayAddress";
    type Answer = NatGatewayAddresses;
}

impl Change for UnassignPrivateNatGatewayAddress {
    fn apply(&self, draft: &mut Draft) -> Result<NatGatewayAddresses, Refusal> {
        if self.private_ip_addresses.is_empty() {
            return Err(Refusal::missing("say what to unassign: private_ip_addresses"));
        }
        let place = draft.edit(|edit| {
            let end = drain_end(edit.now, self.max_drain_duration_seconds)?;
            let place = to_change(edit, &self.nat_gateway_id, ConnectivityType::Private)?;
            let gateway = &mut edit.document.nat_gateway[place];
            for address in &self.private_ip_addresses {
                let id = &gateway.nat_gateway_id;
                if gateway.private_ip_address.map(IpAddr::V4) == Some(*address) {
                    let message = format!("{address} is the primary address of {id}, and stays");
                    return Err(Refusal::not_permitted(message));
                }
                let mut secondary = gateway.secondary_address.iter_mut();
                let found = secondary.find(|it| it.private_ip_address == Some(*address));
                let Some(secondary) = found else {
                    return Err(Refusal::value(format!("{address} is not assigned to {id}")));
                };
                secondary.drain_until = Some(end);
            }
            Ok(place)
        })?;
        Ok(addresses_of(&draft.view(), place, |it| {
            self.private_ip_addresses.contains(&it.private_ip)
        }))
    }
}
