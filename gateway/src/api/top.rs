//! Who holds the ports of NAT gateways, and toward whom they had none: the answer to the question that
//! follows `ErrorPortAllocation`.

use std::collections::HashMap;

use nat::Nat;
use nf_core::engine::Engine;
use nf_core::id::PortId;
use nf_core::translator::{ClientHolding, DestinationHolding, Holdings, RefusedDestination};

use super::error::Error;
use super::types::{ClientPorts, DestinationPorts, NatGatewayTop, RefusedFlows, TopList, TopQuery};
use crate::control::Shared;
use crate::worker::Worker;

const USUAL: usize = 10;
const MOST: usize = 1000;

pub(super) async fn top(shared: &Shared, query: &TopQuery) -> Result<TopList, Error> {
    let most = query.most.unwrap_or(USUAL);
    if !(1..=MOST).contains(&most) {
        let message = format!("most: {most} is outside 1 to {MOST}");
        return Err(Error::invalid("InvalidParameterValue", &message));
    }
    let environments = environments(shared);
    let top = move |worker: &mut Worker, _| of(worker, most, environments);
    Ok(TopList { nat_gateways: shared.worker.call(top).await? })
}

/// Environments by their ports.
pub(crate) type Environments = HashMap<String, String>;

/// Environments by their ports, as they are now.
pub(crate) fn environments(shared: &Shared) -> Environments {
    let environments = shared.environments.list().into_iter();
    environments.map(|it| (it.port.to_string(), it.id.to_string())).collect()
}

/// The same as the worker knows it, in the order of the gateways' ids.
pub(crate) fn of(worker: &Worker, most: usize, environments: Environments) -> Vec<NatGatewayTop> {
    let engine = &worker.engine;
    let names = Names { ports: port_names(engine), environments };
    let nat: Option<&Nat> = engine.function_as();
    let mut gateways = nat.map_or_else(Vec::new, |nat| of_all(nat, most, &names));
    gateways.sort_by(|a, b| a.nat_gateway_id.cmp(&b.nat_gateway_id));
    gateways
}

fn of_all(nat: &Nat, most: usize, names: &Names) -> Vec<NatGatewayTop> {
    let mut refused: HashMap<_, _> = nat.refused().collect();
    let gateways = nat.holdings(most).map(|(id, Holdings { clients, destinations })| {
        let refused = refused.remove(id).unwrap_or_default();
        NatGatewayTop {
            nat_gateway_id: id.to_string(),
            clients: clients.iter().map(|it| names.client(it)).collect(),
            destinations: destinations.iter().map(|it| names.destination(it)).collect(),
            refused: refused.iter().map(refused_flows).collect(),
        }
    });
    gateways.collect()
}

fn port_names(engine: &Engine) -> HashMap<PortId, Box<str>> {
    engine.ports().map(|port| (port.id, port.name.clone())).collect()
}

/// Names of ports, and of the environments there.
struct Names {
    ports: HashMap<PortId, Box<str>>,
    environments: Environments,
}

impl Names {
    fn client(&self, holding: &ClientHolding) -> ClientPorts {
        let ClientHolding { client, ports } = *holding;
        let port = self.ports.get(&client.port).map(ToString::to_string);
        let port = port.unwrap_or_else(|| client.port.to_string());
        let environment_id = self.environments.get(&port).cloned();
        ClientPorts { port, environment_id, address: client.ip, ports }
    }

    fn destination(&self, holding: &DestinationHolding) -> DestinationPorts {
        let DestinationHolding { protocol, external_ip, destination, ports, biggest } = holding;
        let is_one = !destination.ip().is_unspecified();
        DestinationPorts {
            protocol: protocol.name().to_owned(),
            external_address: *external_ip,
            destination: is_one.then_some(*destination),
            ports: *ports,
            biggest_client: biggest.as_ref().map(|it| self.client(it)),
        }
    }
}

fn refused_flows(refused: &RefusedDestination) -> RefusedFlows {
    let (protocol, destination) = refused.destination.unzip();
    RefusedFlows {
        protocol: protocol.map(|it| it.name().to_owned()),
        destination,
        flows_total: refused.flows_total,
    }
}
