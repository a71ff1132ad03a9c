//! Two customers with the same addresses: one environment of each sends the same packet, and each
//! is answered by its own customer's service.

use super::environments::{answered, attach, call_out, service_of, website_for};
use crate::demo::error::Error;
use crate::demo::tour::Stage;
use crate::demo::tour::plan::{self, BLUE, GREEN};

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    let (vpc, service) = (plan::VPC, plan::http(plan::SERVICE));
    stage.report.scene(&format!("Two customers, each with {vpc} and a service at {service}"));
    let tenants = [BLUE, GREEN];
    for tenant in tenants {
        attach(stage, tenant, 1)?;
    }
    let first = tenants.map(|tenant| (tenant, 0..1));
    let calls = call_out(stage, &first, plan::ENVIRONMENT_PORT)?;

    let source = format!("{}:{}", plan::ENVIRONMENT, plan::ENVIRONMENT_PORT);
    let mut same: Vec<_> = stage.lab.daemon.flows()?.into_iter().map(|flow| flow.forward).collect();
    same.retain(|leg| {
        leg.received.source.to_string() == source && leg.received.destination == service
    });
    let mut ports: Vec<_> = same.iter().map(|leg| leg.port.clone()).collect();
    ports.sort();
    stage.report.equal(
        format!("the gateway saw {source} → {service} twice, on two interfaces"),
        &ports,
        &tenants.map(|tenant| tenant.environment(0)).to_vec(),
    );
    let outcome = answered(&calls, service_of);
    stage.report.check("blue's was answered by blue's service, green's by green's", outcome);
    let outcome = answered(&calls, website_for);
    stage.report.check("on the internet each is seen as its own customer's address", outcome);
    Ok(())
}
