//! Making an instance known, with its primary interface and perhaps others.

use std::net::Ipv4Addr;

use nf_core::vpc::document::{
    Instance, InstancePort, InstanceState, NetworkCard, NetworkInterfaceType, Subnet,
};
use nf_core::vpc::id::{InstanceId, ResourceId as _};
use serde::{Deserialize, Serialize};

use super::Instances;
use super::describe::{Placement, describe};
use crate::actions::network_interface::{
    At, CreateNetworkInterface, InstanceIpv6Address, Ipv4PrefixSpecification,
    Ipv6PrefixSpecification, PrivateIpAddressSpecification, PublicIp, attach, make, own_interface,
};
use crate::actions::resource::find;
use crate::actions::tags::{TagSpecification, specified};
use crate::actions::{Action, Change, Draft, Edit, Refusal};

/// Makes a running instance known. EC2's parameters about images and machines have no place here;
/// the ports that lead to it are ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInstances {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub instance_id: Option<String>,
    /// Where it is. Left out: in the zone of its primary interface's subnet.
    pub placement: Option<Placement>,
    /// Ours: the Linux interfaces that lead to it, one for each network interface it may have.
    #[serde(default)]
    pub ports: Vec<InstancePort>,
    /// Ours: network cards with limits of their own.
    #[serde(default)]
    pub network_cards: Vec<NetworkCard>,
    /// Its network interfaces, the primary one (device index 0 on network card 0) among them.
    pub network_interfaces: Vec<InstanceNetworkInterfaceSpecification>,
    /// Labels, of `instance`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// An interface that an instance is launched with: one that is there, or one to be made as by
/// [`CreateNetworkInterface`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceNetworkInterfaceSpecification {
    /// Its place at the instance.
    pub device_index: u16,
    /// The network card. Left out: 0.
    pub network_card_index: Option<u16>,
    /// Whether it goes when the instance does. Left out: an interface that is made here goes, one
    /// that was there before stays.
    pub delete_on_termination: Option<bool>,
    /// An interface that is there.
    pub network_interface_id: Option<String>,
    /// The subnet of one that is made.
    pub subnet_id: Option<String>,
    /// Whether it gets a public address. Left out: as its subnet has it, if it is the only one.
    pub associate_public_ip_address: Option<bool>,
    /// As for `CreateNetworkInterface`, like everything below.
    pub description: Option<String>,
    /// Its primary private address.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Private addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<PrivateIpAddressSpecification>,
    /// How many secondary private addresses to choose.
    pub secondary_private_ip_address_count: Option<u16>,
    /// Prefixes.
    #[serde(default)]
    pub ipv4_prefixes: Vec<Ipv4PrefixSpecification>,
    /// How many prefixes to choose.
    pub ipv4_prefix_count: Option<u16>,
    /// IPv6 addresses.
    #[serde(default)]
    pub ipv6_addresses: Vec<InstanceIpv6Address>,
    /// How many IPv6 addresses to choose.
    pub ipv6_address_count: Option<u16>,
    /// IPv6 prefixes.
    #[serde(default)]
    pub ipv6_prefixes: Vec<Ipv6PrefixSpecification>,
    /// How many IPv6 prefixes to choose.
    pub ipv6_prefix_count: Option<u16>,
    /// Ids of its security groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// `interface` (when left out), `efa` or `efa-only`.
    pub interface_type: Option<NetworkInterfaceType>,
}

impl Action for RunInstances {
    const NAME: &'static str = "RunInstances";
    type Answer = Instances;
}

impl Change for RunInstances {
    fn apply(&self, draft: &mut Draft) -> Result<Instances, Refusal> {
        let place = draft.edit(|edit| {
            let id: InstanceId = edit.ids.chosen(self.instance_id.as_deref())?;
            let primary = self.network_interfaces.iter().find(|it| it.is_primary());
            let Some(primary) = primary else {
                let message = "an instance has a primary network interface: name one with \
                               device_index 0 in network_interfaces";
                return Err(Refusal::missing(message));
            };
            let availability_zone = match &self.placement {
                Some(placement) => placement.availability_zone.clone(),
                None => primary.zone(edit)?,
            };
            edit.document.instance.push(Instance {
                instance_id: id.clone(),
                state: InstanceState::Running,
                availability_zone,
                port: self.ports.clone(),
                network_card: self.network_cards.clone(),
                tags: specified(&self.tag_specifications, "instance")?,
            });
            let is_alone = self.network_interfaces.len() == 1;
            for wanted in &self.network_interfaces {
                wanted.launch(edit, id.as_str(), is_alone)?;
            }
            Ok(edit.document.instance.len() - 1)
        })?;
        Ok(Instances { instances: describe(&draft.view(), std::iter::once(place)) })
    }
}

impl InstanceNetworkInterfaceSpecification {
    fn is_primary(&self) -> bool {
        self.device_index == 0 && self.network_card_index.unwrap_or(0) == 0
    }

    fn zone(&self, edit: &Edit<'_>) -> Result<String, Refusal> {
        let subnet_id = match &self.network_interface_id {
            Some(id) => {
                let place = own_interface(edit, id)?;
                edit.document.network_interface[place].subnet_id.to_string()
            }
            None => self.subnet()?.to_owned(),
        };
        Ok(find::<Subnet>(edit.document, &subnet_id)?.availability_zone.clone())
    }

    fn subnet(&self) -> Result<&str, Refusal> {
        let message = "a network interface needs network_interface_id or subnet_id";
        self.subnet_id.as_deref().ok_or_else(|| Refusal::missing(message))
    }

    /// Attaches it, perhaps after making it.
    fn launch(
        &self,
        edit: &mut Edit<'_>,
        instance_id: &str,
        is_alone: bool,
    ) -> Result<(), Refusal> {
        let (place, is_made) = if let Some(id) = &self.network_interface_id {
            (self.existing(edit, id)?, false)
        } else {
            let made = make(edit, &self.to_create()?, self.public_ip(is_alone)?)?;
            edit.document.network_interface.push(made);
            (edit.document.network_interface.len() - 1, true)
        };
        let at = At {
            instance_id,
            device_index: self.device_index,
            network_card_index: self.network_card_index.unwrap_or(0),
            delete_on_termination: self.delete_on_termination.unwrap_or(is_made),
        };
        attach(edit, place, &at).map(drop)
    }

    fn existing(&self, edit: &Edit<'_>, id: &str) -> Result<usize, Refusal> {
        let of_new_one = self.subnet_id.is_some()
            || self.associate_public_ip_address.is_some()
            || self.description.is_some()
            || self.private_ip_address.is_some()
            || !self.private_ip_addresses.is_empty()
            || self.secondary_private_ip_address_count.is_some()
            || !self.ipv4_prefixes.is_empty()
            || self.ipv4_prefix_count.is_some()
            || !self.ipv6_addresses.is_empty()
            || self.ipv6_address_count.is_some()
            || !self.ipv6_prefixes.is_empty()
            || self.ipv6_prefix_count.is_some()
            || !self.groups.is_empty()
            || self.interface_type.is_some();
        if of_new_one {
            let message = format!("{id} is there already: what it is to be like is settled");
            return Err(Refusal::combination(message));
        }
        own_interface(edit, id)
    }

    /// EC2: "The public IP address can only be assigned to a network interface for eth0, and can
    /// only be assigned to a new network interface, not an existing one. You cannot specify more
    /// than one network interface in the request."
    fn public_ip(&self, is_alone: bool) -> Result<PublicIp, Refusal> {
        match self.associate_public_ip_address {
            Some(true) if !is_alone => Err(Refusal::combination(
                "associate_public_ip_address is for an instance with one network interface",
            )),
            Some(given) => Ok(PublicIp::Is(given)),
            None if is_alone => Ok(PublicIp::AsSubnet),
            None => Ok(PublicIp::Is(false)),
        }
    }

    fn to_create(&self) -> Result<CreateNetworkInterface, Refusal> {
        Ok(CreateNetworkInterface {
            network_interface_id: None,
            subnet_id: self.subnet()?.to_owned(),
            description: self.description.clone(),
            private_ip_address: self.private_ip_address,
            private_ip_addresses: self.private_ip_addresses.clone(),
            secondary_private_ip_address_count: self.secondary_private_ip_address_count,
            ipv4_prefixes: self.ipv4_prefixes.clone(),
            ipv4_prefix_count: self.ipv4_prefix_count,
            ipv6_addresses: self.ipv6_addresses.clone(),
            ipv6_address_count: self.ipv6_address_count,
            ipv6_prefixes: self.ipv6_prefixes.clone(),
            ipv6_prefix_count: self.ipv6_prefix_count,
            groups: self.groups.clone(),
            interface_type: self.interface_type,
            connection_tracking_specification: None,
            mac_address: None,
            tag_specifications: Vec::new(),
        })
    }
}
