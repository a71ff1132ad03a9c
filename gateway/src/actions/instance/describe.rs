//! Telling about instances.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use nf_core::vpc::document::Instance;
use nf_core::vpc::{EniIx, InstanceIx};
use serde::{Deserialize, Serialize};

use super::State;
use crate::actions::network_interface::{self, NetworkInterface};
use crate::actions::resource::chosen;
use crate::actions::tags::{Tag, told};
use crate::actions::{Action, Query, Refusal, View};

/// Tells about instances.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeInstances {
    /// Which. Left out: all.
    #[serde(default)]
    pub instance_ids: Vec<String>,
}

/// Instances in the order of the document. EC2's reservations around them have no meaning here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// All about each.
    pub instances: Vec<InstanceDescription>,
}

/// All about an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceDescription {
    /// `i-…`
    pub instance_id: String,
    /// Whether it is running.
    pub state: State,
    /// Where it is.
    pub placement: Placement,
    /// The primary private address of its primary interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<Ipv4Addr>,
    /// Its network interfaces by card and device index.
    pub network_interfaces: Vec<InstanceNetworkInterface>,
    /// Ours: the Linux interfaces that lead to it.
    pub ports: Vec<Port>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The zone.
    pub availability_zone: String,
}

/// A network interface of an instance; `DescribeNetworkInterfaces` tells more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNetworkInterface {
    /// `eni-…`
    pub network_interface_id: String,
    /// `in-use` or `available`.
    pub status: String,
    /// Its subnet.
    pub subnet_id: String,
    /// The subnet's VPC.
    pub vpc_id: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Its primary private address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<Ipv4Addr>,
    /// Where it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<network_interface::Attachment>,
}

/// A Linux interface that leads to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The device index whose network interface it serves.
    pub device_index: u16,
    /// The network card.
    pub network_card_index: u16,
    /// Whether it is there.
    pub present: bool,
}

impl Action for DescribeInstances {
    const NAME: &'static str = "DescribeInstances";
    type Answer = Instances;
}

impl Query for DescribeInstances {
    fn answer(&self, view: &View<'_>) -> Result<Instances, Refusal> {
        let found = chosen::<Instance>(view.document, &self.instance_ids)?.into_iter();
        Ok(Instances { instances: describe(view, found.map(|(place, _)| place)) })
    }
}

/// All about the instances at these places in the document.
pub(super) fn describe(
    view: &View<'_>,
    places: impl Iterator<Item = usize>,
) -> Vec<InstanceDescription> {
    let mut attached: HashMap<InstanceIx, Vec<(At, EniIx)>> = HashMap::new();
    for (ix, eni) in view.snapshot.enis() {
        let Some(attachment) = &eni.attachment else { continue };
        let at = (attachment.network_card_index, attachment.device_index);
        attached.entry(attachment.instance).or_default().push((at, ix));
    }
    let of_one = |place: usize| {
        let enis = attached.remove(&InstanceIx(place as u32)).unwrap_or_default();
        describe_one(view, &view.document.instance[place], enis)
    };
    places.map(of_one).collect()
}

/// A place at an instance: network card and device index.
type At = (u16, u16);

fn describe_one(
    view: &View<'_>,
    instance: &Instance,
    mut enis: Vec<(At, EniIx)>,
) -> InstanceDescription {
    enis.sort_unstable();
    let primary = enis.first().filter(|(at, _)| *at == (0, 0)).map(|(_, eni)| *eni);
    let primary = primary.map(|eni| view.snapshot.eni(eni));
    let interfaces = enis.iter().map(|(_, eni)| network_interface::describe(view, *eni).into());
    let ports = instance.port.iter().map(|port| Port {
        name: port.name.to_string(),
        device_index: port.device_index,
        network_card_index: port.network_card_index,
        present: view.present.contains(&port.name),
    });
    InstanceDescription {
        instance_id: instance.instance_id.to_string(),
        state: instance.state.into(),
        placement: Placement { availability_zone: instance.availability_zone.clone() },
        private_ip_address: primary.and_then(|eni| eni.private_ips.first().copied()),
        network_interfaces: interfaces.collect(),
        ports: ports.collect(),
        tags: told(&instance.tags),
    }
}

impl From<NetworkInterface> for InstanceNetworkInterface {
    fn from(interface: NetworkInterface) -> Self {
        Self {
            network_interface_id: interface.network_interface_id,
            status: interface.status,
            subnet_id: interface.subnet_id,
            vpc_id: interface.vpc_id,
            mac_address: interface.mac_address,
            private_ip_address: interface.private_ip_address,
            attachment: interface.attachment,
        }
    }
}
