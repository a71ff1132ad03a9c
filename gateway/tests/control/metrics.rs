//! The pages for monitoring.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use halfspace_testbed::{Requirement, ready};
use nf_core::verdict::{Drop, FastDrop, Punt};

use crate::daemon::{Daemon, RESOURCES};

/// Names and types of all metrics.
const NAMES: &str = include_str!("metrics.golden");

/// Names and types as the page declares them; each has to have a help text as well.
fn declared(page: &str) -> BTreeSet<String> {
    let types: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    for line in &types {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help text");
    }
    types
}

#[test]
fn the_page_has_exactly_the_metrics_that_are_promised() {
    let Some(daemon) = Daemon::start("metrics-names", 0) else { return };
    let page = daemon.page("/metrics");
    assert_eq!(page.status, 200);
    let promised: BTreeSet<_> = NAMES.lines().map(str::to_owned).collect();
    assert_eq!(declared(&page.body), promised);
}

#[test]
fn every_reason_has_a_series_from_the_start() {
    let Some(daemon) = Daemon::start("metrics-labels", 0) else { return };
    let page = daemon.page("/metrics").body;
    let series = |name: &str, verdict: &str, reason: &str| {
        format!("\n{name}{{verdict=\"{verdict}\",reason=\"{reason}\"}} ")
    };
    for reason in Punt::ALL {
        let wanted = series("halfspace_fastpath_packets_total", "punted", reason.label());
        assert!(page.contains(&wanted), "{wanted}");
    }
    for reason in FastDrop::ALL {
        let wanted = series("halfspace_fastpath_packets_total", "dropped", reason.label());
        assert!(page.contains(&wanted), "{wanted}");
    }
    for reason in Drop::ALL {
        let wanted = series("halfspace_engine_packets_total", "dropped", reason.label());
        assert!(page.contains(&wanted), "{wanted}");
    }
}

#[test]
fn the_page_passes_promtool() {
    if !ready(&[Requirement::Program("promtool")]) {
        return;
    }
    let Some(daemon) = Daemon::start("metrics-lint", 0) else { return };
    let page = daemon.page("/metrics").body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_port_that_cannot_be_attached_keeps_a_starting_gateway_from_being_ready() {
    let Some(mut daemon) = Daemon::start("metrics-ready", 0) else { return };
    let loopback = RESOURCES.replace("port = \"lan0\"", "port = \"lo\"");
    daemon.write_resources(&loopback);
    daemon.eventually("the port to fail", || {
        daemon.page("/metrics").body.contains("halfspace_ports_failed 1\n")
    });
    assert_eq!(daemon.page("/readyz").status, 200, "what is ready stays so");

    daemon.stop();
    daemon.start_until_readiness_is(503);
    let page = daemon.page("/readyz");
    assert!(page.body.starts_with("port lo is not attached: "), "{}", page.body);
    assert_eq!(daemon.page("/healthz").status, 200);
    daemon.write_resources(RESOURCES);
    daemon.eventually("readiness", || daemon.page("/readyz").status == 200);
}

#[test]
fn health_and_readiness_are_told_and_other_paths_are_not_found() {
    let Some(daemon) = Daemon::start("metrics-health", 0) else { return };
    for (path, status, body) in
        [("/healthz", 200, "ok\n"), ("/readyz", 200, "ready\n"), ("/", 404, "")]
    {
        let page = daemon.page(path);
        assert_eq!((page.status, page.body.as_str()), (status, body), "{path}");
    }
}
