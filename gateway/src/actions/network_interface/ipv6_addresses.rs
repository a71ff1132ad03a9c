//! IPv6 addresses and prefixes of a network interface, while it lives.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::create::one_way;
use super::private_addresses::room_of;
use super::{disassociate, own_interface};
use crate::actions::{Action, Change, Draft, Refusal};

/// Gives an interface IPv6 addresses or prefixes: these, or so many.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignIpv6Addresses {
    /// The interface.
    pub network_interface_id: String,
    /// Addresses.
    #[serde(default)]
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// How many addresses to choose.
    pub ipv6_address_count: Option<u16>,
    /// Prefixes, each a /80.
    #[serde(default)]
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// How many prefixes to choose.
    pub ipv6_prefix_count: Option<u16>,
}

/// What was assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedIpv6Addresses {
    /// The interface.
    pub network_interface_id: String,
    /// The addresses.
    pub assigned_ipv6_addresses: Vec<Ipv6Addr>,
    /// The prefixes.
    pub assigned_ipv6_prefixes: Vec<Ipv6Net>,
}

/// Takes IPv6 addresses and prefixes from an interface. Elastic IP addresses on them stay
/// allocated.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnassignIpv6Addresses {
    /// The interface.
    pub network_interface_id: String,
    /// Addresses.
    #[serde(default)]
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Prefixes.
    #[serde(default)]
    pub ipv6_prefixes: Vec<Ipv6Net>,
}

/// What was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnassignedIpv6Addresses {
    /// The interface.
    pub network_interface_id: String,
    /// The addresses.
    pub unassigned_ipv6_addresses: Vec<Ipv6Addr>,
    /// The prefixes.
    pub unassigned_ipv6_prefixes: Vec<Ipv6Net>,
}

impl Action for AssignIpv6Addresses {
    const NAME: &'static str = "AssignIpv6Addresses";
    type Answer = AssignedIpv6Addresses;
}

impl Change for AssignIpv6Addresses {
    fn apply(&self, draft: &mut Draft) -> Result<AssignedIpv6Addresses, Refusal> {
        let ways = [
            ("ipv6_addresses", !self.ipv6_addresses.is_empty()),
            ("ipv6_address_count", self.ipv6_address_count.is_some()),
            ("ipv6_prefixes", !self.ipv6_prefixes.is_empty()),
            ("ipv6_prefix_count", self.ipv6_prefix_count.is_some()),
        ];
        one_way(&ways)?;
        if !ways.iter().any(|(_, given)| *given) {
            let message = "say what to assign: ipv6_addresses, ipv6_address_count, ipv6_prefixes \
                           or ipv6_prefix_count";
            return Err(Refusal::missing(message));
        }
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            let mut addresses = self.ipv6_addresses.clone();
            let mut prefixes = self.ipv6_prefixes.clone();
            let mut room = room_of(edit, place)?;
            for _ in 0..self.ipv6_address_count.unwrap_or(0) {
                addresses.push(room.take_ipv6()?);
            }
            for _ in 0..self.ipv6_prefix_count.unwrap_or(0) {
                prefixes.push(room.take_ipv6_prefix()?);
            }
            let interface = &mut edit.document.network_interface[place];
            for address in &addresses {
                if !interface.ipv6_addresses.contains(address) {
                    interface.ipv6_addresses.push(*address);
                }
            }
            for prefix in &prefixes {
                if !interface.ipv6_prefixes.contains(prefix) {
                    interface.ipv6_prefixes.push(*prefix);
                }
            }
            Ok(AssignedIpv6Addresses {
                network_interface_id: interface.network_interface_id.to_string(),
                assigned_ipv6_addresses: addresses,
                assigned_ipv6_prefixes: prefixes,
            })
        })
    }
}

impl Action for UnassignIpv6Addresses {
    const NAME: &'static str = "UnassignIpv6Addresses";
    type Answer = UnassignedIpv6Addresses;
}

impl Change for UnassignIpv6Addresses {
    fn apply(&self, draft: &mut Draft) -> Result<UnassignedIpv6Addresses, Refusal> {
        if self.ipv6_addresses.is_empty() && self.ipv6_prefixes.is_empty() {
            let message = "say what to take away: ipv6_addresses or ipv6_prefixes";
            return Err(Refusal::missing(message));
        }
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            let interface = &edit.document.network_interface[place];
            let id = interface.network_interface_id.to_string();
            let strange = |what: &dyn std::fmt::Display| {
                Err(Refusal::value(format!("{what} is not assigned to {id}")))
            };
            for address in &self.ipv6_addresses {
                if !interface.ipv6_addresses.contains(address) {
                    return strange(address);
                }
            }
            for prefix in &self.ipv6_prefixes {
                if !interface.ipv6_prefixes.contains(prefix) {
                    return strange(prefix);
                }
            }
            disassociate(edit.document, place, |private| {
                let IpAddr::V6(private) = private else { return false };
                self.ipv6_addresses.contains(&private)
                    || self.ipv6_prefixes.iter().any(|prefix| prefix.contains(&private))
            });
            let interface = &mut edit.document.network_interface[place];
            interface.ipv6_addresses.retain(|it| !self.ipv6_addresses.contains(it));
            interface.ipv6_prefixes.retain(|it| !self.ipv6_prefixes.contains(it));
            Ok(UnassignedIpv6Addresses {
                network_interface_id: id,
                unassigned_ipv6_addresses: self.ipv6_addresses.clone(),
                unassigned_ipv6_prefixes: self.ipv6_prefixes.clone(),
            })
        })
    }
}
