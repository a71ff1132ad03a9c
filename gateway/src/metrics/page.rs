//! The page: names, help texts and labels.
//!
//! Names follow Prometheus' conventions: our prefix, base units, `_total` on what only grows. The
//! values of every label come from a fixed list or from the resource document, not from packets, so
//! that nobody can make the page grow by sending some. The biggest holders of ports are told by
//! their addresses; of them there are only so many.

use std::fmt::Write as _;

use metrics::{
    Counter, Gauge, Label, counter, describe_counter, describe_gauge, gauge, with_local_recorder,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use nf_core::engine::{Counters, Rejected};
use nf_core::flow_log;
use nf_core::pipeline::FlowEnd;
use nf_core::verdict::{Drop, FastDrop, Punt};
use nf_core::vpc::TrafficDirection;
use nlb::{TargetState, TargetView};

use crate::flow_logs::{Loss, WriterKind};

use super::process::Process;
use super::sample::{Control, Core, Sample};
use super::traffic;
use super::translation::{self, BRIDGE, NAT_GATEWAY};

const TARGET_STATES: [TargetState; 4] =
    [TargetState::Initial, TargetState::Healthy, TargetState::Unhealthy, TargetState::Unused];

/// The sample in Prometheus' text format.
pub(super) fn render(sample: &Sample) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    with_local_recorder(&recorder, || {
        control(&sample.control);
        datapath(&sample.core);
        engine(&sample.core.counters);
        fragments(&sample.core);
        security_groups(&sample.core.rejected_by_groups);
        flows(&sample.core);
        translation::usage(&NAT_GATEWAY, &sample.core.nat_gateways);
        translation::usage(&BRIDGE, &sample.core.bridges);
        translation::holders(&sample.core.holders);
        traffic::tell(&sample.core.nat_gateways, &sample.core.traffic, &sample.peaks);
        targets(&sample.core.targets);
        flow_logs(&sample.core, &sample.control);
        process(&sample.process, sample.control.started);
    });
    let mut page = handle.render();
    if let Some(seconds) = sample.process.cpu_seconds {
        cpu_seconds(&mut page, seconds);
    }
    page
}

/// Written by hand, because the counters of the crate are whole numbers: rates of this one would
/// be 0 most of the time and 1 now and then.
fn cpu_seconds(page: &mut String, seconds: f64) {
    const NAME: &str = "process_cpu_seconds_total";
    const HELP: &str = "Total user and system CPU time spent in seconds.";
    // Writing to a string cannot fail.
    let _ = writeln!(page, "# HELP {NAME} {HELP}\n# TYPE {NAME} counter\n{NAME} {seconds}");
}

/// A counter with its help text, without labels.
fn count(name: &'static str, help: &'static str, value: u64) {
    counted(name, help).with(Vec::new(), value);
}

/// A gauge with its help text, without labels.
fn level(name: &'static str, help: &'static str, value: impl IntoGauge) {
    leveled(name, help).with(Vec::new(), value);
}

/// A counter whose help text is told.
pub(super) struct Counted(&'static str);

pub(super) fn counted(name: &'static str, help: &'static str) -> Counted {
    describe_counter!(name, help);
    Counted(name)
}

impl Counted {
    pub(super) fn with(&self, labels: Vec<Label>, value: u64) {
        let counter: Counter = counter!(self.0, labels);
        counter.absolute(value);
    }
}

/// A gauge whose help text is told.
pub(super) struct Leveled(&'static str);

pub(super) fn leveled(name: &'static str, help: &'static str) -> Leveled {
    describe_gauge!(name, help);
    Leveled(name)
}

impl Leveled {
    pub(super) fn with(&self, labels: Vec<Label>, value: impl IntoGauge) {
        let gauge: Gauge = gauge!(self.0, labels);
        gauge.set(value.into_gauge());
    }
}

/// What a gauge can show.
pub(super) trait IntoGauge {
    fn into_gauge(self) -> f64;
}

impl IntoGauge for f64 {
    fn into_gauge(self) -> f64 {
        self
    }
}

impl IntoGauge for bool {
    fn into_gauge(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl IntoGauge for u64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 of anything there is")]
    fn into_gauge(self) -> f64 {
        self as f64
    }
}

pub(super) fn label(name: &'static str, value: &str) -> Label {
    Label::new(name, value.to_owned())
}

fn control(control: &Control) {
    leveled("halfspace_build_info", "1; the labels say which build runs and on what data path.")
        .with(
            vec![
                Label::from_static_parts("version", env!("CARGO_PKG_VERSION")),
                Label::from_static_parts("datapath", control.datapath),
            ],
            true,
        );
    level(
        "halfspace_ports_attached",
        "Ports of the resource document that are attached.",
        control.ports_attached,
    );
    level(
        "halfspace_ports_missing",
        "Ports of the resource document that there is no interface of.",
        control.ports_missing,
    );
    level(
        "halfspace_ports_failed",
        "Ports of the resource document that could not be attached.",
        control.ports_failed,
    );
    level(
        "halfspace_environments_attached",
        "Environments that are attached to a bridge.",
        control.environments_attached,
    );
    level(
        "halfspace_environments_waiting",
        "Environments that wait until the resource document has their bridge again.",
        control.environments_waiting,
    );
    count(
        "halfspace_environments_lost_total",
        "Environments that were detached because their interface vanished.",
        control.environments_lost,
    );
    let reads = counted(
        "halfspace_config_reads_total",
        "Readings of the resource document, by whether it was valid.",
    );
    reads.with(vec![label("result", "valid")], control.valid_reads);
    reads.with(vec![label("result", "invalid")], control.invalid_reads);
    level(
        "halfspace_config_valid",
        "Whether the resource document was valid when it was last read.",
        control.document_valid,
    );
    level(
        "halfspace_config_last_valid_timestamp_seconds",
        "When the resource document was last read and found valid.",
        control.last_valid,
    );
}

fn datapath(core: &Core) {
    let Some(statistics) = &core.statistics else { return };
    let packets = counted(
        "halfspace_fastpath_packets_total",
        "Packets that came in by any port, by what the fast path did. A super-packet is one.",
    );
    let verdict = |verdict, reason| vec![label("verdict", verdict), label("reason", reason)];
    packets.with(verdict("forwarded", "flow"), statistics.forwarded);
    packets.with(verdict("passed", "host"), statistics.passed);
    packets.with(verdict("tapped", "host"), statistics.tapped);
    for (reason, value) in Punt::ALL.iter().zip(statistics.punted) {
        packets.with(verdict("punted", reason.label()), value);
    }
    for (reason, value) in FastDrop::ALL.iter().zip(statistics.dropped) {
        packets.with(verdict("dropped", reason.label()), value);
    }
    count(
        "halfspace_fastpath_lost_events_total",
        "TCP flags that went through but could not be told of, because the punt ring was full.",
        statistics.lost_events,
    );
    count(
        "halfspace_fastpath_failed_transmits_total",
        "Frames of user space's own that could not be sent.",
        statistics.failed_transmits,
    );
    count(
        "halfspace_fastpath_failed_forwards_total",
        "Frames counted as forwarded that a packet socket could not send.",
        statistics.failed_forwards,
    );
    count(
        "halfspace_fastpath_overruns_total",
        "Frames that found a packet socket's buffer full; they are part of no other count.",
        statistics.overruns,
    );
    count(
        "halfspace_fastpath_failed_updates_total",
        "Changes of the fast path's tables that failed.",
        statistics.failed_updates,
    );
}

fn engine(counters: &Counters) {
    let received = counted(
        "halfspace_engine_received_packets_total",
        "Packets handed to user space, by why the fast path did.",
    );
    for (reason, value) in Punt::ALL.iter().zip(counters.punts) {
        received.with(vec![label("reason", reason.label())], value);
    }
    count(
        "halfspace_engine_originated_packets_total",
        "Packets that functions sent of their own accord, such as health checks.",
        counters.originated,
    );
    let packets = counted(
        "halfspace_engine_packets_total",
        "Packets received or originated by user space that have met their end, by which.",
    );
    let verdict = |verdict, reason| vec![label("verdict", verdict), label("reason", reason)];
    packets.with(verdict("forwarded", "flow"), counters.forwarded);
    packets.with(verdict("consumed", "gateway"), counters.consumed);
    for (reason, value) in Drop::ALL.iter().zip(*counters.dropped) {
        packets.with(verdict("dropped", reason.label()), value);
    }
    level(
        "halfspace_engine_waiting_packets",
        "Packets that wait until their next hop is known, or for the first fragment.",
        counters.packets_waiting(),
    );
    count(
        "halfspace_engine_fragmented_packets_total",
        "IPv4 packets too large for where they left that were sent on in fragments.",
        counters.fragmented,
    );
    count(
        "halfspace_engine_answers_total",
        "Answers the gateway gave itself: RST, ICMP errors, echo replies, ARP, NDP.",
        counters.answers,
    );
    count(
        "halfspace_engine_suppressed_reports_total",
        "RSTs and ICMP errors not sent, because a port had had its share of a thousand a second.",
        counters.reports_suppressed,
    );
    count(
        "halfspace_engine_solicitations_total",
        "ARP and NDP questions the gateway asked.",
        counters.solicitations,
    );
}

fn fragments(core: &Core) {
    level(
        "halfspace_fragment_datagrams",
        "Datagrams that are under way in fragments.",
        core.fragment_datagrams,
    );
    level(
        "halfspace_fragment_waiting_bytes",
        "Bytes of fragments that wait for the first one of their datagram.",
        core.fragment_waiting_bytes,
    );
}

fn security_groups(groups: &[(String, Rejected)]) {
    let packets = counted(
        "halfspace_security_group_rejected_packets_total",
        "Packets that no security group of an interface allowed; each group that was asked has one.",
    );
    for (group, rejected) in groups {
        for (direction, value) in [
            (TrafficDirection::Ingress, rejected.ingress),
            (TrafficDirection::Egress, rejected.egress),
        ] {
            let direction = label("direction", direction.as_str());
            packets.with(vec![label("group_id", group), direction], value);
        }
    }
}

fn flows(core: &Core) {
    level("halfspace_flows", "Flows that are tracked.", core.flows);
    level("halfspace_flows_capacity", "Most flows there can be.", core.flow_capacity);
    level("halfspace_flow_timers", "Timers of flows that are armed.", core.flow_timers);
    let counters = &core.counters;
    count("halfspace_flows_created_total", "Flows that were set up.", counters.flows_created);
    count(
        "halfspace_flows_made_total",
        "Of the flows created, those that the fast path has made itself, by a template.",
        counters.flows_made,
    );
    level(
        "halfspace_flow_templates",
        "Classes of flows that the fast path makes itself.",
        core.templates,
    );
    count(
        "halfspace_flows_recovered_total",
        "Flows of an earlier process that were taken over.",
        counters.flows_recovered,
    );
    count(
        "halfspace_flows_revalidated_total",
        "Flows that were looked at under a new desired state and go on.",
        counters.flows_revalidated,
    );
    let ended = counted("halfspace_flows_ended_total", "Flows that have ended, by how.");
    for (end, value) in FlowEnd::ALL.iter().zip(counters.flows_ended) {
        ended.with(vec![label("how", end.label())], value);
    }
    level("halfspace_neighbours", "Next hops that are known or asked for.", core.neighbours);
    level(
        "halfspace_snapshot_generation",
        "Number of the desired state in force; it grows with every change.",
        u64::from(core.generation),
    );
    level(
        "halfspace_snapshot_settled",
        "Whether every flow has been looked at under the desired state in force.",
        core.settled,
    );
}

fn targets(all: &[TargetView]) {
    let states =
        leveled("halfspace_target_state", "1 for the state that a target is in, 0 for the others.");
    let active = leveled("halfspace_target_active_flows", "Flows that a target has.");
    let total = counted("halfspace_target_flows_total", "Flows that a target was ever given.");
    for view in all {
        let labels = || {
            vec![
                label("target_group", &view.group.to_string()),
                label("target", &view.target.to_string()),
            ]
        };
        for state in TARGET_STATES {
            let mut labels = labels();
            labels.push(label("state", state.as_str()));
            states.with(labels, state == view.state);
        }
        active.with(labels(), view.active_flows);
        total.with(labels(), view.flows_total);
    }
}

fn flow_logs(core: &Core, control: &Control) {
    level(
        "halfspace_flow_log_flows",
        "Flows of which some interface is in a flow log.",
        core.logged_flows,
    );
    level(
        "halfspace_flow_log_queued_records",
        "Records of flows that the writer has not taken yet.",
        core.queued_records,
    );
    let lost = counted(
        "halfspace_flow_log_lost_records_total",
        "Records of flows that are in no file, by why; of rejected packets, packets.",
    );
    for (reason, value) in flow_log::Loss::ALL.iter().zip(core.lost_records) {
        lost.with(vec![label("reason", reason.label())], value);
    }
    for (reason, value) in Loss::ALL.iter().zip(control.lost_records) {
        lost.with(vec![label("reason", reason.label())], value);
    }
    count(
        "halfspace_flow_log_write_failures_total",
        "Attempts to make or write a file of a flow log that failed.",
        control.log_write_failures,
    );
    let writer = leveled(
        "halfspace_flow_log_writer",
        "1 for what flow logs are written by, once there is one, 0 for the others.",
    );
    for kind in WriterKind::ALL {
        writer.with(vec![label("kind", kind.label())], control.log_writer == Some(kind));
    }
    let records =
        counted("halfspace_flow_log_records_total", "Records of a flow log that were written.");
    let bytes = counted(
        "halfspace_flow_log_written_bytes_total",
        "Bytes of a flow log that were written, compressed as they are.",
    );
    let files = counted("halfspace_flow_log_files_total", "Files of a flow log that were begun.");
    for (id, statistics) in &control.flow_logs {
        let labels = || vec![label("flow_log_id", id)];
        records.with(labels(), statistics.records);
        bytes.with(labels(), statistics.bytes);
        files.with(labels(), statistics.files);
    }
}

fn process(process: &Process, started: f64) {
    if let Some(value) = process.resident_bytes {
        level("process_resident_memory_bytes", "Resident memory size in bytes.", value);
    }
    if let Some(value) = process.virtual_bytes {
        level("process_virtual_memory_bytes", "Virtual memory size in bytes.", value);
    }
    if let Some(value) = process.open_fds {
        level("process_open_fds", "Number of open file descriptors.", value);
    }
    if let Some(value) = process.max_fds {
        level("process_max_fds", "Maximum number of open file descriptors.", value);
    }
    if let Some(value) = process.threads {
        level("process_threads", "Number of threads.", value);
    }
    level(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        started,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use nf_core::translator::RealmUsage;

    use super::*;

    fn page(core: Core) -> String {
        let (control, process) = (Control::default(), Process::default());
        render(&Sample { core, control, process, peaks: HashMap::new() })
    }

    #[test]
    fn every_gateway_of_the_document_has_its_own_series_and_no_other_has() {
        let usage = RealmUsage { flows_total: 7, leases: 3, ..RealmUsage::default() };
        let two = page(Core {
            nat_gateways: vec![("nat-a".to_owned(), usage), ("nat-b".to_owned(), usage)],
            ..Core::default()
        });
        assert!(two.contains("halfspace_nat_gateway_flows_total{nat_gateway_id=\"nat-a\"} 7\n"));
        assert!(two.contains("halfspace_nat_gateway_leased_ports{nat_gateway_id=\"nat-b\"} 3\n"));
        let one = page(Core { nat_gateways: vec![("nat-b".to_owned(), usage)], ..Core::default() });
        assert!(!one.contains("nat-a"), "{one}");
    }

    #[test]
    fn a_target_is_in_one_state() {
        let page = page(Core {
            targets: vec![TargetView {
                group: "web".parse().unwrap(),
                target: "[fd00::1]:80".parse().unwrap(),
                state: TargetState::Healthy,
                active_flows: 1,
                flows_total: 2,
            }],
            ..Core::default()
        });
        for (state, value) in [("initial", 0), ("healthy", 1), ("unhealthy", 0), ("unused", 0)] {
            let line = format!(
                "halfspace_target_state{{target_group=\"web\",target=\"[fd00::1]:80\",\
                 state=\"{state}\"}} {value}\n"
            );
            assert!(page.contains(&line), "{line}{page}");
        }
    }

    #[test]
    fn without_the_kernels_counters_the_rest_is_still_told() {
        let page = page(Core { flows: 5, ..Core::default() });
        assert!(!page.contains("halfspace_fastpath_"), "{page}");
        assert!(page.contains("\nhalfspace_flows 5\n"), "{page}");
    }

    #[test]
    fn fractions_of_a_second_of_cpu_time_are_told() {
        let process = Process { cpu_seconds: Some(1.25), ..Process::default() };
        let (core, control) = (Core::default(), Control::default());
        let sample = Sample { core, control, process, peaks: HashMap::new() };
        assert!(render(&sample).ends_with("process_cpu_seconds_total 1.25\n"));
    }
}
