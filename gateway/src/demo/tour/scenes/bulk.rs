//! A bulk transfer through bridge and NAT gateway: after the first packets the fast path moves it
//! alone, and every packet that came in is in exactly one counter.

use std::time::Duration;

use halfspace_testbed::wait_until;

use crate::demo::error::Error;
use crate::demo::tour::Stage;
use crate::demo::tour::interfaces;
use crate::demo::tour::iperf3::{self, Transfer};
use crate::demo::tour::plan;
use halfspace_testbed::Scrape;

/// Seconds.
const DURATION: u32 = 2;

/// The port that the transfer comes from.
const PORT: u16 = 42_000;

/// Packets that may be handed to user space while the transfer runs: both connections' first ones,
/// neighbours' questions, and the answers to health checks.
const MOST_PUNTED: u64 = 100;

/// How long user space may take for what is on its way to it.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// The counters of the fast path.
const FAST_PATH: &str = "halfspace_fastpath_packets_total";

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    let website = plan::WEBSITE;
    stage.report.scene(&format!("A bulk transfer to {website}, through bridge and NAT gateway"));
    let before = Moment::take(stage)?;
    let step = stage.report.progress.step("iperf3 runs");
    let transfer = Transfer::start(&stage.lab.blue.environments[0], PORT, DURATION)?;
    let transfer = transfer.finish(stage)?;
    drop(step);
    stage.lab.blue.made.bridge += iperf3::CONNECTIONS;
    stage.lab.blue.made.nat += iperf3::CONNECTIONS;
    let after = Moment::take(stage)?;
    let received = match transfer {
        Ok(finished) => finished.received(),
        Err(complaint) => {
            stage.report.check("iperf3 ran to its end", Err(complaint));
            return Ok(());
        }
    };

    let gigabits = received.gigabits();
    let forwarded = after.verdict("forwarded") - before.verdict("forwarded");
    let punted = after.verdict("punted") - before.verdict("punted");
    stage.report.note(format!(
        "{} MB arrived at {gigabits:.1} Gbit/s; super-packets count as one packet",
        received.bytes / 1_000_000
    ));
    let (mover, engine) = if stage.in_kernel {
        ("the kernel", "user space")
    } else {
        ("the fast path", "the engine")
    };
    stage.report.holds(
        format!("packets moved by {mover} alone: {forwarded}; through {engine}: {punted}"),
        punted <= MOST_PUNTED && forwarded > 100 * punted,
        format!("expected at most {MOST_PUNTED} handed over, and a hundred times as many not"),
    );
    carried(stage, received.bytes)?;
    add_up(stage, &before, &after);
    decided(stage)
}

/// The flow's own counters hold what iperf3 moved.
fn carried(stage: &mut Stage, payload: u64) -> Result<(), Error> {
    let flows = stage.lab.daemon.flows()?;
    let flow = flows.iter().find(|it| it.forward.received.source.port() == PORT);
    let bytes = flow.map(|flow| flow.forward.bytes);
    stage.report.holds(
        format!("`halfspace flows` has its {payload} bytes and more, for headers"),
        // Headers of full-sized segments are less than a twentieth; what was sent twice is too.
        bytes.is_some_and(|bytes| (payload..payload + payload / 10).contains(&bytes)),
        format!("it has {bytes:?}"),
    );
    Ok(())
}

/// Packets that the interfaces received, by the kernel's own count, are those that the fast path
/// has decided about.
fn add_up(stage: &mut Stage, before: &Moment, after: &Moment) {
    let decided = after.all() - before.all();
    // Packets arrive between the looks, so the true number lies between these two.
    let least = after.received.0.saturating_sub(before.received.1);
    let most = after.received.1 - before.received.0;
    stage.report.holds(
        format!(
            "forwarded, handed over and dropped add up to what the interfaces received, {most}"
        ),
        (least..=most).contains(&decided),
        format!("they add up to {decided}, expected {least} to {most}"),
    );
}

/// Every packet that user space was given has met one end.
fn decided(stage: &mut Stage) -> Result<(), Error> {
    const ENGINE: &str = "halfspace_engine_packets_total";

    let sum = |page: &Scrape, name: &str| page.sum(name, &[]).unwrap_or_default();
    let mut found = (0, 0);
    // A packet may wait for its next hop at any moment, but not for long.
    let settled = wait_until(SETTLE_LIMIT, "user space to decide", || {
        let Ok(page) = stage.lab.daemon.metrics() else { return false };
        let given = sum(&page, "halfspace_engine_received_packets_total")
            + sum(&page, "halfspace_engine_originated_packets_total");
        found = (given, sum(&page, ENGINE) + sum(&page, "halfspace_engine_waiting_packets"));
        found.0 == found.1 && found.0 > 0
    });
    let name = format!("each of the {} packets user space ever had met exactly one end", found.0);
    stage.report.check(name, settled.map_err(|_| format!("{} ends", found.1)));
    stage.go_on()
}

/// The counters at a moment.
struct Moment {
    page: Scrape,
    /// Packets that the interfaces had received right before and right after.
    received: (u64, u64),
}

impl Moment {
    fn take(stage: &Stage) -> Result<Self, Error> {
        let namespace = &stage.lab.daemon.namespace;
        let before = interfaces::received(namespace)?;
        let page = stage.lab.daemon.metrics()?;
        Ok(Self { page, received: (before, interfaces::received(namespace)?) })
    }

    fn verdict(&self, verdict: &str) -> u64 {
        self.page.sum(FAST_PATH, &[("verdict", verdict)]).unwrap_or_default()
    }

    fn all(&self) -> u64 {
        self.page.sum(FAST_PATH, &[]).unwrap_or_default()
    }
}
