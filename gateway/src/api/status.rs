//! How the gateway is doing: what the worker says at this moment, and what the control side last
//! saw.

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::translator::RealmUsage;
use nf_core::vpc::id::ResourceId as _;
use nf_core::vpc::{FlowLog, PortRole, Snapshot};

use super::types::{
    DatapathStatus, EnvironmentCounts, FailedPort, FlowCounts, FlowLogStatus, FlowLogsStatus,
    PortStatus, ResourcesStatus, Status, TranslationStatus,
};
use crate::config::Diagnostic;
use crate::control::{Report, Shared};
use crate::flow_logs::{FlowLogs, LogStatistics, Statistics};
use crate::ports::AttachedPort;
use crate::worker::{Stopped, Worker};

/// What only the worker knows.
struct Core {
    generation: u32,
    settled: bool,
    flows: FlowCounts,
    neighbours: u64,
    nat_gateways: Vec<TranslationStatus>,
    lambda_bridges: Vec<TranslationStatus>,
    flow_logs: LedgerStatus,
}

/// What the worker knows of flow logs.
struct LedgerStatus {
    flows: u64,
    lost: u64,
}

pub(super) async fn status(shared: &Shared) -> Result<Status, Stopped> {
    let core = shared.worker.call(|worker, _| Core::of(worker)).await?;
    let report = shared.report.load();
    let environments = shared.environments.list();
    let attached = environments.iter().filter(|it| it.link.is_some()).count();
    let Report { resources, ports } = &**report;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: shared.facts.started.0.elapsed().as_secs(),
        datapath: DatapathStatus {
            kind: shared.facts.datapath.to_owned(),
            why: shared.facts.datapath_why.clone(),
        },
        resources: ResourcesStatus {
            // Whoever asks may be in another directory.
            file: std::path::absolute(resources.file())
                .unwrap_or_else(|_| resources.file().to_owned())
                .display()
                .to_string(),
            generation: core.generation,
            settled: core.settled,
            last_valid_seconds: resources.last_valid().as_secs(),
            errors: texts(resources.errors()),
            warnings: texts(resources.warnings()),
        },
        ports: ports.attached().map(|port| describe(port, resources.in_force())).collect(),
        missing_ports: ports.missing().iter().map(ToString::to_string).collect(),
        failed_ports: ports
            .failed()
            .map(|(name, error)| FailedPort { name: name.to_owned(), error: error.to_owned() })
            .collect(),
        environments: EnvironmentCounts {
            attached: attached as u64,
            waiting: (environments.len() - attached) as u64,
        },
        flows: core.flows,
        neighbours: core.neighbours,
        nat_gateways: core.nat_gateways,
        lambda_bridges: core.lambda_bridges,
        flow_logs: flow_logs(&shared.facts.flow_logs, &core.flow_logs, resources.in_force()),
    })
}

impl Core {
    fn of(worker: &mut Worker) -> Self {
        let engine = &worker.engine;
        let nat: Option<&Nat> = engine.function_as();
        let bridge: Option<&LambdaBridge> = engine.function_as();
        Self {
            generation: engine.generation().0,
            settled: engine.is_settled(),
            flows: FlowCounts {
                current: engine.flow_count() as u64,
                capacity: engine.flow_capacity() as u64,
            },
            neighbours: engine.neighbour_count() as u64,
            nat_gateways: nat.map_or_else(Vec::new, |nat| translations(nat.usage())),
            lambda_bridges: bridge.map_or_else(Vec::new, |bridge| translations(bridge.usage())),
            flow_logs: LedgerStatus {
                flows: engine.flow_logs().flow_count() as u64,
                lost: engine.flow_logs().counters().lost.iter().sum(),
            },
        }
    }
}

fn translations<'a, K: ToString + 'a>(
    usage: impl Iterator<Item = (&'a K, RealmUsage)>,
) -> Vec<TranslationStatus> {
    let mut all: Vec<_> = usage
        .map(|(id, usage)| TranslationStatus {
            id: id.to_string(),
            flows_total: usage.flows_total,
            port_allocation_errors_total: usage.port_allocation_errors_total,
            client_limit_errors_total: usage.client_limit_errors_total,
            idle_timeouts_total: usage.idle_timeouts_total,
            leased_ports: usage.leases as u64,
            quarantined_ports: usage.quarantined as u64,
            set_aside_ports: usage.set_aside as u64,
            mappings: usage.mappings as u64,
            clients: usage.clients as u64,
        })
        .collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

fn flow_logs(logs: &FlowLogs, ledger: &LedgerStatus, snapshot: &Snapshot) -> FlowLogsStatus {
    let statistics = logs.statistics();
    let (writer, why) = statistics.writer().unzip();
    FlowLogsStatus {
        writer: writer.map(|kind| kind.label().to_owned()),
        why: why.map(str::to_owned),
        directory: logs.directory().display().to_string(),
        flows: ledger.flows,
        lost_records_total: ledger.lost + statistics.losses().iter().sum::<u64>(),
        logs: snapshot.flow_logs().map(|(_, log)| flow_log(log, statistics)).collect(),
    }
}

fn flow_log(log: &FlowLog, statistics: &Statistics) -> FlowLogStatus {
    let LogStatistics { records, bytes, files, error, .. } = statistics.of(log.id.as_str());
    FlowLogStatus {
        flow_log_id: log.id.to_string(),
        resource_id: log.resource.to_string(),
        traffic_type: log.traffic_type.as_str().to_owned(),
        max_aggregation_interval: log.interval.duration().as_secs(),
        log_destination: log.destination.to_string(),
        records_total: records,
        bytes_total: bytes,
        files_total: files,
        deliver_logs_status: if error.is_none() { "SUCCESS" } else { "FAILED" }.to_owned(),
        deliver_logs_error_message: error,
    }
}

fn texts(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

fn describe(port: &AttachedPort, snapshot: &Snapshot) -> PortStatus {
    let AttachedPort { link, hook, why } = port;
    let role = match snapshot.port_role(&link.name) {
        Some(PortRole::Eni(ix)) => snapshot.eni(ix).id.to_string(),
        Some(PortRole::Segment(ix)) => snapshot.subnet(ix).id.to_string(),
        Some(PortRole::Uplink(ix)) => snapshot.uplink(ix).id.to_string(),
        Some(PortRole::Vacant(ix)) => snapshot.instance(ix).id.to_string(),
        // Until it is let go of, moments after the state that wanted it.
        None => String::new(),
    };
    PortStatus {
        name: link.name.to_string(),
        index: link.id.get(),
        mac: link.mac.to_string(),
        mtu: link.mtu,
        up: link.up,
        role,
        hook: hook.to_string(),
        why: why.clone(),
    }
}
