//! The interface is reached by its Elastic IP address, on the ports that its security group lets in.

use std::time::Duration;

use halfspace_testbed::http;

use crate::demo::curl;
use crate::demo::eni::Stage;
use crate::demo::eni::plan::{self, Instance, WEB1};
use crate::demo::error::Error;

/// How long a connection is tried for that is not let in.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    stage.report.scene(&format!(
        "{}: {} and {}, at {}",
        plan::FLOATING,
        plan::PRIVATE,
        plan::PUBLIC,
        WEB1.id
    ));
    answers(stage, WEB1)?;
    closed(stage)
}

/// An instance answers at the Elastic IP address.
pub(super) fn answers(stage: &mut Stage, instance: Instance) -> Result<(), Error> {
    let url = format!("http://{}/", plan::PUBLIC);
    // Any port.
    let client = [(&stage.lab.client, "0".to_owned())];
    let outcomes = curl::get(client, &[url], 1, &stage.interrupt, || ())?;
    let said: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
    let right = outcomes
        .iter()
        .flat_map(|it| &it.answers)
        .any(|answer| answer.server == instance.name && answer.client.ip() == plan::CLIENT);
    stage.report.holds(
        format!(
            "curl {} is answered by {}, which sees the client itself",
            plan::PUBLIC,
            instance.name
        ),
        right,
        said.join(", "),
    );
    Ok(())
}

/// A port that is served, and that the security group says nothing of.
fn closed(stage: &mut Stage) -> Result<(), Error> {
    let closed = plan::CLOSED;
    let inside = http::get(&stage.lab.web1.namespace, plan::at(plan::PRIVATE, closed), "/")?;
    let step = stage.report.progress.step("trying a port that the security group does not let in");
    let outside = plan::at(plan::PUBLIC, closed);
    let outside = http::get_within(PATIENCE, &stage.lab.client, outside, "/");
    drop(step);
    stage.report.holds(
        format!("the security group lets nobody in at port {closed}, where it is served too"),
        inside.status == 200 && outside.is_err(),
        format!("inside the answer is {}, outside {outside:?}", inside.status),
    );
    Ok(())
}
