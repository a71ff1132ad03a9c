//! `halfspace eip`: Elastic IP addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, Subcommand};

use super::{Ask, Error, output, tag, tag_specifications};
use crate::actions::address::{
    AddressDescription, AllocateAddress, AssociateAddress, DescribeAddresses,
    DescribePublicIpv4Pools, DisassociateAddress, PoolDescription, ReleaseAddress,
};
use crate::actions::tags::Tag;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Address {
    /// Allocate an Elastic IP address from a pool
    #[command(after_help = "\
Examples:
  halfspace eip allocate
  halfspace eip allocate --pool ipv4pool-ec2-main --address 203.0.113.9 --tag Name=web")]
    Allocate(Allocate),

    /// Put an Elastic IP address on a private address of a network interface
    #[command(after_help = "\
An address that is somewhere else moves, and one that is there already makes room.

Examples:
  halfspace eip associate 203.0.113.9 --eni eni-web
  halfspace eip associate eipalloc-web --eni eni-web --private-ip 10.0.1.11
  halfspace eip associate eipalloc-web --instance i-one --no-reassociation")]
    Associate(Associate),

    /// Take an Elastic IP address off; it stays allocated
    #[command(after_help = "\
Examples:
  halfspace eip disassociate 203.0.113.9
  halfspace eip disassociate eipassoc-0a1b2c3d4e5f60718")]
    Disassociate(One),

    /// Give an Elastic IP address back that is on nothing
    #[command(after_help = "\
Examples:
  halfspace eip release 203.0.113.9")]
    Release(One),

    /// List Elastic IP addresses
    #[command(after_help = "\
Examples:
  halfspace eip list
  halfspace eip list --json | jq '.addresses[] | select(.association_id == null).public_ip'")]
    List(Ask),

    /// List the pools that addresses are allocated from
    #[command(after_help = "\
Examples:
  halfspace eip pools")]
    Pools(Ask),
}

#[derive(Args, Debug)]
pub(super) struct Allocate {
    #[command(flatten)]
    ask: Ask,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// The address [default: the lowest free one]
    #[arg(long)]
    address: Option<Ipv4Addr>,

    /// The pool [default: the first with a free address]
    #[arg(long, value_name = "ID")]
    pool: Option<String>,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<Tag>,
}

#[derive(Args, Debug)]
pub(super) struct Associate {
    #[command(flatten)]
    ask: Ask,

    /// The address, or the id of its allocation
    address: String,

    /// The network interface
    #[arg(long, value_name = "ID", required_unless_present = "instance")]
    eni: Option<String>,

    /// An instance with one network interface
    #[arg(long, value_name = "ID", conflicts_with = "eni")]
    instance: Option<String>,

    /// The private address [default: the primary one]
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Option<IpAddr>,

    /// Refuse to end another association for this one
    #[arg(long)]
    no_reassociation: bool,
}

#[derive(Args, Debug)]
pub(super) struct One {
    #[command(flatten)]
    ask: Ask,

    /// The address, or the id of its allocation or association
    address: String,
}

/// An address by itself, or an id.
fn named(text: &str) -> (Option<String>, Option<IpAddr>) {
    text.parse().map_or_else(|_| (Some(text.to_owned()), None), |ip| (None, Some(ip)))
}

impl Address {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Allocate(allocate) => allocate.execute().await,
            Self::Associate(associate) => associate.execute().await,
            Self::Disassociate(one) => one.disassociate().await,
            Self::Release(One { ask, address }) => {
                let (allocation_id, public_ip) = named(address);
                let request = ReleaseAddress { allocation_id, public_ip };
                ask.act(&request, |_| output::line(format_args!("released {address}"))).await
            }
            Self::List(ask) => {
                ask.act(&DescribeAddresses::default(), |told| list(&told.addresses)).await
            }
            Self::Pools(ask) => {
                let all = DescribePublicIpv4Pools::default();
                ask.act(&all, |told| pools(&told.public_ipv4_pools)).await
            }
        }
    }
}

impl Allocate {
    async fn execute(&self) -> Result<(), Error> {
        let request = AllocateAddress {
            allocation_id: self.id.clone(),
            address: self.address,
            public_ipv4_pool: self.pool.clone(),
            domain: None,
            tag_specifications: tag_specifications("elastic-ip", &self.tags),
        };
        self.ask
            .act(&request, |it| {
                output::line(format_args!("allocated {} ({})", it.public_ip, it.allocation_id))
            })
            .await
    }
}

impl Associate {
    async fn execute(&self) -> Result<(), Error> {
        let (allocation_id, public_ip) = named(&self.address);
        let request = AssociateAddress {
            allocation_id,
            public_ip,
            network_interface_id: self.eni.clone(),
            instance_id: self.instance.clone(),
            private_ip_address: self.private_ip,
            allow_reassociation: Some(!self.no_reassociation),
        };
        let with = self.eni.as_ref().or(self.instance.as_ref());
        let with = with.map(String::as_str).unwrap_or_default();
        self.ask
            .act(&request, |it| {
                let (address, id) = (&self.address, &it.association_id);
                output::line(format_args!("associated {address} with {with} ({id})"))
            })
            .await
    }
}

impl One {
    async fn disassociate(&self) -> Result<(), Error> {
        let (id, public_ip) = named(&self.address);
        let association_id = match id {
            Some(id) if id.starts_with("eipalloc-") => Some(self.association_of(id).await?),
            other => other,
        };
        let request = DisassociateAddress { association_id, public_ip };
        let done = format!("disassociated {}", self.address);
        self.ask.act(&request, |_| output::line(&done)).await
    }

    /// The association of an allocation.
    async fn association_of(&self, allocation: String) -> Result<String, Error> {
        let one = DescribeAddresses {
            allocation_ids: vec![allocation.clone()],
            ..DescribeAddresses::default()
        };
        let told = self.ask.gateway.connect().await?.act(&one).await?;
        let association = told.addresses.into_iter().find_map(|it| it.association_id);
        association.ok_or(Error::NotAssociated(allocation))
    }
}

fn list(addresses: &[AddressDescription]) -> io::Result<()> {
    let mut table = output::table(&[
        "PUBLIC IP",
        "ALLOCATION",
        "NETWORK INTERFACE",
        "PRIVATE IP",
        "INSTANCE",
        "POOL",
    ]);
    for it in addresses {
        table.add_row([
            it.public_ip.to_string(),
            it.allocation_id.clone(),
            output::optional(it.network_interface_id.as_ref()),
            output::optional(it.private_ip_address),
            output::optional(it.instance_id.as_ref()),
            output::optional(it.public_ipv4_pool.as_ref()),
        ]);
    }
    output::print(&table)
}

fn pools(pools: &[PoolDescription]) -> io::Result<()> {
    let mut table = output::table(&["POOL", "ADDRESSES", "FREE", "RANGES", "DESCRIPTION"]);
    output::align_right(&mut table, &[1, 2]);
    for it in pools {
        let ranges = it.pool_address_ranges.iter();
        let ranges: Vec<_> =
            ranges.map(|it| format!("{}-{}", it.first_address, it.last_address)).collect();
        table.add_row([
            it.pool_id.clone(),
            it.total_address_count.to_string(),
            it.total_available_address_count.to_string(),
            ranges.join(" "),
            it.description.clone(),
        ]);
    }
    output::print(&table)
}
