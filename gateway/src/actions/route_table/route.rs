//! Routes of a table.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nf_core::vpc::document::{
    Document, InternetGateway, NatGateway, NetworkInterface, Route, RouteTable, Vpc,
};
use nf_core::vpc::id::{EniId, ResourceId as _};
use serde::{Deserialize, Serialize};

use crate::actions::address::only_interface;
use crate::actions::resource::{find, place};
use crate::actions::{Action, Change, Draft, Edit, Refusal, Return};

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The table.
            pub route_table_id: String,
            /// Where to, IPv4.
            pub destination_cidr_block: Option<Ipv4Net>,
            /// Where to, IPv6.
            pub destination_ipv6_cidr_block: Option<Ipv6Net>,
            /// By way of an internet gateway.
            pub gateway_id: Option<String>,
            /// By way of a NAT gateway.
            pub nat_gateway_id: Option<String>,
            /// By way of a network interface.
            pub network_interface_id: Option<String>,
            /// By way of the one network interface of an instance.
            pub instance_id: Option<String>,
        }

        impl Action for $name {
            const NAME: &'static str = stringify!($name);
            type Answer = Return;
        }

        impl $name {
            fn destination(&self) -> Result<IpNet, Refusal> {
                destination(self.destination_cidr_block, self.destination_ipv6_cidr_block)
            }

            /// The route, with a target that is there.
            fn route(&self, edit: &Edit<'_>) -> Result<Route, Refusal> {
                let [gateway, nat_gateway, interface, instance] = [
                    &self.gateway_id,
                    &self.nat_gateway_id,
                    &self.network_interface_id,
                    &self.instance_id,
                ]
                .map(Option::as_deref);
                let mut route = bare(self.destination()?);
                match (gateway, nat_gateway, interface, instance) {
                    (Some(id), None, None, None) => {
                        let found = find::<InternetGateway>(edit.document, id)?;
                        route.gateway_id = Some(found.internet_gateway_id.clone());
                    }
                    (None, Some(id), None, None) => {
                        let found = find::<NatGateway>(edit.document, id)?;
                        route.nat_gateway_id = Some(found.nat_gateway_id.clone());
                    }
                    (None, None, Some(id), None) => {
                        let found = find::<NetworkInterface>(edit.document, id)?;
                        route.network_interface_id = Some(found.network_interface_id.clone());
                    }
                    (None, None, None, Some(id)) => {
                        route.network_interface_id = Some(interface_of(edit.document, id)?);
                    }
                    (None, None, None, None) => return Err(Refusal::missing(TARGETS)),
                    _ => return Err(Refusal::combination(TARGETS)),
                }
                Ok(route)
            }
        }
    )*};
}

const TARGETS: &str =
    "a route has one target: gateway_id, nat_gateway_id, network_interface_id or instance_id";

requests! {
    /// Adds a route.
    CreateRoute;
    /// Gives the route to a destination another target.
    ReplaceRoute;
}

/// Takes a route out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRoute {
    /// The table.
    pub route_table_id: String,
    /// Where to, IPv4.
    pub destination_cidr_block: Option<Ipv4Net>,
    /// Where to, IPv6.
    pub destination_ipv6_cidr_block: Option<Ipv6Net>,
}

impl Change for CreateRoute {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<RouteTable>(edit.document, &self.route_table_id)?;
            let route = self.route(edit)?;
            let destination = self.destination()?;
            if is_local(edit.document, place, destination)?
                || at(edit, place, destination).is_some()
            {
                let message = format!(
                    "{} has a route to {destination} already: replace that",
                    self.route_table_id
                );
                return Err(Refusal::new("RouteAlreadyExists", message));
            }
            edit.document.route_table[place].route.push(route);
            Ok(Return::TRUE)
        })
    }
}

impl Change for ReplaceRoute {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<RouteTable>(edit.document, &self.route_table_id)?;
            let route = self.route(edit)?;
            let destination = self.destination()?;
            let Some(at) = at(edit, place, destination) else {
                let message = format!(
                    "{} has no route to {destination} that can be replaced: create one",
                    self.route_table_id
                );
                return Err(Refusal::value(message));
            };
            edit.document.route_table[place].route[at] = route;
            Ok(Return::TRUE)
        })
    }
}

impl Action for DeleteRoute {
    const NAME: &'static str = "DeleteRoute";
    type Answer = Return;
}

impl Change for DeleteRoute {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        let destination =
            destination(self.destination_cidr_block, self.destination_ipv6_cidr_block)?;
        draft.edit(|edit| {
            let place = place::<RouteTable>(edit.document, &self.route_table_id)?;
            if let Some(at) = at(edit, place, destination) {
                edit.document.route_table[place].route.remove(at);
                return Ok(Return::TRUE);
            }
            if is_local(edit.document, place, destination)? {
                let message = format!("the route to {destination} is local, and stays");
                return Err(Refusal::value(message));
            }
            let message = format!("{} has no route to {destination}", self.route_table_id);
            Err(Refusal::new("InvalidRoute.NotFound", message))
        })
    }
}

/// EC2: "we modify the specified CIDR block to its canonical form".
fn destination(v4: Option<Ipv4Net>, v6: Option<Ipv6Net>) -> Result<IpNet, Refusal> {
    let message = "a route has one destination: destination_cidr_block or \
                   destination_ipv6_cidr_block";
    match (v4, v6) {
        (Some(v4), None) => Ok(IpNet::V4(v4.trunc())),
        (None, Some(v6)) => Ok(IpNet::V6(v6.trunc())),
        (None, None) => Err(Refusal::missing(message)),
        (Some(_), Some(_)) => Err(Refusal::combination(message)),
    }
}

/// A route without a target.
fn bare(destination: IpNet) -> Route {
    let (v4, v6) = match destination {
        IpNet::V4(v4) => (Some(v4), None),
        IpNet::V6(v6) => (None, Some(v6)),
    };
    Route {
        destination_cidr_block: v4,
        destination_ipv6_cidr_block: v6,
        gateway_id: None,
        nat_gateway_id: None,
        network_interface_id: None,
    }
}

/// Where in a table the route to a destination stands.
fn at(edit: &Edit<'_>, table: usize, destination: IpNet) -> Option<usize> {
    let wanted = bare(destination);
    edit.document.route_table[table].route.iter().position(|it| {
        it.destination_cidr_block == wanted.destination_cidr_block
            && it.destination_ipv6_cidr_block == wanted.destination_ipv6_cidr_block
    })
}

/// Whether a destination is the whole of a table's VPC.
fn is_local(document: &Document, table: usize, destination: IpNet) -> Result<bool, Refusal> {
    let vpc = find::<Vpc>(document, document.route_table[table].vpc_id.as_str())?;
    Ok(match destination {
        IpNet::V4(v4) => vpc.cidr_block == v4,
        IpNet::V6(v6) => vpc.ipv6_cidr_block == Some(v6),
    })
}

fn interface_of(document: &Document, instance_id: &str) -> Result<EniId, Refusal> {
    let place = only_interface(document, instance_id)?;
    Ok(document.network_interface[place].network_interface_id.clone())
}
