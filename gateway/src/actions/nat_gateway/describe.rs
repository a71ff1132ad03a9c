//! Telling about NAT gateways.

use std::net::IpAddr;

use nf_core::vpc::document::{
    ConnectivityType, FilteringBehavior, MappingBehavior, NatGateway as Declared, UnixTime,
};
use nf_core::vpc::{Mapping, NatGatewayIx};
use serde::{Deserialize, Serialize};

use crate::actions::network_interface::association_id;
use crate::actions::resource::chosen;
use crate::actions::tags::{Tag, told};
use crate::actions::{Action, Query, Refusal, View};

/// Tells about NAT gateways.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeNatGateways {
    /// Which. Left out: all.
    #[serde(default)]
    pub nat_gateway_ids: Vec<String>,
}

/// NAT gateways in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateways {
    /// All about each.
    pub nat_gateways: Vec<NatGateway>,
}

/// All about a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// `nat-…`
    pub nat_gateway_id: String,
    /// `available`
    pub state: NatGatewayState,
    /// Whether it leads to the internet.
    pub connectivity_type: ConnectivityType,
    /// The subnet of its interface.
    pub subnet_id: String,
    /// The subnet's VPC.
    pub vpc_id: String,
    /// Its addresses, in the order of the document.
    pub nat_gateway_addresses: Vec<NatGatewayAddress>,
    /// Ours: what decides the address and port outside.
    pub mapping: MappingBehavior,
    /// Ours: who may send to a mapping, if it is endpoint-independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filtering: Option<FilteringBehavior>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// How a gateway is. EC2 has four other states, for what here is over when a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatGatewayState {
    /// It works.
    Available,
}

impl NatGatewayState {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
        }
    }
}

/// An address of a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayAddress {
    /// The Elastic IP address, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
    /// `eipassoc-…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association_id: Option<String>,
    /// The interface of the gateway.
    pub network_interface_id: String,
    /// The private address.
    pub private_ip: IpAddr,
    /// The Elastic IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<IpAddr>,
    /// Whether it is the primary one, which stays as long as the gateway does. Ours: each family has
    /// one.
    pub is_primary: bool,
    /// `succeeded`, or that it is draining.
    pub status: AddressStatus,
    /// Ours: until when it drains, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_until: Option<UnixTime>,
}

/// How an address of a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressStatus {
    /// It is there.
    Succeeded,
    /// Of a public gateway, and draining.
    Disassociating,
    /// Of a private gateway, and draining.
    Unassigning,
}

impl AddressStatus {
    /// EC2's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Disassociating => "disassociating",
            Self::Unassigning => "unassigning",
        }
    }
}

/// Addresses of a gateway that something has been done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayAddresses {
    /// The gateway.
    pub nat_gateway_id: String,
    /// All about each address.
    pub nat_gateway_addresses: Vec<NatGatewayAddress>,
}

impl Action for DescribeNatGateways {
    const NAME: &'static str = "DescribeNatGateways";
    type Answer = NatGateways;
}

impl Query for DescribeNatGateways {
    fn answer(&self, view: &View<'_>) -> Result<NatGateways, Refusal> {
        let found = chosen::<Declared>(view.document, &self.nat_gateway_ids)?;
        let nat_gateways = found.into_iter().map(|(place, _)| describe(view, place)).collect();
        Ok(NatGateways { nat_gateways })
    }
}

/// All about the gateway that stands there in the document.
pub(super) fn describe(view: &View<'_>, place: usize) -> NatGateway {
    let declared = &view.document.nat_gateway[place];
    let gateway = view.snapshot.nat_gateway(NatGatewayIx(place as u32));
    NatGateway {
        nat_gateway_id: gateway.id.to_string(),
        state: NatGatewayState::Available,
        connectivity_type: gateway.connectivity_type,
        subnet_id: declared.subnet_id.to_string(),
        vpc_id: view.snapshot.vpc(gateway.vpc).id.to_string(),
        nat_gateway_addresses: addresses(view, place),
        mapping: declared.mapping,
        filtering: match gateway.translation.mapping {
            Mapping::Symmetric => None,
            Mapping::EndpointIndependent(filtering) => Some(filtering),
        },
        tags: told(&declared.tags),
    }
}

/// Those of the addresses of a gateway that are meant.
pub(super) fn addresses_of(
    view: &View<'_>,
    place: usize,
    is_meant: impl Fn(&NatGatewayAddress) -> bool,
) -> NatGatewayAddresses {
    let mut nat_gateway_addresses = addresses(view, place);
    nat_gateway_addresses.retain(is_meant);
    let nat_gateway_id = view.document.nat_gateway[place].nat_gateway_id.to_string();
    NatGatewayAddresses { nat_gateway_id, nat_gateway_addresses }
}

fn addresses(view: &View<'_>, place: usize) -> Vec<NatGatewayAddress> {
    let secondary = &view.document.nat_gateway[place].secondary_address;
    let gateway = view.snapshot.nat_gateway(NatGatewayIx(place as u32));
    let eni = view.snapshot.eni(gateway.eni);
    // They are in the order of the document, and so the secondary ones are the last.
    let first_secondary = gateway.addresses.len() - secondary.len();
    let mut families = Vec::new();
    let of_one = |(position, it): (usize, &nf_core::vpc::NatAddress)| {
        let said = position.checked_sub(first_secondary).map(|position| &secondary[position]);
        let drain_until = said.and_then(|said| said.drain_until);
        let public = eni.public_ips.iter().find(|public| public.private_ip == it.private_ip);
        let allocation_id = public.and_then(|public| public.allocation_id.as_ref());
        let is_first = !families.contains(&it.private_ip.is_ipv4());
        families.push(it.private_ip.is_ipv4());
        NatGatewayAddress {
            allocation_id: allocation_id.map(ToString::to_string),
            association_id: allocation_id.map(|id| association_id(id, &eni.id, it.private_ip)),
            network_interface_id: eni.id.to_string(),
            private_ip: it.private_ip,
            public_ip: it.public_ip,
            is_primary: said.is_none() && is_first,
            status: match (drain_until, gateway.connectivity_type) {
                (None, _) => AddressStatus::Succeeded,
                (Some(_), ConnectivityType::Public) => AddressStatus::Disassociating,
                (Some(_), ConnectivityType::Private) => AddressStatus::Unassigning,
            },
            drain_until,
        }
    };
    gateway.addresses.iter().enumerate().map(of_one).collect()
}
