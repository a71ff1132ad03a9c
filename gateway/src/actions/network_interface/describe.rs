//! Telling about network interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nf_core::vpc::document::{ConnectionTracking, InstanceState, NetworkInterface as Declared};
use nf_core::vpc::id::{AllocationId, EniId, ResourceId as _};
use nf_core::vpc::{self, Eni, EniIx, Snapshot};
use serde::{Deserialize, Serialize};

use super::{Ipv4PrefixSpecification, Ipv6PrefixSpecification};
use crate::actions::ids::derived;
use crate::actions::resource::parse;
use crate::actions::tags::{Tag, told};
use crate::actions::{Action, Query, Refusal, View};

/// Tells about network interfaces, managed ones too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeNetworkInterfaces {
    /// Which. Left out: all.
    #[serde(default)]
    pub network_interface_ids: Vec<String>,
}

/// Network interfaces in the order of the document, managed ones last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkInterfaces {
    /// All about each.
    pub network_interfaces: Vec<NetworkInterface>,
}

/// All about a network interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// `eni-…`
    pub network_interface_id: String,
    /// Free text.
    pub description: String,
    /// `in-use` or `available`. One whose port has vanished is available.
    pub status: String,
    /// `interface`, `efa`, `efa-only`, `natGateway`, `network_load_balancer` or `lambda`.
    pub interface_type: String,
    /// Its subnet.
    pub subnet_id: String,
    /// The subnet's VPC.
    pub vpc_id: String,
    /// The subnet's zone.
    pub availability_zone: String,
    /// The VPC's account.
    pub owner_id: String,
    /// Whether a function of the gateway owns it, so that nobody else changes it.
    pub requester_managed: bool,
    /// Its MAC address, unless that is learnt from the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Whether packets neither from nor to its own addresses are dropped.
    pub source_dest_check: bool,
    /// Its security groups.
    pub groups: Vec<GroupIdentifier>,
    /// Its primary private address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<Ipv4Addr>,
    /// All its private addresses, the primary one first.
    pub private_ip_addresses: Vec<PrivateIpAddress>,
    /// Its prefixes.
    pub ipv4_prefixes: Vec<Ipv4PrefixSpecification>,
    /// Its primary IPv6 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<Ipv6Addr>,
    /// All its IPv6 addresses, the primary one first.
    pub ipv6_addresses: Vec<Ipv6Address>,
    /// Its IPv6 prefixes.
    pub ipv6_prefixes: Vec<Ipv6PrefixSpecification>,
    /// The public address on its primary private one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association: Option<Association>,
    /// Where it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Idle times of its flows, where they are not the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_tracking_configuration: Option<ConnectionTracking>,
    /// Labels.
    pub tag_set: Vec<Tag>,
    /// Ours: the Linux interface that leads to its instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// A security group by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupIdentifier {
    /// `sg-…`
    pub group_id: String,
    /// Its name.
    pub group_name: String,
}

/// A private address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateIpAddress {
    /// The address.
    pub private_ip_address: Ipv4Addr,
    /// Whether it is the primary one.
    pub primary: bool,
    /// The public address on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association: Option<Association>,
}

/// An IPv6 address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Address {
    /// The address.
    pub ipv6_address: Ipv6Addr,
    /// Whether it is the primary one.
    pub is_primary_ipv6: bool,
    /// Ours: the Elastic IP address on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association: Option<Association>,
}

/// A public address that stands for a private one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// `eipalloc-…`, unless the subnet gave the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
    /// `eipassoc-…`, unless the subnet gave the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association_id: Option<String>,
    /// The account of the address; `amazon` if the subnet gave it.
    pub ip_owner_id: String,
    /// The address.
    pub public_ip: IpAddr,
}

/// Where an interface is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// `eni-attach-…`
    pub attachment_id: String,
    /// Whether it goes when its instance does.
    pub delete_on_termination: bool,
    /// Its place at the instance.
    pub device_index: u16,
    /// The network card.
    pub network_card_index: u16,
    /// The instance.
    pub instance_id: String,
    /// The account of the instance.
    pub instance_owner_id: String,
    /// `attached`, or `detached` while its port is not there.
    pub status: String,
}

impl Action for DescribeNetworkInterfaces {
    const NAME: &'static str = "DescribeNetworkInterfaces";
    type Answer = NetworkInterfaces;
}

impl Query for DescribeNetworkInterfaces {
    fn answer(&self, view: &View<'_>) -> Result<NetworkInterfaces, Refusal> {
        let mut ids: Vec<EniId> = Vec::with_capacity(self.network_interface_ids.len());
        for id in &self.network_interface_ids {
            ids.push(parse(id)?);
        }
        let named = |eni: &Eni| ids.is_empty() || ids.contains(&eni.id);
        let found: Vec<_> = view.snapshot.enis().filter(|(_, eni)| named(eni)).collect();
        if let Some(missing) = ids.iter().find(|id| !found.iter().any(|(_, eni)| eni.id == **id)) {
            return Err(Refusal::not_found(missing));
        }
        let network_interfaces = found.into_iter().map(|(ix, _)| describe(view, ix)).collect();
        Ok(NetworkInterfaces { network_interfaces })
    }
}

/// The interface at a place in the document.
pub(in crate::actions) const fn placed(place: usize) -> EniIx {
    EniIx(place as u32)
}

/// All about an interface.
pub(in crate::actions) fn describe(view: &View<'_>, ix: EniIx) -> NetworkInterface {
    let eni = view.snapshot.eni(ix);
    let subnet = view.snapshot.subnet(eni.subnet);
    let vpc = view.snapshot.vpc(eni.vpc);
    // Managed ones come behind those of the document.
    let declared = view.document.network_interface.get(ix.0 as usize);
    let is_served = is_served(view, eni, declared);
    let association = |private: IpAddr| {
        let public = eni.public_ips.iter().find(|it| it.private_ip == private)?;
        let id = public.allocation_id.as_ref();
        Some(Association {
            allocation_id: id.map(ToString::to_string),
            association_id: id.map(|id| association_id(id, &eni.id, private)),
            ip_owner_id: id.map_or_else(|| "amazon".to_owned(), |_| vpc.owner_id.to_string()),
            public_ip: public.public_ip,
        })
    };
    let primary = eni.private_ips.first().copied();
    let private_ip_addresses = eni.private_ips.iter().map(|&private_ip_address| PrivateIpAddress {
        private_ip_address,
        primary: Some(private_ip_address) == primary,
        association: association(private_ip_address.into()),
    });
    let primary_v6 = eni.ipv6_addresses.first().copied();
    let ipv6_addresses = eni.ipv6_addresses.iter().map(|&ipv6_address| Ipv6Address {
        ipv6_address,
        is_primary_ipv6: Some(ipv6_address) == primary_v6,
        association: association(ipv6_address.into()),
    });
    let prefixes = eni.ipv4_prefixes.iter();
    let ipv6_prefixes = eni.ipv6_prefixes.iter();
    let tracking = declared.map(|it| it.connection_tracking);
    NetworkInterface {
        network_interface_id: eni.id.to_string(),
        description: eni.description.clone(),
        status: if is_served { "in-use" } else { "available" }.to_owned(),
        interface_type: eni.interface_type.as_str().to_owned(),
        subnet_id: subnet.id.to_string(),
        vpc_id: vpc.id.to_string(),
        availability_zone: subnet.availability_zone.to_string(),
        owner_id: vpc.owner_id.to_string(),
        requester_managed: eni.is_requester_managed(),
        mac_address: eni.mac.map(|mac| mac.to_string()),
        source_dest_check: eni.source_dest_check,
        groups: groups(view.snapshot, eni),
        private_ip_address: primary,
        private_ip_addresses: private_ip_addresses.collect(),
        ipv4_prefixes: prefixes
            .map(|&ipv4_prefix| Ipv4PrefixSpecification { ipv4_prefix })
            .collect(),
        ipv6_address: primary_v6,
        ipv6_addresses: ipv6_addresses.collect(),
        ipv6_prefixes: ipv6_prefixes
            .map(|&ipv6_prefix| Ipv6PrefixSpecification { ipv6_prefix })
            .collect(),
        association: primary.and_then(|primary| association(primary.into())),
        attachment: eni.attachment.as_ref().map(|it| attachment(view.snapshot, it, is_served, vpc)),
        connection_tracking_configuration: tracking
            .filter(|it| *it != ConnectionTracking::default()),
        tag_set: declared.map_or_else(Vec::new, |it| told(&it.tags)),
        port: eni.port.as_ref().map(ToString::to_string),
    }
}

/// The id of an association. It is another one whenever the address, the interface or the private
/// address is, so that nobody ends an association that is not the one they know.
pub(in crate::actions) fn association_id(
    allocation: &AllocationId,
    eni: &EniId,
    private: IpAddr,
) -> String {
    derived("eipassoc-", &[allocation.as_str(), eni.as_str(), &private.to_string()])
}

fn groups(snapshot: &Snapshot, eni: &Eni) -> Vec<GroupIdentifier> {
    let groups = eni.groups.iter().map(|ix| snapshot.security_group(*ix));
    groups
        .map(|group| GroupIdentifier {
            group_id: group.id.to_string(),
            group_name: group.name.to_string(),
        })
        .collect()
}

fn attachment(
    snapshot: &Snapshot,
    attachment: &vpc::Attachment,
    is_served: bool,
    owner: &vpc::Vpc,
) -> Attachment {
    Attachment {
        attachment_id: attachment.id.to_string(),
        delete_on_termination: attachment.delete_on_termination,
        device_index: attachment.device_index,
        network_card_index: attachment.network_card_index,
        instance_id: snapshot.instance(attachment.instance).id.to_string(),
        instance_owner_id: owner.owner_id.to_string(),
        status: if is_served { "attached" } else { "detached" }.to_owned(),
    }
}

/// Whether an interface has somebody to carry packets for. A stopped instance keeps its interfaces;
/// a port that is not there has nobody behind it.
fn is_served(view: &View<'_>, eni: &Eni, declared: Option<&Declared>) -> bool {
    let is_there =
        |port: &Option<Box<str>>| port.as_ref().is_some_and(|name| view.present.contains(name));
    match (declared, &eni.attachment) {
        (None, _) => true,
        (Some(_), Some(attachment)) => {
            view.snapshot.instance(attachment.instance).state == InstanceState::Stopped
                || is_there(&eni.port)
        }
        (Some(declared), None) => is_there(&declared.port),
    }
}
