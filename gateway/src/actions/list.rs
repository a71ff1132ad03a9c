//! Every action by its name, from JSON to JSON.

use serde::Serialize;
use serde_json::Value;

use super::{
    Action, Change, Draft, Query, Refusal, View, address, instance, internet_gateway, nat_gateway,
    network_interface, prefix_list, route_table, security_group, subnet, tags, vpc,
};

/// An action that there is.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// It only asks.
    Query(fn(Value, &View<'_>) -> Result<Value, Refusal>),
    /// It changes the document.
    Change(fn(Value, &mut Draft) -> Result<Value, Refusal>),
}

/// The action of that name.
///
/// # Errors
///
/// There is none.
pub fn find(name: &str) -> Result<Known, Refusal> {
    let known = ALL.iter().find(|(known, _)| *known == name);
    known.map(|(_, action)| *action).ok_or_else(|| {
        Refusal::new("InvalidAction", format!("`{name}` is not an action: see docs/api.md"))
    })
}

const ALL: &[(&str, Known)] = &[
    change::<address::AllocateAddress>(),
    change::<address::AssociateAddress>(),
    query::<address::DescribeAddresses>(),
    query::<address::DescribePublicIpv4Pools>(),
    change::<address::DisassociateAddress>(),
    change::<address::ReleaseAddress>(),
    query::<instance::DescribeInstances>(),
    change::<instance::RunInstances>(),
    change::<instance::StartInstances>(),
    change::<instance::StopInstances>(),
    change::<instance::TerminateInstances>(),
    change::<internet_gateway::AttachInternetGateway>(),
    change::<internet_gateway::CreateInternetGateway>(),
    change::<internet_gateway::DeleteInternetGateway>(),
    query::<internet_gateway::DescribeInternetGateways>(),
    change::<internet_gateway::DetachInternetGateway>(),
    change::<nat_gateway::AssignPrivateNatGatewayAddress>(),
    change::<nat_gateway::AssociateNatGatewayAddress>(),
    change::<nat_gateway::CreateNatGateway>(),
    change::<nat_gateway::DeleteNatGateway>(),
    query::<nat_gateway::DescribeNatGateways>(),
    change::<nat_gateway::DisassociateNatGatewayAddress>(),
    change::<nat_gateway::UnassignPrivateNatGatewayAddress>(),
    change::<network_interface::AssignIpv6Addresses>(),
    change::<network_interface::AssignPrivateIpAddresses>(),
    change::<network_interface::AttachNetworkInterface>(),
    change::<network_interface::CreateNetworkInterface>(),
    change::<network_interface::DeleteNetworkInterface>(),
    query::<network_interface::DescribeNetworkInterfaces>(),
    change::<network_interface::DetachNetworkInterface>(),
    change::<network_interface::ModifyNetworkInterfaceAttribute>(),
    change::<network_interface::MoveNetworkInterface>(),
    change::<network_interface::UnassignIpv6Addresses>(),
    change::<network_interface::UnassignPrivateIpAddresses>(),
    change::<prefix_list::CreateManagedPrefixList>(),
    change::<prefix_list::DeleteManagedPrefixList>(),
    query::<prefix_list::DescribeManagedPrefixLists>(),
    query::<prefix_list::GetManagedPrefixListEntries>(),
    change::<prefix_list::ModifyManagedPrefixList>(),
    change::<route_table::AssociateRouteTable>(),
    change::<route_table::CreateRoute>(),
    change::<route_table::CreateRouteTable>(),
    change::<route_table::DeleteRoute>(),
    change::<route_table::DeleteRouteTable>(),
    query::<route_table::DescribeRouteTables>(),
    change::<route_table::DisassociateRouteTable>(),
    change::<route_table::ReplaceRoute>(),
    change::<route_table::ReplaceRouteTableAssociation>(),
    change::<security_group::AuthorizeSecurityGroupEgress>(),
    change::<security_group::AuthorizeSecurityGroupIngress>(),
    change::<security_group::CreateSecurityGroup>(),
    change::<security_group::DeleteSecurityGroup>(),
    query::<security_group::DescribeSecurityGroups>(),
    change::<security_group::RevokeSecurityGroupEgress>(),
    change::<security_group::RevokeSecurityGroupIngress>(),
    change::<subnet::CreateSubnet>(),
    change::<subnet::DeleteSubnet>(),
    query::<subnet::DescribeSubnets>(),
    change::<subnet::ModifySubnetAttribute>(),
    change::<tags::CreateTags>(),
    change::<tags::DeleteTags>(),
    change::<vpc::CreateVpc>(),
    change::<vpc::DeleteVpc>(),
    query::<vpc::DescribeVpcs>(),
];

const fn query<A: Query>() -> (&'static str, Known) {
    (A::NAME, Known::Query(|parameters, view| told(&read::<A>(parameters)?.answer(view)?)))
}

const fn change<A: Change>() -> (&'static str, Known) {
    (A::NAME, Known::Change(|parameters, draft| told(&read::<A>(parameters)?.apply(draft)?)))
}

/// The parameters of an action. That it has none may be said by leaving them out.
fn read<A: Action>(parameters: Value) -> Result<A, Refusal> {
    let parameters = match parameters {
        Value::Null => Value::Object(serde_json::Map::new()),
        given => given,
    };
    serde_path_to_error::deserialize(parameters).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        // The reader has no kinds of errors, only words; the tests hold it to these.
        let code = if why.starts_with("unknown field") {
            "UnknownParameter"
        } else if why.starts_with("missing field") {
            "MissingParameter"
        } else {
            "InvalidParameterValue"
        };
        let message = if path == "." { why } else { format!("{path}: {why}") };
        Refusal::new(code, message)
    })
}

fn told(answer: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer)
        .map_err(|error| Refusal::new("InternalError", format!("cannot write the answer: {error}")))
}
