//! What all scenes so far have sent, against what the metrics page says.

use crate::demo::error::Error;
use crate::demo::tour::Stage;
use crate::demo::tour::plan::{self, BLUE, GREEN};
use crate::demo::tour::tables::CountRow;
use halfspace_testbed::Scrape;

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    stage.report.scene("What was sent, and what /metrics says");
    let page = stage.lab.daemon.metrics()?;
    let mut all = 0;
    for tenant in [BLUE, GREEN] {
        let made = stage.lab.customer(tenant).made;
        all += made.bridge;
        let bridge = tenant.bridge();
        count(
            stage,
            &page,
            format!("connections of {}'s environments", tenant.name),
            made.bridge,
            ("halfspace_lambda_bridge_flows_total", &[("lambda_bridge_id", &bridge)]),
        );
        let nat = tenant.nat_gateway();
        count(
            stage,
            &page,
            "of them to the internet".to_owned(),
            made.nat,
            ("halfspace_nat_gateway_flows_total", &[("nat_gateway_id", &nat)]),
        );
    }
    for number in 0..plan::TARGETS.len() {
        let target = &stage.lab.targets[number];
        let sent = target.answered + target.refused;
        all += sent;
        let refused = target.refused;
        let name = plan::target_name(number);
        let what = match refused {
            0 => format!("requests to {name}"),
            _ => format!("requests to {name}, {refused} refused"),
        };
        let address = plan::http(plan::TARGETS[number]).to_string();
        count(stage, &page, what, sent, ("halfspace_target_flows_total", &[("target", &address)]));
    }
    let everything = "connections in all".to_owned();
    count(stage, &page, everything, all, ("halfspace_flows_created_total", &[]));
    Ok(())
}

fn count(
    stage: &mut Stage,
    page: &Scrape,
    what: String,
    sent: u64,
    (name, labels): (&str, &[(&str, &str)]),
) {
    // They all begin with the program's name.
    let short = name.trim_start_matches("halfspace_");
    let values = labels.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(", ");
    let metric = if labels.is_empty() { short.to_owned() } else { format!("{short}{{{values}}}") };
    // A metric that is not there counts nothing.
    let counted = page.sum(name, labels).unwrap_or_default();
    CountRow { what, sent, metric, counted }.tell(&mut stage.report);
}
