//! Every figure that has a target: what it is made of, and what it should be. The one place for
//! them; the scenarios only measure.

use serde::{Deserialize, Serialize};

use super::scenario::{Entry, Measure, Step};
use super::scenarios;
use super::unit::Unit;

/// A ratio of two medians, or a single median, and what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// Its name in results.
    pub name: &'static str,
    /// What is divided.
    pub over: Series,
    /// By what; by nothing if the figure itself has the target.
    pub under: Option<Series>,
    /// What it should be.
    pub target: Target,
    /// Why the target is missed, for the report: the profile in a sentence or two, and what was
    /// tried. Shown only while it is missed.
    pub why: Option<&'static str>,
}

/// One contender's figure of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Of which measure.
    pub measure: &'static str,
    /// Whose.
    pub contender: &'static str,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// That much or more.
    AtLeast(f64),
    /// That much or less.
    AtMost(f64),
    /// Less than that.
    Below(f64),
    /// Neither less than the first nor more than the second.
    Within(f64, f64),
}

impl Target {
    /// Whether a figure is what it should be.
    pub fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Below(limit) => value < limit,
            Self::Within(least, most) => (least..=most).contains(&value),
        }
    }

    /// As people write it: `≥ 0.85`.
    pub fn words(self) -> String {
        match self {
            Self::AtLeast(value) => format!("≥ {value}"),
            Self::AtMost(value) => format!("≤ {value}"),
            Self::Below(value) => format!("< {value}"),
            Self::Within(least, most) => format!("{least} to {most}"),
        }
    }
}

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The figure is what it should be.
    Met,
    /// It is not.
    Missed,
    /// There is none, because Halfspace itself failed. That is a miss.
    Failed,
    /// There is none, because somebody else or something that is needed is missing, or because what
    /// it would be divided by came out as nothing.
    Missing,
    /// It was not asked for, or the run was interrupted.
    NotRun,
}

impl Verdict {
    /// Whether a run under `--enforce` fails for it.
    pub fn is_miss(self) -> bool {
        matches!(self, Self::Missed | Self::Failed)
    }

    /// For tables.
    pub fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::NotRun => "not run",
        }
    }
}

const ONE_FLOW: &str = "Parsing, look-up, checks, counts and rewrite take some 55 ns beyond an empty \
    program (BPF_PROG_TEST_RUN), of the 265 ns that a bare redirect takes with generator and sink; \
    the target leaves 47. Stamps from jiffies instead of a clock's call gained 12 ns. Counting \
    without atomic operations would gain 3 % and lose counts where two processors meet in a flow; \
    a device map instead of a redirect by interface number gains 3.5 ns, in the bare redirect as \
    well.";

const TC: &str = "Under tc a frame is made a socket buffer, queued and sent as one, for all \
    contenders alike: of some 900 ns the program takes 130 (BPF_PROG_TEST_RUN). Kernel forwarding \
    that translates nothing is no faster.";

const SAME_WORK: &str = "Both take the same way through the same program, one look-up and one \
    rewrite: what differs is the machine's share of caches and processors, see the spread.";

const TWO_ENDS: &str = "Clients and targets take nine tenths of the two cores that they share with \
    the gateway: one that cost nothing would come to some 2.1 times HAProxy's rate. The gateway's \
    own part is told with the figures. TCP events without system calls, removals in batches and \
    smaller records have lowered it; what is left is the worker's for each connection's first \
    packet, whose target depends on its source port, so that the kernel program cannot make the \
    flow itself yet.";

const SHARED_CORES: &str = "Two programs, a generator and the gateway share two cores, so the \
    scheduler has a hand in the slowest hundredth: see the spread.";

const LOOK_UP: &str = "The look-up waits for memory: with a million flows it is 47 % of all time. \
    Entries of two whole cache lines helped by a tenth; a table with room for four times the flows \
    helps a million of them by a quarter, and is what is measured. What else runs on the machine's \
    cache costs the more, the more flows there are.";

const NEW_FLOWS: &str = "The kernel program makes the flows of a class itself, and the worker \
    takes them over at some 5,000 instructions each, of which the walk through the functions is \
    two fifths. A flow that goes up as a packet costs the worker 4.5 µs: 39 % to send it on through \
    a packet socket, 23 % to make two entries in the kernel, 38 % to decide. So a run in which the \
    worker falls behind and stock runs out loses most of the gain.";

const MEMORY: &str = "What the bytes are is told with the figures. Without the padding of the \
    kernel's entries it would be 16 bytes less, and 50,000 flows a tenth slower.";

/// All of them, in the order of reports.
pub const RATIOS: &[Ratio] = {
    use Target::{AtLeast, AtMost, Below, Within};

    &[
        ratio("nat_1_xdp_vs_raw", ("nat_1", "halfspace_xdp"), ("nat_1", "raw"), AtLeast(0.85))
            .because(ONE_FLOW),
        ratio("nat_1_xdp_vs_nft", ("nat_1", "halfspace_xdp"), ("nat_1", "nft"), AtLeast(4.0)),
        ratio("nat_50k_xdp_vs_raw", ("nat_50k", "halfspace_xdp"), ("nat_50k", "raw"), AtLeast(0.5))
            .because(LOOK_UP),
        ratio("nat_50k_xdp_vs_nft", ("nat_50k", "halfspace_xdp"), ("nat_50k", "nft"), AtLeast(3.0)),
        ratio(
            "nat_1m_xdp_vs_own_50k",
            ("nat_1m", "halfspace_xdp"),
            ("nat_50k", "halfspace_xdp"),
            AtLeast(0.8),
        )
        .because(LOOK_UP),
        ratio("nat_1_tc_vs_nft", ("nat_1", "halfspace_tc"), ("nat_1", "nft"), AtLeast(1.7)).because(TC),
        ratio("nat_50k_tc_vs_nft", ("nat_50k", "halfspace_tc"), ("nat_50k", "nft"), AtLeast(1.8)).because(TC),
        ratio("chain_xdp_vs_own_nat", ("chain", "chain_xdp"), ("chain", "nat_xdp"), AtLeast(0.95))
            .because(SAME_WORK),
        ratio("chain_tc_vs_own_nat", ("chain", "chain_tc"), ("chain", "nat_tc"), AtLeast(0.95))
            .because(SAME_WORK),
        // The slower hook of the two: a target that only XDP met would say little for tc.
        ratio(
            "chain_vs_nft_two_hops",
            ("chain", "chain_tc"),
            ("chain", "nft_two_hops"),
            AtLeast(2.0),
        ),
        ratio("nat64_xdp_vs_nat44", ("nat64", "nat64_xdp"), ("nat64", "nat44_xdp"), AtLeast(0.8)),
        ratio("nat64_tc_vs_nat44", ("nat64", "nat64_tc"), ("nat64", "nat44_tc"), AtLeast(0.8)),
        ratio("eni_xdp_vs_own_nat", ("eni", "eni_xdp"), ("eni", "nat_xdp"), AtLeast(0.95))
            .because(SAME_WORK),
        ratio("eni_tc_vs_own_nat", ("eni", "eni_tc"), ("eni", "nat_tc"), AtLeast(0.95))
            .because(SAME_WORK),
        ratio("flow_log_vs_none", ("eni", "logged_xdp"), ("eni", "eni_xdp"), AtLeast(0.95))
            .because(SAME_WORK),
        ratio("nlb_udp_vs_own_nat", ("nlb_udp", "nlb_xdp"), ("nlb_udp", "nat_xdp"), AtLeast(0.95))
            .because(SAME_WORK),
        ratio(
            "new_flows_vs_nft",
            ("new_flows", "halfspace_xdp"),
            ("new_flows", "nft"),
            AtLeast(2.0),
        )
        .because(NEW_FLOWS),
        ratio(
            "new_flows_per_cpu_vs_nft",
            ("new_flows_per_cpu", "halfspace_xdp"),
            ("new_flows_per_cpu", "nft"),
            AtLeast(1.2),
        )
        .because(NEW_FLOWS),
        ratio("nlb_crr_vs_haproxy", ("nlb_crr", "halfspace"), ("nlb_crr", "haproxy"), AtLeast(2.0))
            .because(TWO_ENDS),
        ratio(
            "nlb_crr_vs_nft_dnat",
            ("nlb_crr", "halfspace"),
            ("nlb_crr", "nft_dnat"),
            AtLeast(1.0),
        )
        .because(TWO_ENDS),
        ratio("rtt_p50_vs_nft", ("rtt_p50", "halfspace_tc"), ("rtt_p50", "nft"), AtMost(1.0))
            .because(SHARED_CORES),
        ratio("rtt_p99_vs_nft", ("rtt_p99", "halfspace_tc"), ("rtt_p99", "nft"), AtMost(1.0))
            .because(SHARED_CORES),
        ratio(
            "bulk_tcp_vs_kernel_forward",
            ("bulk_tcp", "halfspace_tc"),
            ("bulk_tcp", "kernel"),
            AtLeast(1.0),
        )
        .because(
            "Copying rules: the program on the tc hook takes 3 % of all time, two thirds of that in \
             making headers writable, which the kernel's own forwarding does too. Medians of \
             different runs lie between 0.92 and 1.03.",
        ),
        ratio(
            "nlb_cpu_per_gb_vs_haproxy",
            ("nlb_cpu_per_gb", "halfspace"),
            ("nlb_cpu_per_gb", "haproxy"),
            AtMost(0.25),
        ),
        figure("bytes_per_flow_1m", "halfspace", AtMost(400.0)).because(MEMORY),
        figure("bytes_per_flow_4m", "halfspace", AtMost(400.0)).because(MEMORY),
        figure("maglev_build_ms", "halfspace", AtMost(10.0)),
        figure("maglev_peak_mib", "halfspace", AtMost(4.0)),
        figure("maglev_disruption_pct", "halfspace", Below(2.0)),
        figure("snapshot_lost_packets", "halfspace", AtMost(0.0)),
        figure("snapshot_apply_s", "halfspace", Below(1.0)),
        figure("inventory_apply_s", "halfspace", Below(2.0)),
        figure("inventory_mib", "halfspace", AtMost(64.0)),
        ratio(
            "generator_vs_wrk",
            ("generator_rate", "halfspace"),
            ("generator_rate", "wrk"),
            Within(0.9, 1.1),
        )
        .because(
            "Client and server have a core each, and what else runs takes from one of them for a \
             round. Medians of six runs lie between 0.96 and 1.13, five of them within 1.05.",
        ),
    ]
};

/// A measure that has a target itself, under its own name.
const fn figure(name: &'static str, contender: &'static str, target: Target) -> Ratio {
    Ratio { name, over: series((name, contender)), under: None, target, why: None }
}

const fn ratio(
    name: &'static str,
    over: (&'static str, &'static str),
    under: (&'static str, &'static str),
    target: Target,
) -> Ratio {
    Ratio { name, over: series(over), under: Some(series(under)), target, why: None }
}

const fn series((measure, contender): (&'static str, &'static str)) -> Series {
    Series { measure, contender }
}

impl Ratio {
    /// Says why the target may be missed.
    const fn because(self, why: &'static str) -> Self {
        Self { why: Some(why), ..self }
    }

    /// The figures that it is made of.
    pub fn series(&self) -> impl Iterator<Item = Series> {
        [Some(self.over), self.under].into_iter().flatten()
    }

    /// What it is counted in.
    pub fn unit(&self) -> Unit {
        match (self.under, self.over.find()) {
            (None, Some(found)) => found.measure.unit,
            _ => Unit::Ratio,
        }
    }
}

/// What a [`Series`] names.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The step that yields it.
    pub step: &'static Step,
    /// What is measured.
    pub measure: &'static Measure,
    /// Who.
    pub entry: &'static Entry,
}

impl Series {
    /// Looks it up among all scenarios.
    pub fn find(self) -> Option<Found> {
        scenarios::ALL.iter().find_map(|scenario| {
            let step = scenario
                .steps
                .iter()
                .find(|step| step.measures.iter().any(|it| it.name == self.measure))?;
            let measure = step.measures.iter().find(|it| it.name == self.measure)?;
            let entry = scenario.contender(self.contender)?;
            entry.steps.contains(&step.name).then_some(Found { step, measure, entry })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::scenario::Origin;

    #[test]
    fn every_ratio_is_of_figures_that_a_scenario_yields() {
        let mut names = BTreeSet::new();
        for ratio in RATIOS {
            assert!(names.insert(ratio.name), "{} is there twice", ratio.name);
            for series in ratio.series() {
                assert!(series.find().is_some(), "{}: {series:?}", ratio.name);
            }
            // Else its failure would be nobody's fault.
            let ours = ratio.series().filter_map(Series::find);
            let ours = ours.filter(|found| found.entry.origin == Origin::Ours);
            assert!(ours.count() > 0, "{} has nothing of ours", ratio.name);
        }
    }

    #[test]
    fn a_target_is_met_at_its_limits_unless_it_says_below() {
        assert!(Target::AtLeast(2.0).is_met_by(2.0) && !Target::AtLeast(2.0).is_met_by(1.999));
        assert!(Target::AtMost(2.0).is_met_by(2.0) && !Target::AtMost(2.0).is_met_by(2.001));
        assert!(Target::Below(2.0).is_met_by(1.999) && !Target::Below(2.0).is_met_by(2.0));
        let within = Target::Within(0.9, 1.1);
        let met = [0.899, 0.9, 1.0, 1.1, 1.101].map(|value| within.is_met_by(value));
        assert_eq!(met, [false, true, true, true, false]);
        assert_eq!(Target::AtLeast(0.85).words(), "≥ 0.85");
        assert_eq!(within.words(), "0.9 to 1.1");
        assert_eq!(
            serde_json::to_value(Target::Below(2.0)).unwrap(),
            serde_json::json!({ "below": 2.0 })
        );
        assert_eq!(
            serde_json::to_value(within).unwrap(),
            serde_json::json!({ "within": [0.9, 1.1] })
        );
    }
}
