//! Private IPv4 addresses and prefixes of a network interface, while it lives.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use nf_core::vpc::SubnetIx;
use nf_core::vpc::document::{NetworkInterface as Declared, Subnet};
use serde::{Deserialize, Serialize};

use super::create::one_way;
use super::{Ipv4PrefixSpecification, disassociate, own_interface, private_of};
use crate::actions::resource::place;
use crate::actions::room::Room;
use crate::actions::{Action, Change, Draft, Edit, Refusal, Return};

/// Gives an interface secondary addresses or prefixes: these, or so many.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignPrivateIpAddresses {
    /// The interface.
    pub network_interface_id: String,
    /// Addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// How many addresses to choose.
    pub secondary_private_ip_address_count: Option<u16>,
    /// Prefixes, each a /28.
    #[serde(default)]
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// How many prefixes to choose.
    pub ipv4_prefix_count: Option<u16>,
    /// Whether addresses may be taken from other interfaces, where they are secondary ones. Elastic
    /// IP addresses on them come along.
    pub allow_reassignment: Option<bool>,
}

/// What was assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedPrivateIpAddresses {
    /// The interface.
    pub network_interface_id: String,
    /// The addresses.
    pub assigned_private_ip_addresses: Vec<AssignedPrivateIpAddress>,
    /// The prefixes.
    pub assigned_ipv4_prefixes: Vec<Ipv4PrefixSpecification>,
}

/// An address that was assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedPrivateIpAddress {
    /// The address.
    pub private_ip_address: Ipv4Addr,
}

/// Takes secondary addresses and prefixes from an interface. Elastic IP addresses on them stay
/// allocated.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnassignPrivateIpAddresses {
    /// The interface.
    pub network_interface_id: String,
    /// Addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// Prefixes.
    #[serde(default)]
    pub ipv4_prefixes: Vec<Ipv4Net>,
}

impl Action for AssignPrivateIpAddresses {
    const NAME: &'static str = "AssignPrivateIpAddresses";
    type Answer = AssignedPrivateIpAddresses;
}

impl Change for AssignPrivateIpAddresses {
    fn apply(&self, draft: &mut Draft) -> Result<AssignedPrivateIpAddresses, Refusal> {
        let ways = [
            ("private_ip_addresses", !self.private_ip_addresses.is_empty()),
            (
                "secondary_private_ip_address_count",
                self.secondary_private_ip_address_count.is_some(),
            ),
            ("ipv4_prefixes", !self.ipv4_prefixes.is_empty()),
            ("ipv4_prefix_count", self.ipv4_prefix_count.is_some()),
        ];
        one_way(&ways)?;
        if !ways.iter().any(|(_, given)| *given) {
            let message = "say what to assign: private_ip_addresses, \
                           secondary_private_ip_address_count, ipv4_prefixes or ipv4_prefix_count";
            return Err(Refusal::missing(message));
        }
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            let mut addresses = self.private_ip_addresses.clone();
            for address in &addresses {
                self.take_from_others(edit, place, *address)?;
            }
            let mut prefixes = self.ipv4_prefixes.clone();
            let mut room = room_of(edit, place)?;
            for _ in 0..self.secondary_private_ip_address_count.unwrap_or(0) {
                addresses.push(room.take_ipv4()?);
            }
            for _ in 0..self.ipv4_prefix_count.unwrap_or(0) {
                prefixes.push(room.take_ipv4_prefix()?);
            }
            let interface = &mut edit.document.network_interface[place];
            for address in &addresses {
                if !has(interface, *address) {
                    interface.secondary_private_ip_addresses.push(*address);
                }
            }
            for prefix in &prefixes {
                if !interface.ipv4_prefixes.contains(prefix) {
                    interface.ipv4_prefixes.push(*prefix);
                }
            }
            let address = |private_ip_address| AssignedPrivateIpAddress { private_ip_address };
            let prefix = |ipv4_prefix| Ipv4PrefixSpecification { ipv4_prefix };
            Ok(AssignedPrivateIpAddresses {
                network_interface_id: interface.network_interface_id.to_string(),
                assigned_private_ip_addresses: addresses.into_iter().map(address).collect(),
                assigned_ipv4_prefixes: prefixes.into_iter().map(prefix).collect(),
            })
        })
    }
}

impl AssignPrivateIpAddresses {
    /// Takes an address from the interface that has it, unless that is the one it is for. Others of
    /// its VPC can only have it where it is in their subnet, and then this one cannot.
    fn take_from_others(
        &self,
        edit: &mut Edit<'_>,
        to: usize,
        address: Ipv4Addr,
    ) -> Result<(), Refusal> {
        let subnet_id = edit.document.network_interface[to].subnet_id.clone();
        let is_managed = edit.before.enis().any(|(_, eni)| {
            eni.is_requester_managed()
                && eni.private_ips.contains(&address)
                && edit.before.subnet(eni.subnet).id == subnet_id
        });
        let interfaces = edit.document.network_interface.iter();
        let from = interfaces
            .enumerate()
            .find(|(_, it)| it.subnet_id == subnet_id && has(it, address))
            .map(|(from, _)| from)
            .filter(|from| *from != to);
        if from.is_none() && !is_managed {
            return Ok(());
        }
        let assigned = |message: String| Err(Refusal::new("Resource.AlreadyAssigned", message));
        let Some(from) = from else {
            return assigned(format!("{address} is the address of a requester-managed interface"));
        };
        let holder = edit.document.network_interface[from].network_interface_id.clone();
        if edit.document.network_interface[from].private_ip_address == Some(address) {
            return assigned(format!("{address} is the primary address of {holder}, and stays so"));
        }
        if self.allow_reassignment != Some(true) {
            return assigned(format!(
                "{address} is assigned to {holder} already: allow_reassignment moves it"
            ));
        }
        let to = edit.document.network_interface[to].network_interface_id.clone();
        let interface = &mut edit.document.network_interface[from];
        interface.secondary_private_ip_addresses.retain(|it| *it != address);
        for elastic in &mut edit.document.address {
            if elastic.network_interface_id.as_ref() == Some(&holder)
                && private_of(elastic, interface) == Some(IpAddr::V4(address))
            {
                elastic.network_interface_id = Some(to.clone());
            }
        }
        Ok(())
    }
}

impl Action for UnassignPrivateIpAddresses {
    const NAME: &'static str = "UnassignPrivateIpAddresses";
    type Answer = Return;
}

impl Change for UnassignPrivateIpAddresses {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        if self.private_ip_addresses.is_empty() && self.ipv4_prefixes.is_empty() {
            let message = "say what to take away: private_ip_addresses or ipv4_prefixes";
            return Err(Refusal::missing(message));
        }
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            let interface = &edit.document.network_interface[place];
            let id = &interface.network_interface_id;
            for address in &self.private_ip_addresses {
                if interface.private_ip_address == Some(*address) {
                    let message = format!("{address} is the primary address of {id}, and stays so");
                    return Err(Refusal::value(message));
                }
                if !interface.secondary_private_ip_addresses.contains(address) {
                    return Err(Refusal::value(format!("{address} is not assigned to {id}")));
                }
            }
            for prefix in &self.ipv4_prefixes {
                if !interface.ipv4_prefixes.contains(prefix) {
                    return Err(Refusal::value(format!("{prefix} is not assigned to {id}")));
                }
            }
            disassociate(edit.document, place, |private| {
                let IpAddr::V4(private) = private else { return false };
                self.private_ip_addresses.contains(&private)
                    || self.ipv4_prefixes.iter().any(|prefix| prefix.contains(&private))
            });
            let interface = &mut edit.document.network_interface[place];
            let gone = &self.private_ip_addresses;
            interface.secondary_private_ip_addresses.retain(|it| !gone.contains(it));
            interface.ipv4_prefixes.retain(|it| !self.ipv4_prefixes.contains(it));
            Ok(Return::TRUE)
        })
    }
}

fn has(interface: &Declared, address: Ipv4Addr) -> bool {
    interface.private_ip_address == Some(address)
        || interface.secondary_private_ip_addresses.contains(&address)
}

/// What is free in the subnet of an interface.
pub(super) fn room_of<'e>(edit: &Edit<'e>, interface: usize) -> Result<Room<'e>, Refusal> {
    let subnet_id = edit.document.network_interface[interface].subnet_id.to_string();
    let place = place::<Subnet>(edit.document, &subnet_id)?;
    Ok(Room::of(edit.before, edit.document, SubnetIx(place as u32)))
}
