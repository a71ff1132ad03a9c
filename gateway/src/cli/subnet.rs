//! `halfspace subnet`: subnets.

use std::io;

use clap::{Args, Subcommand};
use ipnet::{Ipv4Net, Ipv6Net};

use super::{Ask, Error, output};
use crate::actions::subnet::{
    CreateSubnet, DeleteSubnet, DescribeSubnets, ModifySubnetAttribute, SubnetDescription,
};
use crate::actions::{AttributeValue, Request};

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Subnet {
    /// Make a subnet of a VPC
    #[command(after_help = "\
Examples:
  halfspace subnet create --vpc vpc-a --cidr 10.0.5.0/24
  halfspace subnet create --vpc vpc-a --cidr 10.0.6.0/24 --ipv6-cidr fd00:a:0:6::/64 --zone local-1b")]
    Create(Create),

    /// Delete a subnet without network interfaces
    #[command(after_help = "\
Examples:
  halfspace subnet delete subnet-old")]
    Delete(One),

    /// Change what network interfaces get that are made in a subnet from now on
    #[command(after_help = "\
Examples:
  halfspace subnet modify subnet-public --map-public-ip-on-launch true")]
    Modify(Modify),

    /// List subnets
    #[command(after_help = "\
Examples:
  halfspace subnet list
  halfspace subnet list --json | jq '.subnets[] | {subnet_id, available_ip_address_count}'")]
    List(Ask),
}

#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    ask: Ask,

    /// Its VPC
    #[arg(long, value_name = "ID")]
    vpc: String,

    /// Its IPv4 addresses
    #[arg(long, value_name = "NETWORK")]
    cidr: Ipv4Net,

    /// Its IPv6 addresses
    #[arg(long, value_name = "NETWORK")]
    ipv6_cidr: Option<Ipv6Net>,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// The zone it is in
    #[arg(long)]
    zone: Option<String>,

    /// The Linux interface that is its segment
    #[arg(long, value_name = "INTERFACE")]
    port: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct One {
    #[command(flatten)]
    ask: Ask,

    /// The subnet
    id: String,
}

#[derive(Args, Debug)]
pub(super) struct Modify {
    #[command(flatten)]
    ask: Ask,

    /// The subnet
    id: String,

    #[command(flatten)]
    attributes: Attributes,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Attributes {
    /// Whether they get a public IPv4 address
    #[arg(long, value_name = "BOOL")]
    map_public_ip_on_launch: Option<bool>,

    /// Whether they get an IPv6 address
    #[arg(long, value_name = "BOOL")]
    assign_ipv6_address_on_creation: Option<bool>,
}

impl Subnet {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Create(create) => {
                let request = CreateSubnet {
                    subnet_id: create.id.clone(),
                    vpc_id: create.vpc.clone(),
                    cidr_block: create.cidr,
                    ipv6_cidr_block: create.ipv6_cidr,
                    availability_zone: create.zone.clone(),
                    port: create.port.clone(),
                };
                let done = |it: &SubnetDescription| {
                    let (id, vpc) = (&it.subnet_id, &it.vpc_id);
                    output::line(format_args!("created {id} {} in {vpc}", it.cidr_block))
                };
                create.ask.act(&request, |made| done(&made.subnet)).await
            }
            Self::Delete(One { ask, id }) => {
                let request = DeleteSubnet { subnet_id: id.clone() };
                ask.act(&request, |_| output::line(format_args!("deleted {id}"))).await
            }
            Self::Modify(modify) => modify.execute().await,
            Self::List(ask) => {
                ask.act(&DescribeSubnets::default(), |told| list(&told.subnets)).await
            }
        }
    }
}

impl Modify {
    async fn execute(&self) -> Result<(), Error> {
        let Attributes { map_public_ip_on_launch, assign_ipv6_address_on_creation } =
            &self.attributes;
        let bare = || ModifySubnetAttribute {
            subnet_id: self.id.clone(),
            ..ModifySubnetAttribute::default()
        };
        let public = map_public_ip_on_launch.map(|value| ModifySubnetAttribute {
            map_public_ip_on_launch: Some(AttributeValue { value }),
            ..bare()
        });
        let ipv6 = assign_ipv6_address_on_creation.map(|value| ModifySubnetAttribute {
            assign_ipv6_address_on_creation: Some(AttributeValue { value }),
            ..bare()
        });
        let requests = public.iter().chain(&ipv6).map(Request::of).collect::<Result<_, _>>();
        let requests = requests.map_err(Error::Json)?;
        self.ask.transact(requests, || output::line(format_args!("changed {}", self.id))).await
    }
}

fn list(subnets: &[SubnetDescription]) -> io::Result<()> {
    let mut table = output::table(&[
        "SUBNET",
        "VPC",
        "ADDRESSES",
        "IPV6 ADDRESSES",
        "FREE",
        "ZONE",
        "PUBLIC IP",
        "PORT",
    ]);
    output::align_right(&mut table, &[4]);
    for it in subnets {
        table.add_row([
            it.subnet_id.clone(),
            it.vpc_id.clone(),
            it.cidr_block.to_string(),
            output::optional(it.ipv6_cidr_block),
            it.available_ip_address_count.to_string(),
            it.availability_zone.clone(),
            if it.map_public_ip_on_launch { "yes" } else { "no" }.to_owned(),
            output::optional(it.port.as_ref()),
        ]);
    }
    output::print(&table)
}
