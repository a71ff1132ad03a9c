//! Telling about route tables.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nf_core::vpc::document::{Route, RouteTable, Vpc};
use serde::{Deserialize, Serialize};

use super::association::{AssociationState, of_main, of_subnet};
use crate::actions::network_interface::placed;
use crate::actions::resource::chosen;
use crate::actions::{Action, Query, Refusal, View};

/// Tells about route tables.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeRouteTables {
    /// Which. Left out: all.
    #[serde(default)]
    pub route_table_ids: Vec<String>,
}

/// Route tables in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTables {
    /// All about each.
    pub route_tables: Vec<RouteTableDescription>,
}

/// All about a route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableDescription {
    /// `rtb-…`
    pub route_table_id: String,
    /// Its VPC.
    pub vpc_id: String,
    /// The VPC's account.
    pub owner_id: String,
    /// Its routes, the local ones first.
    pub routes: Vec<RouteDescription>,
    /// What it serves.
    pub associations: Vec<RouteTableAssociation>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteDescription {
    /// Where to, IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_cidr_block: Option<Ipv4Net>,
    /// Where to, IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ipv6_cidr_block: Option<Ipv6Net>,
    /// An internet gateway, or `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<String>,
    /// A NAT gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat_gateway_id: Option<String>,
    /// A network interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_interface_id: Option<String>,
    /// The instance of the network interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `CreateRouteTable` of local routes, `CreateRoute` of the others.
    pub origin: String,
    /// `active`, or `blackhole` if the target is gone or attached to nothing.
    pub state: String,
}

/// What a table serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    /// `rtbassoc-…`
    pub route_table_association_id: String,
    /// The table.
    pub route_table_id: String,
    /// The subnet, unless it is the main table for those that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<String>,
    /// Whether it is the main table.
    pub main: bool,
    /// `associated`
    pub association_state: AssociationState,
}

impl Action for DescribeRouteTables {
    const NAME: &'static str = "DescribeRouteTables";
    type Answer = RouteTables;
}

impl Query for DescribeRouteTables {
    fn answer(&self, view: &View<'_>) -> Result<RouteTables, Refusal> {
        let found = chosen::<RouteTable>(view.document, &self.route_table_ids)?;
        let route_tables = found.into_iter().map(|(place, _)| describe(view, place)).collect();
        Ok(RouteTables { route_tables })
    }
}

/// All about the table at a place in the document.
pub(super) fn describe(view: &View<'_>, place: usize) -> RouteTableDescription {
    let table = &view.document.route_table[place];
    let vpc = view.document.vpc.iter().find(|it| it.vpc_id == table.vpc_id);
    let local = vpc.into_iter().flat_map(local_routes);
    let declared = table.route.iter().map(|route| describe_route(view, route));
    RouteTableDescription {
        route_table_id: table.route_table_id.to_string(),
        vpc_id: table.vpc_id.to_string(),
        owner_id: vpc.map(|vpc| vpc.owner_id.clone()).unwrap_or_default(),
        routes: local.chain(declared).collect(),
        associations: associations(view, table),
    }
}

fn local_routes(vpc: &Vpc) -> impl Iterator<Item = RouteDescription> {
    let v6 = vpc.ipv6_cidr_block.map(IpNet::V6);
    std::iter::once(IpNet::V4(vpc.cidr_block)).chain(v6).map(|block| RouteDescription {
        destination_cidr_block: if let IpNet::V4(v4) = block { Some(v4) } else { None },
        destination_ipv6_cidr_block: if let IpNet::V6(v6) = block { Some(v6) } else { None },
        gateway_id: Some("local".to_owned()),
        nat_gateway_id: None,
        network_interface_id: None,
        instance_id: None,
        origin: "CreateRouteTable".to_owned(),
        state: "active".to_owned(),
    })
}

fn describe_route(view: &View<'_>, route: &Route) -> RouteDescription {
    let document = view.document;
    let gateway = route.gateway_id.as_ref().map(|id| {
        let gateway = document.internet_gateway.iter().find(|it| it.internet_gateway_id == *id);
        gateway.is_some_and(|it| it.vpc_id.is_some())
    });
    let nat_gateway = route
        .nat_gateway_id
        .as_ref()
        .map(|id| document.nat_gateway.iter().any(|it| it.nat_gateway_id == *id));
    let interface = route.network_interface_id.as_ref().and_then(|id| {
        let mut interfaces = document.network_interface.iter().enumerate();
        interfaces.find(|(_, it)| it.network_interface_id == *id)
    });
    let attachment = interface.and_then(|(_, it)| it.attachment.as_ref());
    // EC2: "The blackhole state indicates that the route's target isn't available (for example, the
    // specified gateway isn't attached to the VPC, the specified NAT instance has been terminated,
    // and so on)."
    let is_active = gateway
        .or(nat_gateway)
        .unwrap_or_else(|| interface.is_some_and(|(place, _)| is_reached(view, place)));
    RouteDescription {
        destination_cidr_block: route.destination_cidr_block,
        destination_ipv6_cidr_block: route.destination_ipv6_cidr_block,
        gateway_id: route.gateway_id.as_ref().map(ToString::to_string),
        nat_gateway_id: route.nat_gateway_id.as_ref().map(ToString::to_string),
        network_interface_id: route.network_interface_id.as_ref().map(ToString::to_string),
        instance_id: attachment.map(|it| it.instance_id.to_string()),
        origin: "CreateRoute".to_owned(),
        state: if is_active { "active" } else { "blackhole" }.to_owned(),
    }
}

/// Whether packets reach the interface at a place in the document: through its port, or on its
/// subnet's segment.
fn is_reached(view: &View<'_>, place: usize) -> bool {
    let eni = view.snapshot.eni(placed(place));
    let segment = view.snapshot.subnet(eni.subnet).port.as_ref();
    let port = eni.port.as_ref().or(segment.filter(|_| eni.attachment.is_none()));
    port.is_some_and(|port| view.present.contains(port))
}

fn associations(view: &View<'_>, table: &RouteTable) -> Vec<RouteTableAssociation> {
    let id = &table.route_table_id;
    let association = |association_id, subnet_id| RouteTableAssociation {
        route_table_association_id: association_id,
        route_table_id: id.to_string(),
        main: Option::is_none(&subnet_id),
        subnet_id,
        association_state: AssociationState::associated(),
    };
    let main = table.main.then(|| association(of_main(id, &table.vpc_id), None));
    let subnets = view.document.subnet.iter();
    let of_subnets = subnets
        .filter(|it| it.route_table_id.as_ref() == Some(id))
        .map(|it| association(of_subnet(id, &it.subnet_id), Some(it.subnet_id.to_string())));
    main.into_iter().chain(of_subnets).collect()
}
