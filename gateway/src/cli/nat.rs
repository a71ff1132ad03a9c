//! `halfspace nat`: NAT gateways, their addresses, and who holds their ports.

mod top;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, Subcommand};
use nf_core::vpc::{ConnectivityType, FilteringBehavior, MappingBehavior};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Ask, Error, output, tag, tag_specifications};
use crate::actions::nat_gateway::{
    AssignPrivateNatGatewayAddress, AssociateNatGatewayAddress, CreateNatGateway, DeleteNatGateway,
    DescribeNatGateways, DisassociateNatGatewayAddress, NatGateway, NatGatewayAddress,
    NatGatewayAddresses, UnassignPrivateNatGatewayAddress,
};
use crate::actions::tags::Tag;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Nat {
    /// List NAT gateways and their addresses
    #[command(after_help = "\
Examples:
  halfspace nat list
  halfspace nat list --json | jq '.nat_gateways[].nat_gateway_addresses[].public_ip'")]
    List(Ask),

    /// Make a NAT gateway
    #[command(after_help = "\
Routes to it are made by `halfspace route create`.

Examples:
  halfspace nat create --subnet subnet-public --allocation eipalloc-1
  halfspace nat create --subnet subnet-public --allocation eipalloc-1 --secondary eipalloc-2
  halfspace nat create --subnet subnet-a --private --secondary-count 3")]
    Create(Box<Create>),

    /// Delete a NAT gateway; its Elastic IP addresses stay allocated
    #[command(after_help = "\
Its flows end, and routes to it become blackholes.

Examples:
  halfspace nat delete nat-a")]
    Delete(Delete),

    /// Give a public NAT gateway further Elastic IP addresses
    #[command(after_help = "\
Examples:
  halfspace nat associate nat-a eipalloc-2
  halfspace nat associate nat-a eipalloc-2 eipalloc-3 --private-ip 10.0.0.9")]
    Associate(Associate),

    /// Drain Elastic IP addresses of a public NAT gateway, and take them away when the time is up
    #[command(after_help = "\
No new flow leaves from them from now on. Flows that there are go on until the time is up.

Examples:
  halfspace nat disassociate nat-a 203.0.113.11
  halfspace nat disassociate nat-a eipalloc-2 --drain 3600")]
    Disassociate(Remove),

    /// Give a private NAT gateway further addresses
    #[command(after_help = "\
Examples:
  halfspace nat assign nat-b
  halfspace nat assign nat-b --private-ip 10.0.1.20")]
    Assign(Assign),

    /// Drain addresses of a private NAT gateway, and take them away when the time is up
    #[command(after_help = "\
No new flow leaves from them from now on. Flows that there are go on until the time is up.

Examples:
  halfspace nat unassign nat-b 10.0.1.20 --drain 60")]
    Unassign(Remove),

    /// Show the biggest holders of ports, and the destinations that there were none for
    #[command(after_help = "\
Examples:
  halfspace nat top
  halfspace nat top --most 3
  halfspace nat top --json | jq '.nat_gateways[].clients[0]'")]
    Top(top::Top),
}

#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    ask: Ask,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// Its subnet
    #[arg(long, value_name = "ID")]
    subnet: String,

    /// Make a private one, without Elastic IP addresses
    #[arg(long, conflicts_with_all = ["allocation", "secondary"])]
    private: bool,

    /// The Elastic IP address, by the id of its allocation
    #[arg(long, value_name = "ID", required_unless_present = "private")]
    allocation: Option<String>,

    /// A further one; may be given several times
    #[arg(long, value_name = "ID")]
    secondary: Vec<String>,

    /// Its private address [default: the lowest free one]
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Option<Ipv4Addr>,

    /// A secondary private address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    secondary_private_ip: Vec<Ipv4Addr>,

    /// How many secondary addresses of a private one to choose
    #[arg(long, value_name = "COUNT", conflicts_with = "secondary_private_ip")]
    secondary_count: Option<u32>,

    /// symmetric or endpoint-independent [default: symmetric]
    #[arg(long, value_parser = word::<MappingBehavior>)]
    mapping: Option<MappingBehavior>,

    /// address-dependent or endpoint-independent, with --mapping endpoint-independent [default:
    /// address-dependent]
    #[arg(long, value_parser = word::<FilteringBehavior>)]
    filtering: Option<FilteringBehavior>,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<Tag>,
}

#[derive(Args, Debug)]
pub(super) struct Delete {
    #[command(flatten)]
    ask: Ask,

    /// Its id
    nat_gateway: String,
}

#[derive(Args, Debug)]
pub(super) struct Associate {
    #[command(flatten)]
    ask: Ask,

    /// The gateway
    nat_gateway: String,

    /// The Elastic IP addresses, by the ids of their allocations
    #[arg(required = true)]
    allocations: Vec<String>,

    /// A private address for one of them, in their order [default: the lowest free ones]
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Vec<IpAddr>,
}

#[derive(Args, Debug)]
pub(super) struct Assign {
    #[command(flatten)]
    ask: Ask,

    /// The gateway
    nat_gateway: String,

    /// An address; may be given several times [default: the lowest free one]
    #[arg(long, value_name = "ADDRESS")]
    private_ip: Vec<Ipv4Addr>,

    /// How many to choose
    #[arg(long, conflicts_with = "private_ip")]
    count: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    #[command(flatten)]
    ask: Ask,

    /// The gateway
    nat_gateway: String,

    /// The addresses; Elastic ones also by the ids of their allocations or associations
    #[arg(required = true)]
    addresses: Vec<String>,

    /// Seconds after which flows that are left end, 1 to 4000 [default: 350]
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u32>,
}

/// A value that the document has as one word.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

impl Nat {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::List(ask) => {
                ask.act(&DescribeNatGateways::default(), |told| list(&told.nat_gateways)).await
            }
            Self::Create(create) => create.execute().await,
            Self::Delete(Delete { ask, nat_gateway }) => {
                let request = DeleteNatGateway { nat_gateway_id: nat_gateway.clone() };
                ask.act(&request, |it| output::line(format_args!("deleted {}", it.nat_gateway_id)))
                    .await
            }
            Self::Associate(Associate { ask, nat_gateway, allocations, private_ip }) => {
                let request = AssociateNatGatewayAddress {
                    nat_gateway_id: nat_gateway.clone(),
                    allocation_ids: allocations.clone(),
                    private_ip_addresses: private_ip.clone(),
                };
                ask.act(&request, |done| tell("associated", "with", done)).await
            }
            Self::Disassociate(remove) => remove.disassociate().await,
            Self::Assign(Assign { ask, nat_gateway, private_ip, count }) => {
                let request = AssignPrivateNatGatewayAddress {
                    nat_gateway_id: nat_gateway.clone(),
                    private_ip_addresses: private_ip.clone(),
                    private_ip_address_count: *count,
                };
                ask.act(&request, |done| tell("assigned", "to", done)).await
            }
            Self::Unassign(remove) => remove.unassign().await,
            Self::Top(top) => top.execute().await,
        }
    }
}

impl Create {
    async fn execute(&self) -> Result<(), Error> {
        let kind = if self.private { ConnectivityType::Private } else { ConnectivityType::Public };
        let request = CreateNatGateway {
            nat_gateway_id: self.id.clone(),
            subnet_id: self.subnet.clone(),
            connectivity_type: Some(kind),
            allocation_id: self.allocation.clone(),
            secondary_allocation_ids: self.secondary.clone(),
            private_ip_address: self.private_ip,
            secondary_private_ip_addresses: self.secondary_private_ip.clone(),
            secondary_private_ip_address_count: self.secondary_count,
            mapping: self.mapping,
            filtering: self.filtering,
            tag_specifications: tag_specifications("natgateway", &self.tags),
        };
        self.ask
            .act(&request, |it| {
                output::line(format_args!("created {}", it.nat_gateway.nat_gateway_id))
            })
            .await
    }
}

impl Remove {
    async fn disassociate(&self) -> Result<(), Error> {
        let one = DescribeNatGateways { nat_gateway_ids: vec![self.nat_gateway.clone()] };
        let told = self.ask.gateway.connect().await?.act(&one).await?;
        let known: Vec<_> =
            told.nat_gateways.into_iter().flat_map(|it| it.nat_gateway_addresses).collect();
        let association_of = |named: &String| {
            let is_it = |it: &&NatGatewayAddress| {
                it.allocation_id.as_ref() == Some(named)
                    || it.public_ip.is_some_and(|ip| ip.to_string() == *named)
            };
            let association = known.iter().find(is_it).and_then(|it| it.association_id.clone());
            association.unwrap_or_else(|| named.clone())
        };
        let request = DisassociateNatGatewayAddress {
            nat_gateway_id: self.nat_gateway.clone(),
            association_ids: self.addresses.iter().map(association_of).collect(),
            max_drain_duration_seconds: self.drain,
        };
        self.ask.act(&request, |done| tell("disassociating", "from", done)).await
    }

    async fn unassign(&self) -> Result<(), Error> {
        let parse = |text: &String| text.parse().map_err(|_| Error::NotAnAddress(text.clone()));
        let request = UnassignPrivateNatGatewayAddress {
            nat_gateway_id: self.nat_gateway.clone(),
            private_ip_addresses: self.addresses.iter().map(parse).collect::<Result<_, _>>()?,
            max_drain_duration_seconds: self.drain,
        };
        self.ask.act(&request, |done| tell("unassigning", "from", done)).await
    }
}

/// A line for each address that something has been done to.
fn tell(done: &str, with: &str, addresses: &NatGatewayAddresses) -> io::Result<()> {
    addresses.nat_gateway_addresses.iter().try_for_each(|it| {
        let address = it.public_ip.unwrap_or(it.private_ip);
        output::line(format_args!("{done} {address} {with} {}", addresses.nat_gateway_id))
    })
}

fn list(gateways: &[NatGateway]) -> io::Result<()> {
    let mut table = output::table(&[
        "NAT GATEWAY",
        "TYPE",
        "STATE",
        "SUBNET",
        "PUBLIC IP",
        "PRIVATE IP",
        "ALLOCATION",
        "PRIMARY",
        "STATUS",
    ]);
    for gateway in gateways {
        for it in &gateway.nat_gateway_addresses {
            table.add_row([
                gateway.nat_gateway_id.clone(),
                match gateway.connectivity_type {
                    ConnectivityType::Public => "public".to_owned(),
                    ConnectivityType::Private => "private".to_owned(),
                },
                gateway.state.as_str().to_owned(),
                gateway.subnet_id.clone(),
                output::optional(it.public_ip),
                it.private_ip.to_string(),
                output::optional(it.allocation_id.as_ref()),
                if it.is_primary { "yes".to_owned() } else { String::new() },
                it.status.as_str().to_owned(),
            ]);
        }
    }
    output::print(&table)
}
