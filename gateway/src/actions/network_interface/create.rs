//! Making and deleting network interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nf_core::packet::MacAddr;
use nf_core::vpc::SubnetIx;
use nf_core::vpc::document::{
    ConnectionTracking, Document, NetworkInterface as Declared, NetworkInterfaceType, Subnet,
};
use nf_core::vpc::id::EniId;
use serde::{Deserialize, Serialize};

use super::{NetworkInterface, describe, disassociate, own_interface, placed};
use crate::actions::resource::place;
use crate::actions::room::{Room, take_public_ipv4};
use crate::actions::security_group::named_groups;
use crate::actions::tags::{TagSpecification, specified};
use crate::actions::{Action, Change, Draft, Edit, Refusal, Return};

/// Makes a network interface that is attached to nothing.
///
/// Without a choice of addresses it gets the lowest free one. A choice of secondary addresses or
/// prefixes is made in one of four ways: addresses, how many, prefixes, how many prefixes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateNetworkInterface {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub network_interface_id: Option<String>,
    /// Its subnet.
    pub subnet_id: String,
    /// Free text.
    pub description: Option<String>,
    /// Its primary private address.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Private addresses; one of them may be the primary one.
    #[serde(default)]
    pub private_ip_addresses: Vec<PrivateIpAddressSpecification>,
    /// How many secondary private addresses to choose.
    pub secondary_private_ip_address_count: Option<u16>,
    /// Prefixes, each a /28.
    #[serde(default)]
    pub ipv4_prefixes: Vec<Ipv4PrefixSpecification>,
    /// How many prefixes to choose.
    pub ipv4_prefix_count: Option<u16>,
    /// IPv6 addresses.
    #[serde(default)]
    pub ipv6_addresses: Vec<InstanceIpv6Address>,
    /// How many IPv6 addresses to choose; 0 where the subnet would give one.
    pub ipv6_address_count: Option<u16>,
    /// IPv6 prefixes, each a /80.
    #[serde(default)]
    pub ipv6_prefixes: Vec<Ipv6PrefixSpecification>,
    /// How many IPv6 prefixes to choose.
    pub ipv6_prefix_count: Option<u16>,
    /// Ids of its security groups. Left out: the default group of its VPC.
    #[serde(default)]
    pub groups: Vec<String>,
    /// `interface` (when left out), `efa` or `efa-only`.
    pub interface_type: Option<NetworkInterfaceType>,
    /// Idle times of its flows.
    pub connection_tracking_specification: Option<ConnectionTracking>,
    /// Ours: its MAC address, where the instance's own is settled already. Left out: derived from
    /// the id.
    pub mac_address: Option<MacAddr>,
    /// Labels, of `network-interface`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// A private address of a new interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateIpAddressSpecification {
    /// The address.
    pub private_ip_address: Ipv4Addr,
    /// Whether it is the primary one.
    #[serde(default)]
    pub primary: bool,
}

/// A prefix of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipv4PrefixSpecification {
    /// The prefix.
    pub ipv4_prefix: Ipv4Net,
}

/// An IPv6 address of a new interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceIpv6Address {
    /// The address.
    pub ipv6_address: Ipv6Addr,
}

/// An IPv6 prefix of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipv6PrefixSpecification {
    /// The prefix.
    pub ipv6_prefix: Ipv6Net,
}

/// The interface that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// All about it.
    pub network_interface: NetworkInterface,
}

/// Deletes a network interface that is attached to nothing. Elastic IP addresses on it stay
/// allocated; routes to it become blackholes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteNetworkInterface {
    /// Its id.
    pub network_interface_id: String,
}

/// Whether a new interface gets a public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::actions) enum PublicIp {
    /// As its subnet has it.
    AsSubnet,
    /// Whatever its subnet has.
    Is(bool),
}

impl Action for CreateNetworkInterface {
    const NAME: &'static str = "CreateNetworkInterface";
    type Answer = Created;
}

impl Change for CreateNetworkInterface {
    fn apply(&self, draft: &mut Draft) -> Result<Created, Refusal> {
        let place = draft.edit(|edit| {
            let made = make(edit, self, PublicIp::AsSubnet)?;
            edit.document.network_interface.push(made);
            Ok(edit.document.network_interface.len() - 1)
        })?;
        Ok(Created { network_interface: describe(&draft.view(), placed(place)) })
    }
}

impl Action for DeleteNetworkInterface {
    const NAME: &'static str = "DeleteNetworkInterface";
    type Answer = Return;
}

impl Change for DeleteNetworkInterface {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            let interface = &edit.document.network_interface[place];
            let id = &interface.network_interface_id;
            let holder = match (&interface.attachment, &interface.port) {
                (Some(attachment), _) => Some(attachment.instance_id.to_string()),
                (None, Some(port)) => Some(format!("the port {port}")),
                (None, None) => None,
            };
            if let Some(holder) = holder {
                let message =
                    format!("network interface {id} is currently in use by {holder}: detach it");
                return Err(Refusal::new("InvalidNetworkInterface.InUse", message));
            }
            delete(edit.document, place);
            Ok(Return::TRUE)
        })
    }
}

/// Takes an interface out of the document, with what is on it.
pub(in crate::actions) fn delete(document: &mut Document, place: usize) {
    disassociate(document, place, |_| true);
    document.network_interface.remove(place);
}

/// An interface as it is wanted, not yet in the document.
pub(in crate::actions) fn make(
    edit: &mut Edit<'_>,
    wanted: &CreateNetworkInterface,
    public_ip: PublicIp,
) -> Result<Declared, Refusal> {
    wanted.check_combination()?;
    let place = place::<Subnet>(edit.document, &wanted.subnet_id)?;
    let id: EniId = edit.ids.chosen(wanted.network_interface_id.as_deref())?;
    let groups = named_groups(edit, &wanted.groups)?;
    let subnet = &edit.document.subnet[place];
    let mut interface = Declared {
        network_interface_id: id,
        subnet_id: subnet.subnet_id.clone(),
        interface_type: wanted.interface_type.unwrap_or_default(),
        private_ip_address: None,
        secondary_private_ip_addresses: wanted.secondary().collect(),
        ipv4_prefixes: wanted.ipv4_prefixes.iter().map(|it| it.ipv4_prefix).collect(),
        ipv6_addresses: wanted.ipv6_addresses.iter().map(|it| it.ipv6_address).collect(),
        ipv6_prefixes: wanted.ipv6_prefixes.iter().map(|it| it.ipv6_prefix).collect(),
        public_ip: None,
        mac_address: wanted.mac_address,
        groups,
        source_dest_check: true,
        connection_tracking: wanted.connection_tracking_specification.unwrap_or_default(),
        port: None,
        attachment: None,
        description: wanted.description.clone().unwrap_or_default(),
        tags: specified(&wanted.tag_specifications, "network-interface")?,
    };
    if interface.interface_type == NetworkInterfaceType::EfaOnly {
        wanted.check_without_ip()?;
        return Ok(interface);
    }

    let mut room = Room::of(edit.before, edit.document, SubnetIx(place as u32));
    // What is asked for first, so that no choice takes it.
    let primary = wanted.primary();
    let v4 = primary.iter().chain(&interface.secondary_private_ip_addresses);
    v4.for_each(|address| room.use_address(IpAddr::V4(*address)));
    interface.ipv6_addresses.iter().for_each(|address| room.use_address(IpAddr::V6(*address)));
    interface.ipv4_prefixes.iter().for_each(|prefix| room.use_prefix(IpNet::V4(*prefix)));
    interface.ipv6_prefixes.iter().for_each(|prefix| room.use_prefix(IpNet::V6(*prefix)));

    interface.private_ip_address = match primary {
        Some(primary) => Some(primary),
        None => Some(room.take_ipv4()?),
    };
    for _ in 0..wanted.secondary_private_ip_address_count.unwrap_or(0) {
        interface.secondary_private_ip_addresses.push(room.take_ipv4()?);
    }
    for _ in 0..wanted.ipv4_prefix_count.unwrap_or(0) {
        interface.ipv4_prefixes.push(room.take_ipv4_prefix()?);
    }
    let given = u16::from(subnet.assign_ipv6_address_on_creation && !wanted.chooses_ipv6());
    for _ in 0..wanted.ipv6_address_count.unwrap_or(given) {
        interface.ipv6_addresses.push(room.take_ipv6()?);
    }
    for _ in 0..wanted.ipv6_prefix_count.unwrap_or(0) {
        interface.ipv6_prefixes.push(room.take_ipv6_prefix()?);
    }
    let is_public = match public_ip {
        PublicIp::AsSubnet => subnet.map_public_ip_on_launch,
        PublicIp::Is(is) => is,
    };
    if is_public {
        let pools: Vec<_> = edit.document.public_ipv4_pool.iter().collect();
        interface.public_ip = Some(take_public_ipv4(edit.document, &pools)?);
    }
    Ok(interface)
}

impl CreateNetworkInterface {
    /// EC2 takes one way of choosing a family's addresses or prefixes.
    fn check_combination(&self) -> Result<(), Refusal> {
        let primaries = self.private_ip_addresses.iter().filter(|it| it.primary).count();
        if primaries + usize::from(self.private_ip_address.is_some()) > 1 {
            let message = "only one private address can be the primary one: private_ip_address, or \
                           one of private_ip_addresses";
            return Err(Refusal::combination(message));
        }
        one_way(&[
            ("private_ip_addresses", !self.private_ip_addresses.is_empty()),
            (
                "secondary_private_ip_address_count",
                self.secondary_private_ip_address_count.is_some(),
            ),
            ("ipv4_prefixes", !self.ipv4_prefixes.is_empty()),
            ("ipv4_prefix_count", self.ipv4_prefix_count.is_some()),
        ])?;
        one_way(&[
            ("ipv6_addresses", !self.ipv6_addresses.is_empty()),
            ("ipv6_address_count", self.ipv6_address_count.is_some_and(|count| count > 0)),
            ("ipv6_prefixes", !self.ipv6_prefixes.is_empty()),
            ("ipv6_prefix_count", self.ipv6_prefix_count.is_some()),
        ])
    }

    fn check_without_ip(&self) -> Result<(), Refusal> {
        let without = self.private_ip_address.is_none()
            && self.private_ip_addresses.is_empty()
            && self.secondary_private_ip_address_count.is_none()
            && self.ipv4_prefixes.is_empty()
            && self.ipv4_prefix_count.is_none()
            && !self.chooses_ipv6();
        if without {
            Ok(())
        } else {
            Err(Refusal::combination("an efa-only interface has no IP addresses: leave them out"))
        }
    }

    /// The primary private address, if it is chosen.
    fn primary(&self) -> Option<Ipv4Addr> {
        let listed = self.private_ip_addresses.iter().find(|it| it.primary);
        self.private_ip_address.or_else(|| listed.map(|it| it.private_ip_address))
    }

    fn secondary(&self) -> impl Iterator<Item = Ipv4Addr> {
        let secondary = self.private_ip_addresses.iter().filter(|it| !it.primary);
        secondary.map(|it| it.private_ip_address)
    }

    fn chooses_ipv6(&self) -> bool {
        !self.ipv6_addresses.is_empty()
            || self.ipv6_address_count.is_some()
            || !self.ipv6_prefixes.is_empty()
            || self.ipv6_prefix_count.is_some()
    }
}

/// Refuses more than one of several parameters that exclude each other.
pub(super) fn one_way(ways: &[(&str, bool)]) -> Result<(), Refusal> {
    let mut given = ways.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
    match (given.next(), given.next()) {
        (Some(first), Some(second)) => {
            Err(Refusal::combination(format!("{first} and {second} exclude each other: keep one")))
        }
        _ => Ok(()),
    }
}
