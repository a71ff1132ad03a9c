//! `halfspace nat top`: who holds the ports of NAT gateways.

use std::io;
use std::net::SocketAddr;

use clap::Args;

use crate::api::types::{ClientPorts, NatGatewayTop, TopQuery};
use crate::cli::{Ask, Error, output};

#[derive(Args, Debug)]
pub(in crate::cli) struct Top {
    #[command(flatten)]
    how: Ask,

    /// Clients and destinations of each gateway, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    most: usize,
}

impl Top {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        let Self { how, most } = self;
        let query = TopQuery { most: Some(*most) };
        let list = how.gateway.connect().await?.top(&query).await?;
        how.print(&list, |list| list.nat_gateways.iter().try_for_each(print))
    }
}

fn print(gateway: &NatGatewayTop) -> io::Result<()> {
    let NatGatewayTop { nat_gateway_id, clients, destinations, refused } = gateway;
    let mut table = output::table(&["NAT GATEWAY", "CLIENT", "INTERFACE", "ENVIRONMENT", "PORTS"]);
    output::align_right(&mut table, &[4]);
    for it in clients {
        table.add_row([
            nat_gateway_id.clone(),
            it.address.to_string(),
            it.port.clone(),
            it.environment_id.clone().unwrap_or_default(),
            it.ports.to_string(),
        ]);
    }
    output::print(&table)?;
    let headers = ["NAT GATEWAY", "PROTOCOL", "DESTINATION", "FROM", "PORTS", "BIGGEST CLIENT"];
    let mut table = output::table(&headers);
    output::align_right(&mut table, &[4]);
    for it in destinations {
        table.add_row([
            nat_gateway_id.clone(),
            it.protocol.clone(),
            it.destination.map_or_else(|| "any".to_owned(), |it| it.to_string()),
            it.external_address.to_string(),
            it.ports.to_string(),
            it.biggest_client.as_ref().map(biggest).unwrap_or_default(),
        ]);
    }
    output::print(&table)?;
    if refused.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&["NAT GATEWAY", "PROTOCOL", "DESTINATION", "REFUSED FLOWS"]);
    output::align_right(&mut table, &[3]);
    for it in refused {
        table.add_row([
            nat_gateway_id.clone(),
            it.protocol.clone().unwrap_or_default(),
            it.destination.as_ref().map_or_else(|| "others".to_owned(), SocketAddr::to_string),
            it.flows_total.to_string(),
        ]);
    }
    output::print(&table)
}

fn biggest(client: &ClientPorts) -> String {
    let name = client.environment_id.as_ref().unwrap_or(&client.port);
    format!("{} ({name}): {}", client.address, client.ports)
}
