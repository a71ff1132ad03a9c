//! Many environments, all alike, behind one managed network interface: attached while the gateway
//! runs, each in its customer's VPC and, through the NAT gateway, on the internet.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use halfspace_testbed::programs::Nginx;
use halfspace_testbed::wait_until;

use crate::demo::curl::{self, Outcome};
use crate::demo::error::Error;
use crate::demo::tour::Stage;
use crate::demo::tour::plan::{self, BLUE, GREEN, Tenant};
use crate::demo::tour::tables::SourceRow;

/// Environments of green's: enough to be mistaken for blue's.
const GREENS: usize = 8;

/// Environments that ask at the same time: more only wait for the processor.
const AT_ONCE: usize = 32;

/// How long nginx may take to log what it has answered.
const LOG_LIMIT: Duration = Duration::from_secs(2);

/// Wrong answers that are quoted; more would only hide the first.
const QUOTED: usize = 3;

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    let blues = stage.lab.environments;
    let mac = plan::ENVIRONMENT_MAC;
    stage.report.scene(&format!(
        "{blues} environments, all {} and {mac}, behind one network interface, {}",
        plan::ENVIRONMENT,
        plan::MANAGED
    ));
    let mut took = Duration::ZERO;
    for (tenant, count) in [(BLUE, blues), (GREEN, GREENS)] {
        took += attach(stage, tenant, count)?;
    }
    let each = took / (blues + GREENS - 2) as u32;
    stage.report.note(format!(
        "attached while the gateway runs, `halfspace env attach` takes {} ms",
        each.as_millis()
    ));
    let listed = stage.lab.daemon.environments()?;
    let attached = listed.iter().filter(|it| it.state == "attached").count();
    let name = format!("`halfspace env list` has all {} as attached", blues + GREENS);
    stage.report.equal(name, &attached, &(blues + GREENS));

    // The first of each have called already.
    let others = [(BLUE, 1..blues), (GREEN, 1..GREENS)];
    let calls = call_out(stage, &others, plan::ENVIRONMENT_PORT)?;
    let outcome = answered(&calls, service_of);
    stage.report.check("every one was answered by its own customer's service", outcome);
    let outcome = answered(&calls, website_for);
    stage.report.check("and by a website, as its customer's Elastic IP address", outcome);
    views(stage);
    Ok(())
}

/// The servers' own views of all calls so far.
fn views(stage: &mut Stage) {
    let customers = [(BLUE, stage.lab.environments), (GREEN, GREENS)];
    for (tenant, count) in customers {
        let log = clients(&stage.lab.customer(tenant).service.nginx, count);
        let row = row(tenant, count, format!("{}'s service", tenant.name), &log);
        let distinct = row.all_distinct();
        row.tell(&mut stage.report, plan::MANAGED.into(), count);
        stage.report.holds(
            format!("no two of {}'s shared an address and port there", tenant.name),
            distinct,
            "some did",
        );
    }
    let everyone = customers.iter().map(|(_, count)| count).sum();
    let log = clients(&stage.lab.website, everyone);
    for (tenant, count) in customers {
        let public = IpAddr::from(tenant.public);
        let own: Vec<_> = log.iter().copied().filter(|client| client.ip() == public).collect();
        let row = row(tenant, count, "the website".to_owned(), &own);
        row.tell(&mut stage.report, public, count);
    }
    stage.report.equal("and the website saw nobody else", &log.len(), &everyone);
}

fn row(tenant: Tenant, count: usize, server: String, log: &[SocketAddr]) -> SourceRow {
    let clients = format!("{count} {} environments", tenant.name);
    SourceRow::new(clients, plan::ENVIRONMENT.into(), server, log)
}

/// What nginx logged, once it has logged as much as is expected. If it does not, that is for the
/// caller to judge.
pub(super) fn clients(nginx: &Nginx, expected: usize) -> Vec<SocketAddr> {
    let _ = wait_until(LOG_LIMIT, "the access log", || nginx.clients().len() >= expected);
    nginx.clients()
}

/// Makes environments of a customer's up to `count` and attaches them. Returns how long it took to
/// attach them.
pub(super) fn attach(stage: &mut Stage, tenant: Tenant, count: usize) -> Result<Duration, Error> {
    let new = count - stage.lab.customer(tenant).environments.len();
    let step = stage.report.progress.steps(&format!("making {} environments", tenant.name), new);
    let numbers = stage.lab.make_environments(tenant, count, || step.advance())?;
    drop(step);
    stage.go_on()?;
    let step = stage.report.progress.steps(&format!("attaching {} environments", tenant.name), new);
    let started = Instant::now();
    for number in numbers {
        stage.go_on()?;
        stage.lab.daemon.attach(&tenant.bridge(), &tenant.environment(number))?;
        step.advance();
    }
    Ok(started.elapsed())
}

/// What an environment was answered.
#[derive(Debug)]
pub(super) struct Call {
    tenant: Tenant,
    number: usize,
    outcome: Outcome,
}

/// Lets environments of several customers ask their service and the website, all at once, all from
/// `port` and the next one.
pub(super) fn call_out(
    stage: &mut Stage,
    who: &[(Tenant, Range<usize>)],
    port: u16,
) -> Result<Vec<Call>, Error> {
    let urls = [plan::SERVICE, plan::WEBSITE].map(|address| format!("http://{address}/"));
    let ports = format!("{port}-{}", port + 1);
    let callers: Vec<_> = who
        .iter()
        .flat_map(|(tenant, numbers)| numbers.clone().map(|number| (*tenant, number)))
        .collect();
    let step = stage.report.progress.steps("they all ask with curl", callers.len());
    let clients = callers.iter().map(|(tenant, number)| {
        (&stage.lab.customer(*tenant).environments[*number], ports.clone())
    });
    let outcomes = curl::get(clients, &urls, AT_ONCE, &stage.interrupt, || step.advance())?;
    for (tenant, _) in &callers {
        let made = &mut stage.lab.customer_mut(*tenant).made;
        made.bridge += 2;
        made.nat += 1;
    }
    let calls = callers.into_iter().zip(outcomes);
    Ok(calls.map(|((tenant, number), outcome)| Call { tenant, number, outcome }).collect())
}

/// The answer that an environment should get inside its VPC: from whom, and seen as whom.
pub(super) fn service_of(tenant: Tenant) -> (&'static str, IpAddr) {
    (tenant.name, plan::MANAGED.into())
}

/// The answer that it should get from the internet.
pub(super) fn website_for(tenant: Tenant) -> (&'static str, IpAddr) {
    ("website", tenant.public.into())
}

/// Whether every call got the answer it should.
pub(super) fn answered(
    calls: &[Call],
    expected: impl Fn(Tenant) -> (&'static str, IpAddr),
) -> Result<(), String> {
    let wrong: Vec<_> = calls
        .iter()
        .filter(|call| {
            let (server, seen) = expected(call.tenant);
            let mut answers = call.outcome.answers.iter();
            !answers.any(|answer| answer.server == server && answer.client.ip() == seen)
        })
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let quoted = wrong.iter().take(QUOTED).map(|call| {
        let name = call.tenant.environment(call.number);
        format!("{name} got {}", call.outcome)
    });
    let quoted: Vec<_> = quoted.collect();
    Err(format!("{} of {} were not: {}", wrong.len(), calls.len(), quoted.join("; ")))
}
