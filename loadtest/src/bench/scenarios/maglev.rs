//! The load balancer's table: what it costs to build, and how many flows move when a target leaves.

use std::process::Command;

use crate::bench::scenario::{
    Better, Contender, Entry, Measure, Origin, Scenario, Step, Turn, Yield,
};
use crate::bench::unit::Unit;
use crate::error::Error;
use crate::maglev::Costs;

/// See [`Scenario::about`].
pub const SCENARIO: Scenario = Scenario {
    name: "maglev",
    title: "Maglev table",
    about: "A table of 65,537 slots for 1,000 targets with weights from 1 to 999: the median time \
            of a build, the resident memory of a process at the peak of its first one above what \
            it was before, and the share of the other targets' slots, and with them of their \
            flows, that change hands when one target is removed (of 25 removed in turn, the one \
            that moves most).",
    steps: &[Step {
        name: "maglev",
        quick: true,
        measures: &[
            cost("maglev_build_ms", "build", Unit::Milliseconds),
            cost("maglev_peak_mib", "memory at the peak", Unit::Mebibytes),
            cost("maglev_disruption_pct", "others' flows that move", Unit::Percent),
        ],
    }],
    contenders: &[Entry {
        name: "halfspace",
        title: "Halfspace",
        origin: Origin::Ours,
        needs: &[],
        steps: &["maglev"],
        set_up: |_| Ok(Box::new(Builder)),
    }],
    plots: &[],
};

const fn cost(name: &'static str, title: &'static str, unit: Unit) -> Measure {
    Measure { name, title, unit, better: Better::Lower }
}

/// Builds in a process of its own, each time.
struct Builder;

impl Contender for Builder {
    fn round(&mut self, step: &Step, _: &Turn<'_>) -> Result<Yield, Error> {
        let [build, peak, disruption] = step.measures else {
            return Err(Error::Missing(format!("{} is no step of this scenario", step.name)));
        };
        let Costs { build_seconds, peak_bytes, disruption: moved, .. } = costs()?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
        let samples = vec![
            (build.name, build_seconds * 1e3),
            (peak.name, peak_bytes as f64 / f64::from(1 << 20)),
            (disruption.name, moved * 100.0),
        ];
        Ok(Yield { samples, disturbed: None })
    }
}

fn costs() -> Result<Costs, Error> {
    let failed = |source| Error::System { action: "run `halfspace-loadtest maglev`", source };
    let own = std::env::current_exe().map_err(failed)?;
    let output = Command::new(own).args(["maglev", "--json"]).output().map_err(failed)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(failed(std::io::Error::other(why)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))
}
