//! Telling about Elastic IP addresses and the pools they are from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use nf_core::vpc::document::{Address, PublicIpv4Pool};
use nf_core::vpc::id::AllocationId;
use nf_core::vpc::{Eni, PublicAddress};
use serde::{Deserialize, Serialize};

use super::{Domain, has};
use crate::actions::network_interface::association_id;
use crate::actions::resource::chosen;
use crate::actions::room::public_in_use;
use crate::actions::tags::{Tag, told};
use crate::actions::{Action, Query, Refusal, View};

/// Tells about Elastic IP addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeAddresses {
    /// Which. Left out: all.
    #[serde(default)]
    pub allocation_ids: Vec<String>,
    /// Which, by themselves. Left out: all.
    #[serde(default)]
    pub public_ips: Vec<IpAddr>,
}

/// Elastic IP addresses in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// All about each.
    pub addresses: Vec<AddressDescription>,
}

/// All about an Elastic IP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressDescription {
    /// The address.
    pub public_ip: IpAddr,
    /// `eipalloc-…`
    pub allocation_id: String,
    /// `vpc`
    pub domain: Domain,
    /// The pool it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ipv4_pool: Option<String>,
    /// `eipassoc-…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association_id: Option<String>,
    /// The interface it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_interface_id: Option<String>,
    /// The account of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_interface_owner_id: Option<String>,
    /// The private address it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_ip_address: Option<IpAddr>,
    /// The instance of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

impl Action for DescribeAddresses {
    const NAME: &'static str = "DescribeAddresses";
    type Answer = Addresses;
}

impl Query for DescribeAddresses {
    fn answer(&self, view: &View<'_>) -> Result<Addresses, Refusal> {
        for ip in &self.public_ips {
            super::allocation(view.document, None, Some(*ip))?;
        }
        let places = associations(view);
        let found = chosen::<Address>(view.document, &self.allocation_ids)?.into_iter();
        let named = found.filter(|(_, it)| {
            self.public_ips.is_empty() || self.public_ips.contains(&it.public_ip)
        });
        let addresses = named.map(|(_, it)| describe(view, it, places.get(&it.allocation_id)));
        Ok(Addresses { addresses: addresses.collect() })
    }
}

/// Where each allocation is.
fn associations<'v>(view: &View<'v>) -> HashMap<&'v AllocationId, (&'v Eni, &'v PublicAddress)> {
    let of_eni = |eni: &'v Eni| {
        let public = eni.public_ips.iter();
        public.filter_map(move |it| Some((it.allocation_id.as_ref()?, (eni, it))))
    };
    view.snapshot.enis().flat_map(|(_, eni)| of_eni(eni)).collect()
}

fn describe(
    view: &View<'_>,
    address: &Address,
    at: Option<&(&Eni, &PublicAddress)>,
) -> AddressDescription {
    let pool = match address.public_ip {
        IpAddr::V4(ip) => view.document.public_ipv4_pool.iter().find(|pool| has(pool, ip)),
        IpAddr::V6(_) => None,
    };
    let eni = at.map(|(eni, _)| *eni);
    let private = at.map(|(_, public)| public.private_ip);
    let id = &address.allocation_id;
    AddressDescription {
        public_ip: address.public_ip,
        allocation_id: id.to_string(),
        domain: Domain::Vpc,
        public_ipv4_pool: pool.map(|pool| pool.public_ipv4_pool_id.to_string()),
        association_id: at.map(|(eni, public)| association_id(id, &eni.id, public.private_ip)),
        network_interface_id: eni.map(|eni| eni.id.to_string()),
        network_interface_owner_id: eni.map(|eni| view.snapshot.vpc(eni.vpc).owner_id.to_string()),
        private_ip_address: private,
        instance_id: eni
            .and_then(|eni| eni.attachment.as_ref())
            .map(|attachment| view.snapshot.instance(attachment.instance).id.to_string()),
        tags: told(&address.tags),
    }
}

/// Tells about pools of public addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribePublicIpv4Pools {
    /// Which. Left out: all.
    #[serde(default)]
    pub pool_ids: Vec<String>,
}

/// Pools in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicIpv4Pools {
    /// All about each.
    pub public_ipv4_pools: Vec<PoolDescription>,
}

/// All about a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolDescription {
    /// `ipv4pool-ec2-…`
    pub pool_id: String,
    /// Free text.
    pub description: String,
    /// Its networks.
    pub pool_address_ranges: Vec<PoolRange>,
    /// How many addresses it has.
    pub total_address_count: u64,
    /// How many of them are free.
    pub total_available_address_count: u64,
}

/// A network of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRange {
    /// The first address.
    pub first_address: Ipv4Addr,
    /// The last address.
    pub last_address: Ipv4Addr,
    /// How many there are.
    pub address_count: u64,
    /// How many of them are free.
    pub available_address_count: u64,
}

impl Action for DescribePublicIpv4Pools {
    const NAME: &'static str = "DescribePublicIpv4Pools";
    type Answer = PublicIpv4Pools;
}

impl Query for DescribePublicIpv4Pools {
    fn answer(&self, view: &View<'_>) -> Result<PublicIpv4Pools, Refusal> {
        let used = public_in_use(view.document);
        let range = |block: &Ipv4Net| {
            let address_count = 1_u64 << (32 - block.prefix_len());
            let inside = |ip: &&IpAddr| matches!(ip, IpAddr::V4(ip) if block.contains(ip));
            PoolRange {
                first_address: block.network(),
                last_address: block.broadcast(),
                address_count,
                available_address_count: address_count - used.iter().filter(inside).count() as u64,
            }
        };
        let pools = chosen::<PublicIpv4Pool>(view.document, &self.pool_ids)?;
        let describe = |pool: &PublicIpv4Pool| {
            let ranges: Vec<_> = pool.pool_cidr_blocks.iter().map(range).collect();
            PoolDescription {
                pool_id: pool.public_ipv4_pool_id.to_string(),
                description: pool.description.clone(),
                total_address_count: ranges.iter().map(|it| it.address_count).sum(),
                total_available_address_count: ranges
                    .iter()
                    .map(|it| it.available_address_count)
                    .sum(),
                pool_address_ranges: ranges,
            }
        };
        let public_ipv4_pools = pools.into_iter().map(|(_, pool)| describe(pool)).collect();
        Ok(PublicIpv4Pools { public_ipv4_pools })
    }
}
