//! Actions on Elastic IP addresses.
//!
//! | file | idea |
//! | --- | --- |
//! | this one | allocating and releasing them |
//! | `association` | putting them on private addresses |
//! | `describe` | telling about them and their pools |

mod association;
mod describe;

use std::net::{IpAddr, Ipv4Addr};

use nf_core::vpc::document::{Address, Document, NatGateway, PublicIpv4Pool};
use nf_core::vpc::id::{AllocationId, ResourceId as _};
use serde::{Deserialize, Serialize};

use super::resource::{find, place};
use super::room::{public_in_use, take_public_ipv4};
use super::tags::{TagSpecification, specified};
use super::{Action, Change, Draft, Refusal, Return};

pub use association::{AssociateAddress, Associated, DisassociateAddress};
pub use describe::{
    AddressDescription, Addresses, DescribeAddresses, DescribePublicIpv4Pools, PoolDescription,
    PoolRange, PublicIpv4Pools,
};

pub(super) use association::only_interface;

/// Allocates an Elastic IP address from a pool: a given one, or the lowest free one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllocateAddress {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub allocation_id: Option<String>,
    /// The address, free in a pool.
    pub address: Option<Ipv4Addr>,
    /// The pool. Left out: the first in the document that has a free address.
    pub public_ipv4_pool: Option<String>,
    /// `vpc`; there is nothing else.
    pub domain: Option<Domain>,
    /// Labels, of `elastic-ip`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Where an Elastic IP address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// A VPC.
    Vpc,
}

/// The address that was allocated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocated {
    /// The address.
    pub public_ip: IpAddr,
    /// `eipalloc-…`
    pub allocation_id: String,
    /// The pool it is from.
    pub public_ipv4_pool: String,
    /// `vpc`
    pub domain: Domain,
}

/// Gives an Elastic IP address back that is associated with nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAddress {
    /// Its id.
    pub allocation_id: Option<String>,
    /// The address, instead of the id.
    pub public_ip: Option<IpAddr>,
}

impl Action for AllocateAddress {
    const NAME: &'static str = "AllocateAddress";
    type Answer = Allocated;
}

impl Change for AllocateAddress {
    fn apply(&self, draft: &mut Draft) -> Result<Allocated, Refusal> {
        draft.edit(|edit| {
            let pools: Vec<&PublicIpv4Pool> = match &self.public_ipv4_pool {
                Some(id) => vec![find::<PublicIpv4Pool>(edit.document, id)?],
                None => edit.document.public_ipv4_pool.iter().collect(),
            };
            let public_ip = match self.address {
                Some(address) => free_in(edit.document, &pools, address)?,
                None => take_public_ipv4(edit.document, &pools)?,
            };
            let pool = pools.iter().find(|pool| has(pool, public_ip));
            let public_ipv4_pool = pool.map(|pool| pool.public_ipv4_pool_id.to_string());
            let allocation_id: AllocationId = edit.ids.chosen(self.allocation_id.as_deref())?;
            let allocated = Allocated {
                public_ip: public_ip.into(),
                allocation_id: allocation_id.to_string(),
                public_ipv4_pool: public_ipv4_pool.unwrap_or_default(),
                domain: Domain::Vpc,
            };
            edit.document.address.push(Address {
                allocation_id,
                public_ip: public_ip.into(),
                network_interface_id: None,
                private_ip_address: None,
                tags: specified(&self.tag_specifications, "elastic-ip")?,
            });
            Ok(allocated)
        })
    }
}

impl Action for ReleaseAddress {
    const NAME: &'static str = "ReleaseAddress";
    type Answer = Return;
}

impl Change for ReleaseAddress {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let id = self.allocation_id.as_deref();
            let place = allocation(edit.document, id, self.public_ip)?;
            let address = &edit.document.address[place];
            let interface = address.network_interface_id.as_ref().map(ToString::to_string);
            let user = interface.or_else(|| owner_of(edit.document, &address.allocation_id));
            if let Some(user) = user {
                let message = format!(
                    "{} ({}) is in use by {user}: disassociate it",
                    address.allocation_id, address.public_ip
                );
                return Err(Refusal::new("InvalidIPAddress.InUse", message));
            }
            edit.document.address.remove(place);
            Ok(Return::TRUE)
        })
    }
}

/// The address, if it is in one of the pools and free.
fn free_in(
    document: &Document,
    pools: &[&PublicIpv4Pool],
    address: Ipv4Addr,
) -> Result<Ipv4Addr, Refusal> {
    if !pools.iter().any(|pool| has(pool, address)) {
        let message = format!("{address} is in none of the pools to take an address from");
        return Err(Refusal::value(message));
    }
    if public_in_use(document).contains(&IpAddr::V4(address)) {
        return Err(Refusal::new("InvalidIPAddress.InUse", format!("{address} is in use already")));
    }
    Ok(address)
}

fn has(pool: &PublicIpv4Pool, address: Ipv4Addr) -> bool {
    pool.pool_cidr_blocks.iter().any(|block| block.contains(&address))
}

/// Where in the document an Elastic IP address stands that is named by its id or by itself.
fn allocation(
    document: &Document,
    allocation_id: Option<&str>,
    public_ip: Option<IpAddr>,
) -> Result<usize, Refusal> {
    match (allocation_id, public_ip) {
        (Some(id), None) => place::<Address>(document, id),
        (None, Some(ip)) => {
            let found = document.address.iter().position(|it| it.public_ip == ip);
            let message = || format!("{ip} is not an Elastic IP address of the document");
            found.ok_or_else(|| Refusal::new("InvalidAddress.NotFound", message()))
        }
        (Some(_), Some(_)) => {
            Err(Refusal::combination("allocation_id and public_ip exclude each other: keep one"))
        }
        (None, None) => Err(Refusal::missing("name the address: allocation_id or public_ip")),
    }
}

/// The NAT gateway or load balancer that names an allocation.
fn owner_of(document: &Document, id: &AllocationId) -> Option<String> {
    let uses_it = |it: &&NatGateway| {
        let mut secondary = it.secondary_address.iter();
        it.allocation_ids.contains(id) || secondary.any(|it| it.allocation_id.as_ref() == Some(id))
    };
    let gateway = document.nat_gateway.iter().find(uses_it);
    let names_it = |it: &&nf_core::vpc::document::LoadBalancer| {
        it.subnet_mapping.iter().any(|mapping| mapping.allocation_id.as_ref() == Some(id))
    };
    let load_balancer = || document.load_balancer.iter().find(names_it);
    gateway.map(|it| it.nat_gateway_id.to_string()).or_else(|| {
        load_balancer().map(|it| format!("load balancer {}", it.load_balancer_name.as_str()))
    })
}
