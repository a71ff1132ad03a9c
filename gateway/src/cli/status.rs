//! `halfspace status`.

use super::{Ask, Error, output};
use crate::api::types::{FlowLogsStatus, Status, TranslationStatus};

pub(super) async fn execute(how: &Ask) -> Result<(), Error> {
    let status = how.gateway.connect().await?.status().await?;
    if how.json {
        output::json(&status)?;
    } else {
        print(&status)?;
    }
    Ok(())
}

fn print(status: &Status) -> std::io::Result<()> {
    let resources = &status.resources;
    let settled = if resources.settled { "" } else { ", flows still being looked at" };
    let document = if resources.errors.is_empty() { "valid" } else { "INVALID, see below" };
    let (flows, environments) = (&status.flows, &status.environments);
    for (name, value) in [
        (
            "gateway",
            format!(
                "halfspace {}, pid {}, up {}",
                status.version,
                status.pid,
                output::seconds(status.uptime_seconds)
            ),
        ),
        ("data path", format!("{} ({})", status.datapath.kind, status.datapath.why)),
        ("resources", format!("{}, {document}", resources.file)),
        ("generation", format!("{}{settled}", resources.generation)),
        ("flows", format!("{} of {}", flows.current, flows.capacity)),
        ("neighbours", status.neighbours.to_string()),
        (
            "environments",
            format!("{} attached, {} waiting", environments.attached, environments.waiting),
        ),
        ("flow logs", flow_log_writer(&status.flow_logs)),
    ] {
        output::line(format_args!("{name:<14}{value}"))?;
    }
    ports(status)?;
    translations("NAT GATEWAY", &status.nat_gateways)?;
    translations("LAMBDA BRIDGE", &status.lambda_bridges)?;
    flow_logs(&status.flow_logs)?;
    for (word, texts) in [("error", &resources.errors), ("warning", &resources.warnings)] {
        for text in texts {
            output::line(format_args!("\n{word}: {text}"))?;
        }
    }
    Ok(())
}

fn flow_log_writer(status: &FlowLogsStatus) -> String {
    let FlowLogsStatus { writer, why, directory, flows, lost_records_total, .. } = status;
    let Some(writer) = writer else { return "none".to_owned() };
    let why = why.as_deref().unwrap_or_default();
    format!("{flows} flows, {lost_records_total} records lost, to {directory} by {writer} ({why})")
}

fn ports(status: &Status) -> std::io::Result<()> {
    let mut table = output::table(&["PORT", "ROLE", "STATE", "HOOK", "MAC", "MTU"]);
    output::align_right(&mut table, &[5]);
    for port in &status.ports {
        let state = if port.up { "up" } else { "down" };
        let mtu = port.mtu.to_string();
        table.add_row([&port.name, &port.role, state, &port.hook, &port.mac, &mtu]);
    }
    for port in &status.failed_ports {
        table.add_row([&port.name, "", &format!("failed: {}", port.error)]);
    }
    for name in &status.missing_ports {
        table.add_row([name, "", "missing"]);
    }
    section(&table)
}

fn translations(heading: &str, all: &[TranslationStatus]) -> std::io::Result<()> {
    let mut table = output::table(&[
        heading,
        "FLOWS",
        "PORT ALLOCATION ERRORS",
        "CLIENT LIMIT ERRORS",
        "IDLE TIMEOUTS",
        "LEASED PORTS",
        "QUARANTINED",
        "SET ASIDE",
        "MAPPINGS",
        "CLIENTS",
    ]);
    output::align_right(&mut table, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for it in all {
        table.add_row([
            it.id.clone(),
            it.flows_total.to_string(),
            it.port_allocation_errors_total.to_string(),
            it.client_limit_errors_total.to_string(),
            it.idle_timeouts_total.to_string(),
            it.leased_ports.to_string(),
            it.quarantined_ports.to_string(),
            it.set_aside_ports.to_string(),
            it.mappings.to_string(),
            it.clients.to_string(),
        ]);
    }
    section(&table)
}

fn flow_logs(status: &FlowLogsStatus) -> std::io::Result<()> {
    let mut table = output::table(&[
        "FLOW LOG",
        "RESOURCE",
        "TRAFFIC",
        "INTERVAL",
        "DESTINATION",
        "RECORDS",
        "BYTES",
        "FILES",
        "DELIVERY",
    ]);
    output::align_right(&mut table, &[3, 5, 6, 7]);
    for it in &status.logs {
        let delivery = match &it.deliver_logs_error_message {
            Some(error) => format!("{}: {error}", it.deliver_logs_status),
            None => it.deliver_logs_status.clone(),
        };
        table.add_row([
            it.flow_log_id.clone(),
            it.resource_id.clone(),
            it.traffic_type.clone(),
            output::seconds(it.max_aggregation_interval),
            it.log_destination.clone(),
            it.records_total.to_string(),
            it.bytes_total.to_string(),
            it.files_total.to_string(),
            delivery,
        ]);
    }
    section(&table)
}

/// Prints a table that has rows, apart from what is before it.
fn section(table: &comfy_table::Table) -> std::io::Result<()> {
    if table.row_count() == 0 {
        return Ok(());
    }
    output::line("")?;
    output::print(table)
}
