//! Everything that is told, at one moment.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use ::datapath::Statistics;
use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::engine::{Counters, Rejected, Traffic};
use nf_core::flow_log;
use nf_core::translator::RealmUsage;
use nf_core::vpc::id::ResourceId as _;
use nlb::{Nlb, TargetView};

use super::process::Process;
use super::traffic::{self, Peak, Peaks};
use crate::api::top::{self, Environments};
use crate::api::types::NatGatewayTop;
use crate::control::Shared;
use crate::flow_logs::{self, LogStatistics, WriterKind};
use crate::worker::{Stopped, Worker};

/// Holders of ports that are told of, of each kind and gateway.
const HOLDERS: usize = 10;

/// Everything that is told.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) core: Core,
    pub(super) control: Control,
    pub(super) process: Process,
    /// Of NAT gateways.
    pub(super) peaks: HashMap<String, Peak>,
}

/// What the worker's thread knows.
#[derive(Debug, Default)]
pub(super) struct Core {
    /// `None` if the kernel's counters cannot be read.
    pub(super) statistics: Option<Statistics>,
    pub(super) counters: Counters,
    pub(super) rejected_by_groups: Vec<(String, Rejected)>,
    /// Datagrams under way in fragments, and bytes of those that wait for the first one.
    pub(super) fragment_datagrams: u64,
    pub(super) fragment_waiting_bytes: u64,
    pub(super) flows: u64,
    pub(super) flow_capacity: u64,
    pub(super) flow_timers: u64,
    pub(super) templates: u64,
    pub(super) neighbours: u64,
    pub(super) generation: u32,
    pub(super) settled: bool,
    pub(super) nat_gateways: Vec<(String, RealmUsage)>,
    /// What they have carried.
    pub(super) traffic: Vec<(String, Traffic)>,
    pub(super) bridges: Vec<(String, RealmUsage)>,
    /// Of NAT gateways.
    pub(super) holders: Vec<NatGatewayTop>,
    pub(super) targets: Vec<TargetView>,
    /// Flows that are logged.
    pub(super) logged_flows: u64,
    pub(super) queued_records: u64,
    /// Records that the engine lost, by reason.
    pub(super) lost_records: [u64; flow_log::Loss::ALL.len()],
}

/// What the control side knows.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) datapath: &'static str,
    /// Seconds since 1970.
    pub(super) started: f64,
    pub(super) ports_attached: u64,
    pub(super) ports_missing: u64,
    pub(super) ports_failed: u64,
    pub(super) environments_attached: u64,
    pub(super) environments_waiting: u64,
    pub(super) environments_lost: u64,
    pub(super) valid_reads: u64,
    pub(super) invalid_reads: u64,
    /// Whether the document is valid as it was last read.
    pub(super) document_valid: bool,
    /// Seconds since 1970.
    pub(super) last_valid: f64,
    /// What writes flow logs, if there is one.
    pub(super) log_writer: Option<WriterKind>,
    pub(super) log_write_failures: u64,
    /// Records that the writer lost, by reason.
    pub(super) lost_records: [u64; flow_logs::Loss::ALL.len()],
    /// By id.
    pub(super) flow_logs: Vec<(String, LogStatistics)>,
}

/// Takes a sample.
///
/// # Errors
///
/// [`Stopped`]
pub(super) async fn take(shared: &Shared, peaks: &Peaks) -> Result<Sample, Stopped> {
    let environments = top::environments(shared);
    let core = shared.worker.call(move |worker, _| Core::of(worker, environments)).await?;
    Ok(Sample { core, control: Control::of(shared), process: Process::now(), peaks: peaks.all() })
}

impl Core {
    fn of(worker: &mut Worker, environments: Environments) -> Self {
        let holders = top::of(worker, HOLDERS, environments);
        let traffic = traffic::of(worker);
        let Worker { engine, datapath } = worker;
        let nat: Option<&Nat> = engine.function_as();
        let bridge: Option<&LambdaBridge> = engine.function_as();
        let nlb: Option<&Nlb> = engine.function_as();
        Self {
            statistics: datapath.statistics().ok(),
            counters: engine.counters().clone(),
            rejected_by_groups: engine
                .rejected_by_groups()
                .map(|(id, rejected)| (id.to_string(), *rejected))
                .collect(),
            fragment_datagrams: engine.fragments().len() as u64,
            fragment_waiting_bytes: engine.fragments().waiting_bytes() as u64,
            flows: engine.flow_count() as u64,
            flow_capacity: engine.flow_capacity() as u64,
            flow_timers: engine.timer_count() as u64,
            templates: engine.template_count() as u64,
            neighbours: engine.neighbour_count() as u64,
            generation: engine.generation().0,
            settled: engine.is_settled(),
            nat_gateways: nat.map_or_else(Vec::new, |nat| by_id(nat.usage())),
            bridges: bridge.map_or_else(Vec::new, |bridge| by_id(bridge.usage())),
            holders,
            traffic,
            targets: nlb.map_or_else(Vec::new, Nlb::targets),
            logged_flows: engine.flow_logs().flow_count() as u64,
            queued_records: engine.flow_logs().queued() as u64,
            lost_records: engine.flow_logs().counters().lost,
        }
    }
}

fn by_id<'a, K: ToString + 'a>(
    usage: impl Iterator<Item = (&'a K, RealmUsage)>,
) -> Vec<(String, RealmUsage)> {
    usage.map(|(id, usage)| (id.to_string(), usage)).collect()
}

impl Control {
    fn of(shared: &Shared) -> Self {
        let report = shared.report.load();
        let environments = shared.environments.list();
        let attached = environments.iter().filter(|it| it.link.is_some()).count();
        let started = shared.facts.started.1.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (valid_reads, invalid_reads) = report.resources.reads();
        let written = shared.facts.flow_logs.statistics();
        let logs = report.resources.in_force().flow_logs();
        Self {
            datapath: shared.facts.datapath,
            started: started.as_secs_f64(),
            ports_attached: report.ports.attached().count() as u64,
            ports_missing: report.ports.missing().len() as u64,
            ports_failed: report.ports.failed().len() as u64,
            environments_attached: attached as u64,
            environments_waiting: (environments.len() - attached) as u64,
            environments_lost: shared.environments.lost(),
            valid_reads,
            invalid_reads,
            document_valid: report.resources.errors().is_empty(),
            last_valid: report.resources.last_valid_timestamp(),
            log_writer: written.writer().map(|(kind, _)| kind),
            log_write_failures: written.failures(),
            lost_records: written.losses(),
            flow_logs: logs
                .map(|(_, log)| (log.id.to_string(), written.of(log.id.as_str())))
                .collect(),
        }
    }
}
