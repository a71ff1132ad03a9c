//! All scenarios, in the order in which they run. Each is a file of its own.

mod bulk;
mod chain;
mod eni;
mod generator_vs_wrk;
mod inventory;
mod maglev;
mod memory;
mod nat;
mod nat64;
mod new_flows;
mod nlb_cpu_per_gb;
mod nlb_crr;
mod nlb_udp;
mod rtt;
mod snapshot;

use std::time::Duration;

use super::scenario::{Better, Measure, Scenario};
use super::unit::Unit;

/// All of them.
pub const ALL: &[Scenario] = &[
    nat::SCENARIO,
    nat64::SCENARIO,
    chain::SCENARIO,
    eni::SCENARIO,
    nlb_udp::SCENARIO,
    new_flows::SCENARIO,
    nlb_crr::SCENARIO,
    rtt::SCENARIO,
    bulk::SCENARIO,
    nlb_cpu_per_gb::SCENARIO,
    memory::SCENARIO,
    maglev::SCENARIO,
    snapshot::SCENARIO,
    inventory::SCENARIO,
    generator_vs_wrk::SCENARIO,
];

/// How long the kernel gets to clear away a namespace and what it tracked before the next contender.
const SETTLE: Duration = Duration::from_millis(500);

/// The rate of frames that arrive, of a step of [`super::lane::Lane`].
const fn rate(name: &'static str, title: &'static str) -> Measure {
    Measure { name, title, unit: Unit::Mpps, better: Better::Higher }
}

/// The frames that do not, of the same step.
const fn lost(name: &'static str) -> Measure {
    Measure { name, title: "lost", unit: Unit::Share, better: Better::Lower }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_steps_and_plots_name_what_there_is() {
        let mut scenarios = BTreeSet::new();
        let mut measures = BTreeSet::new();
        for scenario in ALL {
            assert!(scenarios.insert(scenario.name), "{}", scenario.name);
            for measure in scenario.measures() {
                assert!(measures.insert(measure.name), "{}", measure.name);
            }
            let mut contenders = BTreeSet::new();
            for entry in scenario.contenders {
                assert!(contenders.insert(entry.name), "{}", entry.name);
                assert!(!entry.steps.is_empty(), "{} does nothing", entry.name);
                for step in entry.steps {
                    assert!(scenario.steps.iter().any(|it| it.name == *step), "{step}");
                }
            }
            for plot in scenario.plots {
                for point in plot.points {
                    let known = scenario.measures().any(|it| it.name == point.measure);
                    assert!(known, "{}: {}", scenario.name, point.measure);
                }
            }
        }
    }
}
