//! `halfspace route`: routes, and the tables they are in.

use std::io;

use clap::{Args, Subcommand};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Ask, Error, output};
use crate::actions::route_table::{
    AssociateRouteTable, CreateRoute, CreateRouteTable, DeleteRoute, DeleteRouteTable,
    DescribeRouteTables, DisassociateRouteTable, ReplaceRoute, RouteDescription,
    RouteTableDescription,
};

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Route {
    /// Add a route to a table
    #[command(after_help = "\
Examples:
  halfspace route create rtb-private 0.0.0.0/0 --nat-gateway nat-a
  halfspace route create rtb-private 192.0.2.0/24 --eni eni-appliance")]
    Create(Change),

    /// Give the route to a destination another target
    #[command(after_help = "\
Examples:
  halfspace route replace rtb-private 0.0.0.0/0 --nat-gateway nat-b")]
    Replace(Change),

    /// Take a route out of a table
    #[command(after_help = "\
Examples:
  halfspace route delete rtb-private 0.0.0.0/0")]
    Delete(Delete),

    /// List the routes of all tables
    #[command(after_help = "\
Examples:
  halfspace route list
  halfspace route list --json | jq '.route_tables[].routes[] | select(.state == \"blackhole\")'")]
    List(Ask),

    /// Make a route table
    #[command(after_help = "\
Examples:
  halfspace route create-table --vpc vpc-a")]
    CreateTable(CreateTable),

    /// Delete a route table that serves nothing
    #[command(after_help = "\
Examples:
  halfspace route delete-table rtb-old")]
    DeleteTable(Table),

    /// Let a table serve a subnet
    #[command(after_help = "\
Examples:
  halfspace route associate rtb-public subnet-a")]
    Associate(Associate),

    /// Let a subnet go by the main table again
    #[command(after_help = "\
Examples:
  halfspace route disassociate subnet-a")]
    Disassociate(Disassociate),
}

#[derive(Args, Debug)]
pub(super) struct Change {
    #[command(flatten)]
    ask: Ask,

    /// The table
    table: String,

    /// Where to
    destination: IpNet,

    #[command(flatten)]
    target: Target,
}

/// Where a route leads.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Target {
    /// An internet gateway
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,

    /// A NAT gateway
    #[arg(long, value_name = "ID")]
    nat_gateway: Option<String>,

    /// A network interface
    #[arg(long, value_name = "ID")]
    eni: Option<String>,

    /// An instance with one network interface
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Delete {
    #[command(flatten)]
    ask: Ask,

    /// The table
    table: String,

    /// Where to
    destination: IpNet,
}

#[derive(Args, Debug)]
pub(super) struct CreateTable {
    #[command(flatten)]
    ask: Ask,

    /// Its VPC
    #[arg(long, value_name = "ID")]
    vpc: String,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Table {
    #[command(flatten)]
    ask: Ask,

    /// The table
    table: String,
}

#[derive(Args, Debug)]
pub(super) struct Associate {
    #[command(flatten)]
    ask: Ask,

    /// The table
    table: String,

    /// The subnet
    subnet: String,
}

#[derive(Args, Debug)]
pub(super) struct Disassociate {
    #[command(flatten)]
    ask: Ask,

    /// The subnet, or the association
    subnet: String,
}

/// A destination by its family.
const fn by_family(destination: IpNet) -> (Option<Ipv4Net>, Option<Ipv6Net>) {
    match destination {
        IpNet::V4(v4) => (Some(v4), None),
        IpNet::V6(v6) => (None, Some(v6)),
    }
}

macro_rules! change {
    ($request:ident, $change:ident) => {{
        let Change { table, destination, target, .. } = $change;
        let (destination_cidr_block, destination_ipv6_cidr_block) = by_family(*destination);
        $request {
            route_table_id: table.clone(),
            destination_cidr_block,
            destination_ipv6_cidr_block,
            gateway_id: target.gateway.clone(),
            nat_gateway_id: target.nat_gateway.clone(),
            network_interface_id: target.eni.clone(),
            instance_id: target.instance.clone(),
        }
    }};
}

impl Route {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Create(change) => {
                let request = change!(CreateRoute, change);
                change.ask.act(&request, |_| change.told("created")).await
            }
            Self::Replace(change) => {
                let request = change!(ReplaceRoute, change);
                change.ask.act(&request, |_| change.told("replaced")).await
            }
            Self::Delete(Delete { ask, table, destination }) => {
                let (destination_cidr_block, destination_ipv6_cidr_block) = by_family(*destination);
                let request = DeleteRoute {
                    route_table_id: table.clone(),
                    destination_cidr_block,
                    destination_ipv6_cidr_block,
                };
                let done = || {
                    output::line(format_args!("deleted the route to {destination} from {table}"))
                };
                ask.act(&request, |_| done()).await
            }
            Self::List(ask) => {
                let all = DescribeRouteTables::default();
                ask.act(&all, |told| list(&told.route_tables)).await
            }
            Self::CreateTable(CreateTable { ask, vpc, id }) => {
                let request = CreateRouteTable { route_table_id: id.clone(), vpc_id: vpc.clone() };
                let done = |table: &RouteTableDescription| {
                    output::line(format_args!("created {}", table.route_table_id))
                };
                ask.act(&request, |made| done(&made.route_table)).await
            }
            Self::DeleteTable(Table { ask, table }) => {
                let request = DeleteRouteTable { route_table_id: table.clone() };
                ask.act(&request, |_| output::line(format_args!("deleted {table}"))).await
            }
            Self::Associate(Associate { ask, table, subnet }) => {
                let request = AssociateRouteTable {
                    route_table_id: table.clone(),
                    subnet_id: subnet.clone(),
                };
                ask.act(&request, |it| {
                    let id = &it.association_id;
                    output::line(format_args!("associated {table} with {subnet} ({id})"))
                })
                .await
            }
            Self::Disassociate(disassociate) => disassociate.execute().await,
        }
    }
}

impl Change {
    fn told(&self, done: &str) -> io::Result<()> {
        output::line(format_args!("{done} the route to {} in {}", self.destination, self.table))
    }
}

impl Disassociate {
    async fn execute(&self) -> Result<(), Error> {
        let association_id = if self.subnet.starts_with("rtbassoc-") {
            self.subnet.clone()
        } else {
            self.association().await?
        };
        let request = DisassociateRouteTable { association_id };
        let done = || output::line(format_args!("disassociated {}", self.subnet));
        self.ask.act(&request, |_| done()).await
    }

    /// The association of the subnet.
    async fn association(&self) -> Result<String, Error> {
        let all = DescribeRouteTables::default();
        let told = self.ask.gateway.connect().await?.act(&all).await?;
        let mut associations = told.route_tables.into_iter().flat_map(|it| it.associations);
        associations
            .find(|it| it.subnet_id.as_ref() == Some(&self.subnet))
            .map(|it| it.route_table_association_id)
            .ok_or_else(|| Error::NotAssociated(self.subnet.clone()))
    }
}

fn list(tables: &[RouteTableDescription]) -> io::Result<()> {
    let mut table =
        output::table(&["ROUTE TABLE", "VPC", "SERVES", "DESTINATION", "TARGET", "STATE"]);
    for it in tables {
        let serves = it.associations.iter().map(|it| it.subnet_id.as_deref().unwrap_or("main"));
        let mut serves = Some(serves.collect::<Vec<_>>().join(" "));
        for route in &it.routes {
            // What is the same for all routes of a table stands at the first.
            let is_first = serves.is_some();
            table.add_row([
                if is_first { it.route_table_id.clone() } else { String::new() },
                if is_first { it.vpc_id.clone() } else { String::new() },
                serves.take().unwrap_or_default(),
                destination(route),
                target(route),
                route.state.clone(),
            ]);
        }
    }
    output::print(&table)
}

fn destination(route: &RouteDescription) -> String {
    let v4 = route.destination_cidr_block.map(IpNet::V4);
    let v6 = route.destination_ipv6_cidr_block.map(IpNet::V6);
    output::optional(v4.or(v6))
}

fn target(route: &RouteDescription) -> String {
    let gateway = route.gateway_id.as_ref().or(route.nat_gateway_id.as_ref());
    output::optional(gateway.or(route.network_interface_id.as_ref()))
}
