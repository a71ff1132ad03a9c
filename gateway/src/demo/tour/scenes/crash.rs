//! The gateway's process is killed under load: what is established goes on without it, and the
//! next process knows it all again.

use std::time::{Duration, Instant};

use super::balancer::{BLOB, DOWNLOAD_LIMIT};
use super::environments::{answered, call_out, service_of, website_for};
use crate::api::types::Flow;
use crate::demo::curl;
use crate::demo::error::Error;
use crate::demo::tour::Stage;
use crate::demo::tour::iperf3::{Finished, Transfer};
use crate::demo::tour::plan::{self, BLUE};

/// Seconds that iperf3 sends.
const DURATION: u32 = 5;

/// Before the kill, and from the kill to the restart.
const PAUSE: Duration = Duration::from_millis(1500);

/// iperf3's clock starts a little after ours.
const SKEW: f64 = 0.3;

/// The ports that both connections come from.
const BULK_PORT: u16 = 43_000;
const DOWNLOAD_PORT: u16 = 43_001;

/// Bytes a second at which the website sends: about as long as iperf3.
const DOWNLOAD_RATE: &str = "700k";

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    stage.report.scene("The gateway is killed under load");
    if !stage.in_kernel {
        let why = "in user space the packets stop with the process";
        stage.report.skip("flows that go on without the gateway", why);
        return Ok(());
    }
    let environments = &stage.lab.blue.environments;
    let url = format!("http://{}/blob?rate={DOWNLOAD_RATE}", plan::WEBSITE);
    let mut download = curl::download(&environments[1], DOWNLOAD_PORT, &url)?;
    let transfer = Transfer::start(&environments[0], BULK_PORT, DURATION)?;
    let began = Instant::now();

    let step = stage.report.progress.step("iperf3 and a slow download run; kill -9; restart");
    stage.interrupt.sleep(PAUSE);
    let killed = began.elapsed();
    stage.lab.daemon.kill();
    stage.interrupt.sleep(PAUSE);
    stage.go_on()?;
    let restarting = began.elapsed();
    let starting = Instant::now();
    stage.lab.daemon.restart()?;
    let ready = starting.elapsed();
    let flows = stage.lab.daemon.flows()?;
    let transfer = transfer.finish(stage)?;
    let size = stage.wait(&mut download, DOWNLOAD_LIMIT)?;
    drop(step);

    match transfer {
        Ok(finished) => without_gateway(stage, &finished, killed, restarting),
        Err(complaint) => stage.report.check("iperf3 survived it", Err(complaint)),
    }
    stage.report.holds(
        format!("a slow download survived it and is complete: {BLOB} bytes"),
        size.status.success() && size.stdout == BLOB,
        format!("it got {} bytes; {}", size.stdout, size.stderr.trim()),
    );
    listed_again(stage, &flows, ready);
    back_to_work(stage)
}

/// What iperf3 moved while there was no process.
fn without_gateway(stage: &mut Stage, finished: &Finished, killed: Duration, restarting: Duration) {
    let (from, to) = (killed.as_secs_f64(), restarting.as_secs_f64() - SKEW);
    let moved = finished.between(from, to);
    let megabytes = moved.iter().sum::<u64>() / 1_000_000;
    stage.report.holds(
        format!("iperf3 survived it and moved {megabytes} MB in {:.1} s without it", to - from),
        !moved.is_empty() && moved.iter().all(|bytes| *bytes > 0),
        format!("it stood still: {moved:?} bytes a quarter of a second"),
    );
}

/// The new process has both flows, and all environments.
fn listed_again(stage: &mut Stage, flows: &[Flow], ready: Duration) {
    let listed = |port| {
        flows.iter().any(|flow| {
            flow.forward.received.source.port() == port
                && flow.state == "established"
                && flow.reverse.received.destination.ip() == BLUE.public
        })
    };
    let missing: Vec<_> =
        [BULK_PORT, DOWNLOAD_PORT].into_iter().filter(|port| !listed(*port)).collect();
    stage.report.holds(
        format!(
            "restarted in {:.1} s: `halfspace flows` lists both again, and {} others",
            ready.as_secs_f64(),
            flows.len().saturating_sub(2)
        ),
        missing.is_empty(),
        format!("none is established from {missing:?} to {}", BLUE.public),
    );
}

/// The new process serves every environment that the old one had.
fn back_to_work(stage: &mut Stage) -> Result<(), Error> {
    let all: Vec<_> = [&stage.lab.blue, &stage.lab.green]
        .map(|customer| (customer.tenant, 0..customer.environments.len()))
        .into();
    let count: usize = all.iter().map(|(_, numbers)| numbers.len()).sum();
    let listed = stage.lab.daemon.environments()?;
    let attached = listed.iter().filter(|it| it.state == "attached").count();
    stage.report.equal(format!("all {count} environments are attached again"), &attached, &count);
    let few = [(all[0].0, 2..4), (all[1].0, 2..4)];
    let calls = call_out(stage, &few, plan::SECOND_CALL_PORT)?;
    let outcome = answered(&calls, service_of).and_then(|()| answered(&calls, website_for));
    stage.report.check("and new connections are answered as before", outcome);
    Ok(())
}
