//! A load balancer with three targets: they see the client's own address; one dies, new requests
//! go to the others, and a download from another target never notices.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use halfspace_testbed::{Process, wait_until};

use super::environments::clients;
use crate::demo::curl::{self, Outcome};
use crate::demo::error::Error;
use crate::demo::tour::Stage;
use crate::demo::tour::plan;
use crate::demo::tour::tables::SourceRow;

/// Requests one after the other, and as many side by side.
const REQUESTS: usize = 40;

/// Requests between two looks at the target's state.
const BETWEEN: usize = 5;

/// How long targets may take to be found healthy or unhealthy: checks are a second apart, two in a
/// row decide.
const HEALTH_LIMIT: Duration = Duration::from_secs(8);

/// The port that the download comes from, by which its target is found.
const DOWNLOAD_PORT: u16 = 41_000;

/// Bytes a second at which the target sends: the download outlives the health checks.
const DOWNLOAD_RATE: &str = "700k";

/// The size of what is downloaded, in bytes.
pub(super) const BLOB: &str = "4194304";

/// How long a download may take.
pub(super) const DOWNLOAD_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    let (balancer, count) = (plan::BALANCER, plan::TARGETS.len());
    stage.report.scene(&format!("A load balancer at {balancer} with {count} targets"));
    all_healthy(stage)?;
    spread(stage)?;
    lose_one(stage)?;
    views(stage);
    Ok(())
}

fn all_healthy(stage: &mut Stage) -> Result<(), Error> {
    let step = stage.report.progress.step("waiting for the health checks");
    let mut healthy = 0;
    let waited = wait_until(HEALTH_LIMIT, "all targets to be healthy", || {
        healthy = (0..plan::TARGETS.len()).filter(|it| is(stage, *it, "healthy")).count();
        healthy == plan::TARGETS.len() || stage.interrupt.is_raised()
    });
    drop(step);
    stage.go_on()?;
    let outcome = waited.map_err(|error| format!("{error}, but only {healthy} are"));
    stage.report.check("every target passed its health checks", outcome);
    Ok(())
}

/// Requests one by one and side by side reach all targets.
fn spread(stage: &mut Stage) -> Result<(), Error> {
    let step = stage.report.progress.step("a visitor asks with curl");
    let asked = [ask(stage, REQUESTS, 1)?, ask(stage, REQUESTS, REQUESTS)?].concat();
    drop(step);
    let answers = answered(&asked, None);
    stage.report.holds(
        format!("{REQUESTS} requests one by one and {REQUESTS} in parallel were all answered"),
        answers == 2 * REQUESTS,
        format!("{answers} were; {}", errors(&asked)),
    );
    let shares: Vec<_> = stage.lab.targets.iter().map(|target| target.answered).collect();
    let name = format!("every target had its share: {shares:?}");
    stage.report.holds(name, shares.iter().all(|share| *share > 0), "one had none");
    Ok(())
}

/// One target dies while a download runs through another.
fn lose_one(stage: &mut Stage) -> Result<(), Error> {
    let _step = stage.report.progress.step("a slow download runs through one target, another dies");
    let (download, keeper) = start_download(stage)?;
    let Some(keeper) = keeper else {
        stage.report.check("a download began", Err("no target has its connection".to_owned()));
        return Ok(());
    };
    let victim = (keeper + 1) % plan::TARGETS.len();
    stage.lab.targets[victim].nginx.process.kill();

    let killed = Instant::now();
    let mut found = None;
    let mut meanwhile = 0;
    while found.is_none() && killed.elapsed() < HEALTH_LIMIT {
        stage.go_on()?;
        let asked = ask(stage, BETWEEN, 1)?;
        stage.lab.targets[victim].refused += (BETWEEN - answered(&asked, None)) as u64;
        meanwhile += BETWEEN;
        found = is(stage, victim, "unhealthy").then(|| killed.elapsed());
    }
    let still_running = download.is_running();
    let name = plan::target_name(victim);
    stage.report.check(
        format!("{name} was killed and found dead{}", after(found)),
        found.map(drop).ok_or_else(|| format!("not within {HEALTH_LIMIT:?}")),
    );
    let refused = stage.lab.targets[victim].refused;
    stage.report.note(format!("until then {refused} of {meanwhile} requests were refused by it"));

    let asked = ask(stage, REQUESTS, REQUESTS)?;
    let by_others = answered(&asked, Some(&name));
    stage.report.holds(
        format!("since then {REQUESTS} of {REQUESTS} were answered by the other two"),
        by_others == REQUESTS,
        format!("{by_others} were; {}", errors(&asked)),
    );
    finish_download(stage, download, keeper, still_running)
}

fn after(found: Option<Duration>) -> String {
    found.map(|time| format!(" after {:.1} s", time.as_secs_f64())).unwrap_or_default()
}

/// A download that takes its time, and the target it comes from.
fn start_download(stage: &mut Stage) -> Result<(Process, Option<usize>), Error> {
    let url = format!("http://{}/blob?rate={DOWNLOAD_RATE}", plan::BALANCER);
    let download = curl::download(&stage.lab.visitor, DOWNLOAD_PORT, &url)?;
    let mut server = None;
    // Without one the caller says so.
    let _ = wait_until(Duration::from_secs(3), "the download to begin", || {
        server = (0..plan::TARGETS.len()).find(|it| has_download(stage, *it));
        server.is_some()
    });
    Ok((download, server))
}

/// Whether a target has the download's connection, by its own account.
fn has_download(stage: &Stage, target: usize) -> bool {
    let client = format!("{}:{DOWNLOAD_PORT}", plan::VISITOR);
    let namespace = &stage.lab.targets[target].namespace;
    let sockets = namespace.run(["ss", "--no-header", "--tcp", "--numeric", "dst", &client]);
    sockets.is_ok_and(|listed| listed.stdout.contains(&client))
}

fn finish_download(
    stage: &mut Stage,
    mut download: Process,
    keeper: usize,
    still_running: bool,
) -> Result<(), Error> {
    let step = stage.report.progress.step("waiting for the download");
    let size = stage.wait(&mut download, DOWNLOAD_LIMIT)?;
    drop(step);
    stage.lab.targets[keeper].answered += 1;
    let name = plan::target_name(keeper);
    stage.report.holds(
        format!("a download from {name} ran all the while and is complete: {BLOB} bytes"),
        still_running && size.stdout == BLOB,
        format!(
            "it {} when the dead target was found, and got {} bytes; {}",
            if still_running { "was running" } else { "had ended" },
            size.stdout,
            size.stderr.trim()
        ),
    );
    Ok(())
}

/// The targets' own views of the visitor.
fn views(stage: &mut Stage) {
    for number in 0..plan::TARGETS.len() {
        let target = &stage.lab.targets[number];
        let answered = target.answered as usize;
        let log = clients(&target.nginx, answered);
        let row = SourceRow::new(
            "a visitor, by the load balancer".to_owned(),
            plan::VISITOR.into(),
            plan::target_name(number),
            &log,
        );
        row.tell(&mut stage.report, IpAddr::V4(plan::VISITOR), answered);
    }
}

/// Sends requests to the load balancer, `at_once` at a time, and notes who answered.
fn ask(stage: &mut Stage, requests: usize, at_once: usize) -> Result<Vec<Outcome>, Error> {
    let url = format!("http://{}/", plan::BALANCER);
    // Each from a port that was never used before, so that every log tells them apart.
    let ports = stage.lab.visitor_port..stage.lab.visitor_port + requests as u16;
    stage.lab.visitor_port = ports.end;
    let clients = ports.map(|port| (&stage.lab.visitor, port.to_string()));
    let outcomes = curl::get(clients, &[url], at_once, &stage.interrupt, || ())?;
    for answer in outcomes.iter().flat_map(|outcome| &outcome.answers) {
        let from = (0..plan::TARGETS.len()).find(|it| plan::target_name(*it) == answer.server);
        if let Some(target) = from {
            stage.lab.targets[target].answered += 1;
        }
    }
    Ok(outcomes)
}

/// How many requests were answered, and by others than a target.
fn answered(outcomes: &[Outcome], except: Option<&str>) -> usize {
    let answers = outcomes.iter().flat_map(|outcome| &outcome.answers);
    answers.filter(|answer| Some(answer.server.as_str()) != except).count()
}

/// What curl said about those that were not.
fn errors(outcomes: &[Outcome]) -> String {
    outcomes.iter().flat_map(|outcome| outcome.errors.clone()).collect::<Vec<_>>().join("; ")
}

/// Whether a target is in a state, as the metrics page tells.
fn is(stage: &Stage, target: usize, wanted: &str) -> bool {
    let address = plan::http(plan::TARGETS[target]).to_string();
    let labels = [("target_group", plan::TARGET_GROUP), ("target", &address), ("state", wanted)];
    let metrics = stage.lab.daemon.metrics();
    metrics.is_ok_and(|page| page.sum("halfspace_target_state", &labels) == Some(1))
}
