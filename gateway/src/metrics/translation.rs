//! What is told of the functions that lease ports.

use metrics::Label;
use nf_core::translator::RealmUsage;

use super::page::{counted, label, leveled};
use crate::api::types::{ClientPorts, DestinationPorts, NatGatewayTop, RefusedFlows};

type Told = (&'static str, &'static str);

/// Names and words for a function that leases ports.
pub(super) struct Translation {
    label: &'static str,
    flows: Told,
    errors: Told,
    limits: Told,
    idle: Told,
    leased: Told,
    quarantined: Told,
    set_aside: Told,
    mappings: Told,
    clients: Told,
}

/// Those of a NAT gateway.
pub(super) const NAT_GATEWAY: Translation = Translation {
    label: "nat_gateway_id",
    flows: ("halfspace_nat_gateway_flows_total", "Flows that a NAT gateway has translated."),
    errors: (
        "halfspace_nat_gateway_port_allocation_errors_total",
        "Flows that a NAT gateway refused because no port was free toward their destination.",
    ),
    limits: (
        "halfspace_nat_gateway_client_limit_errors_total",
        "Flows that a NAT gateway refused because of the ports that their client had.",
    ),
    idle: (
        "halfspace_nat_gateway_idle_timeouts_total",
        "Flows of a NAT gateway that ended by being idle.",
    ),
    leased: ("halfspace_nat_gateway_leased_ports", "Ports that a NAT gateway has leased."),
    quarantined: (
        "halfspace_nat_gateway_quarantined_ports",
        "Ports of a NAT gateway that rest before they are leased again.",
    ),
    set_aside: (
        "halfspace_nat_gateway_set_aside_ports",
        "Ports of a NAT gateway that the fast path has in stock for flows that it makes itself.",
    ),
    mappings: (
        "halfspace_nat_gateway_mappings",
        "Endpoint-independent mappings of a NAT gateway, of one port each.",
    ),
    clients: ("halfspace_nat_gateway_clients", "Clients that hold a port of a NAT gateway."),
};

/// Those of a Lambda bridge.
pub(super) const BRIDGE: Translation = Translation {
    label: "lambda_bridge_id",
    flows: ("halfspace_lambda_bridge_flows_total", "Flows that a Lambda bridge has translated."),
    errors: (
        "halfspace_lambda_bridge_port_allocation_errors_total",
        "Flows that a Lambda bridge refused because no port was free toward their destination.",
    ),
    limits: (
        "halfspace_lambda_bridge_client_limit_errors_total",
        "Flows that a Lambda bridge refused because of the ports that their environment had.",
    ),
    idle: (
        "halfspace_lambda_bridge_idle_timeouts_total",
        "Flows of a Lambda bridge that ended by being idle.",
    ),
    leased: ("halfspace_lambda_bridge_leased_ports", "Ports that a Lambda bridge has leased."),
    quarantined: (
        "halfspace_lambda_bridge_quarantined_ports",
        "Ports of a Lambda bridge that rest before they are leased again.",
    ),
    set_aside: (
        "halfspace_lambda_bridge_set_aside_ports",
        "Ports of a Lambda bridge that the fast path has in stock for flows that it makes itself.",
    ),
    mappings: (
        "halfspace_lambda_bridge_mappings",
        "Endpoint-independent mappings of a Lambda bridge, which has none.",
    ),
    clients: (
        "halfspace_lambda_bridge_clients",
        "Environments that hold a port of a Lambda bridge.",
    ),
};

/// What all of a kind have done and hold.
pub(super) fn usage(names: &Translation, all: &[(String, RealmUsage)]) {
    let [flows, errors, limits, idle] = [names.flows, names.errors, names.limits, names.idle]
        .map(|(name, help)| counted(name, help));
    let [leased, quarantined, set_aside, mappings, clients] =
        [names.leased, names.quarantined, names.set_aside, names.mappings, names.clients]
            .map(|(name, help)| leveled(name, help));
    for (id, usage) in all {
        let labels = || vec![label(names.label, id)];
        flows.with(labels(), usage.flows_total);
        errors.with(labels(), usage.port_allocation_errors_total);
        limits.with(labels(), usage.client_limit_errors_total);
        idle.with(labels(), usage.idle_timeouts_total);
        leased.with(labels(), usage.leases as u64);
        quarantined.with(labels(), usage.quarantined as u64);
        set_aside.with(labels(), usage.set_aside as u64);
        mappings.with(labels(), usage.mappings as u64);
        clients.with(labels(), usage.clients as u64);
    }
}

/// Who holds the most ports of each NAT gateway, and toward whom it had none.
pub(super) fn holders(all: &[NatGatewayTop]) {
    let clients = leveled(
        "halfspace_nat_gateway_client_ports",
        "Ports that each of the ten biggest clients of a NAT gateway holds.",
    );
    let destinations = leveled(
        "halfspace_nat_gateway_destination_ports",
        "Ports that are taken toward each of the ten biggest destinations of a NAT gateway.",
    );
    let refused = counted(
        "halfspace_nat_gateway_refused_flows_total",
        "Flows that got no port of a NAT gateway, by destination: 64 of them, then all others.",
    );
    for gateway in all {
        let id = || label("nat_gateway_id", &gateway.nat_gateway_id);
        for it in &gateway.clients {
            clients.with([vec![id()], client_labels(it)].concat(), u64::from(it.ports));
        }
        for it in &gateway.destinations {
            let labels = [vec![id()], destination_labels(it)].concat();
            destinations.with(labels, u64::from(it.ports));
        }
        for it in &gateway.refused {
            refused.with([vec![id()], refused_labels(it)].concat(), it.flows_total);
        }
    }
}

fn client_labels(client: &ClientPorts) -> Vec<Label> {
    vec![
        label("client", &client.address.to_string()),
        label("port", &client.port),
        label("environment_id", client.environment_id.as_deref().unwrap_or_default()),
    ]
}

fn destination_labels(destination: &DestinationPorts) -> Vec<Label> {
    let to = destination.destination.map_or_else(|| "any".to_owned(), |it| it.to_string());
    vec![
        label("protocol", &destination.protocol),
        label("destination", &to),
        label("external_address", &destination.external_address.to_string()),
    ]
}

fn refused_labels(refused: &RefusedFlows) -> Vec<Label> {
    let to = refused.destination.map_or_else(|| "others".to_owned(), |it| it.to_string());
    vec![
        label("protocol", refused.protocol.as_deref().unwrap_or_default()),
        label("destination", &to),
    ]
}
