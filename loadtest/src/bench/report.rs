//! The outcome: ratios against their targets, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::contender::Contender;
use super::lane::Sample;
use super::machine::Machine;
use super::stats::{self, Summary};

/// A ratio that is reported, and the least it should be.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// Its name in results.
    pub name: &'static str,
    /// Number of flows of both.
    pub flows: u32,
    /// What is divided.
    pub over: Contender,
    /// By what.
    pub under: Contender,
    /// The least it should be, where that is set.
    pub target: Option<f64>,
}

/// One flow, and many.
pub const FLOW_COUNTS: [u32; 2] = [1, 50_000];

/// All that is reported.
pub const RATIOS: [Ratio; 6] = {
    use Contender::{HalfspaceTc, HalfspaceXdp, Nft, Raw};

    const fn ratio(
        name: &'static str,
        flows: u32,
        over: Contender,
        under: Contender,
        target: Option<f64>,
    ) -> Ratio {
        Ratio { name, flows, over, under, target }
    }

    let [one, many] = FLOW_COUNTS;
    [
        ratio("nat_1_xdp_vs_raw", one, HalfspaceXdp, Raw, None),
        ratio("nat_1_xdp_vs_nft", one, HalfspaceXdp, Nft, Some(3.0)),
        ratio("nat_1_tc_vs_nft", one, HalfspaceTc, Nft, Some(1.4)),
        ratio("nat_50k_xdp_vs_raw", many, HalfspaceXdp, Raw, None),
        ratio("nat_50k_xdp_vs_nft", many, HalfspaceXdp, Nft, None),
        ratio("nat_50k_tc_vs_nft", many, HalfspaceTc, Nft, None),
    ]
};

/// The share of the generator's core that other programs may take without a remark.
const UNDISTURBED: f64 = 0.05;

/// The samples so far, by contender and number of flows, and who dropped out.
#[derive(Debug, Default)]
pub struct Samples {
    rounds: BTreeMap<(Contender, u32), Vec<Sample>>,
    missing: BTreeMap<Contender, String>,
}

/// `results.json`.
#[derive(Debug, Serialize)]
pub struct Results {
    ratios: BTreeMap<&'static str, f64>,
    /// Millions of frames a second.
    medians: BTreeMap<String, f64>,
    /// Least and greatest of the single rounds, of ratios and of medians.
    spread: BTreeMap<String, [f64; 2]>,
    /// Share of the frames sent that did not arrive, median.
    lost: BTreeMap<String, f64>,
    /// Share of the generator's core that something else took, median.
    disturbed: BTreeMap<String, f64>,
    /// Rounds, in millions of frames a second.
    rounds: BTreeMap<String, Vec<f64>>,
    /// Contenders that could not be measured, and why.
    missing: BTreeMap<&'static str, String>,
    machine: Machine,
}

impl Samples {
    /// Notes a round.
    pub fn add(&mut self, contender: Contender, flows: u32, sample: Sample) {
        self.rounds.entry((contender, flows)).or_default().push(sample);
    }

    /// Takes a contender out: what it did so far does not count either.
    pub fn drop_out(&mut self, contender: Contender, reason: String) {
        self.rounds.retain(|(other, _), _| *other != contender);
        self.missing.insert(contender, reason);
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    fn rates(&self, contender: Contender, flows: u32) -> Vec<f64> {
        let rounds = self.rounds.get(&(contender, flows));
        rounds.into_iter().flatten().map(|sample| sample.mpps).collect()
    }

    fn ratio(&self, ratio: &Ratio) -> Option<Summary> {
        let over = self.rates(ratio.over, ratio.flows);
        stats::ratio(&over, &self.rates(ratio.under, ratio.flows))
    }

    /// The targets that were measured and missed.
    pub fn missed(&self) -> Vec<String> {
        RATIOS
            .iter()
            .filter(|ratio| {
                let measured = self.ratio(ratio).map(|summary| summary.value);
                measured.zip(ratio.target).is_some_and(|(measured, target)| measured < target)
            })
            .map(|ratio| ratio.name.to_owned())
            .collect()
    }

    /// Everything, for `results.json`.
    pub fn results(&self, machine: Machine) -> Results {
        let mut results = Results {
            ratios: BTreeMap::new(),
            medians: BTreeMap::new(),
            spread: BTreeMap::new(),
            lost: BTreeMap::new(),
            disturbed: BTreeMap::new(),
            rounds: BTreeMap::new(),
            missing: self.missing.iter().map(|(c, why)| (c.name(), why.clone())).collect(),
            machine,
        };
        for ratio in &RATIOS {
            if let Some(summary) = self.ratio(ratio) {
                results.ratios.insert(ratio.name, round(summary.value));
                results.spread.insert(ratio.name.to_owned(), bounds(&summary));
            }
        }
        for ((contender, flows), samples) in &self.rounds {
            let name = format!("{}_{}", contender.name(), flows_name(*flows));
            let rates = self.rates(*contender, *flows);
            if let Some(summary) = stats::summarise(&rates) {
                results.medians.insert(name.clone(), round(summary.value));
                results.spread.insert(name.clone(), bounds(&summary));
            }
            for (shares, share) in [
                (&mut results.lost, (|sample| sample.lost) as fn(&Sample) -> f64),
                (&mut results.disturbed, |sample| sample.disturbed),
            ] {
                let rounds: Vec<_> = samples.iter().map(share).collect();
                if let Some(summary) = stats::summarise(&rounds) {
                    shares.insert(name.clone(), round(summary.value));
                }
            }
            results.rounds.insert(name, rates.into_iter().map(round).collect());
        }
        results
    }

    /// Both tables, for people.
    pub fn tables(&self) -> String {
        let mut rates = table(["contender", "flows", "Mpps", "spread", "lost"]);
        for contender in Contender::ALL {
            if self.missing.contains_key(&contender) {
                rates.add_row([contender.title(), "", "missing", "", ""]);
            }
            for flows in FLOW_COUNTS {
                let Some(samples) = self.rounds.get(&(contender, flows)) else { continue };
                let lost: Vec<_> = samples.iter().map(|sample| sample.lost).collect();
                let (Some(rate), Some(lost)) =
                    (stats::summarise(&self.rates(contender, flows)), stats::summarise(&lost))
                else {
                    continue;
                };
                rates.add_row([
                    contender.title().to_owned(),
                    flows_name(flows),
                    format!("{:.2}", rate.value),
                    format!("{:.2}..{:.2}", rate.min, rate.max),
                    format!("{:.1} %", lost.value * 100.0),
                ]);
            }
        }
        let mut ratios = table(["ratio", "measured", "spread", "target", ""]);
        for ratio in &RATIOS {
            let summary = self.ratio(ratio);
            let target = ratio.target.map(|target| format!(">= {target}")).unwrap_or_default();
            let (value, spread, verdict) = match (&summary, ratio.target) {
                (None, _) => ("missing".to_owned(), String::new(), ""),
                (Some(summary), target) => (
                    format!("{:.2}", summary.value),
                    format!("{:.2}..{:.2}", summary.min, summary.max),
                    match target {
                        Some(target) if summary.value < target => "missed",
                        Some(_) => "met",
                        None => "",
                    },
                ),
            };
            ratios.add_row([ratio.name.to_owned(), value, spread, target, verdict.to_owned()]);
        }
        let mut text = format!("{rates}\n\n{ratios}\n");
        for (contender, reason) in &self.missing {
            // Writing to a String does not fail.
            let _ = write!(text, "\nMissing: {}: {reason}", contender.title());
        }
        text + &self.warning()
    }

    /// Why contenders are missing, one line each.
    pub fn reasons(&self) -> Vec<String> {
        self.missing.iter().map(|(c, reason)| format!("{}: {reason}", c.name())).collect()
    }

    /// Says so if something else was running.
    fn warning(&self) -> String {
        let shares = self.rounds.values().flatten().map(|sample| sample.disturbed);
        match shares.max_by(f64::total_cmp) {
            Some(worst) if worst > UNDISTURBED => format!(
                "\nThe machine was not quiet: in one round other programs took {:.0} % of the \
                 generator's core. Rates are too low, and ratios less certain.",
                worst * 100.0
            ),
            _ => String::new(),
        }
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    // Figures line up on the right.
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// How results name a number of flows: `1`, `50k`.
fn flows_name(flows: u32) -> String {
    if flows >= 1000 && flows.is_multiple_of(1000) {
        format!("{}k", flows / 1000)
    } else {
        flows.to_string()
    }
}

fn bounds(summary: &Summary) -> [f64; 2] {
    [round(summary.min), round(summary.max)]
}

/// Four digits behind the point: the rest is noise.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            kernel: "k".to_owned(),
            cpu: "c".to_owned(),
            cores: 2,
            memory_mib: 1,
            date: "d".to_owned(),
            versions: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    fn sample(mpps: f64, lost: f64) -> Sample {
        Sample { mpps, lost, disturbed: 0.0 }
    }

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for mpps in [0.7, 0.8, 0.6] {
            samples.add(Contender::Nft, 1, sample(mpps, 0.25));
            samples.add(Contender::HalfspaceXdp, 1, sample(2.0, 0.0));
        }
        samples
    }

    #[test]
    fn results_hold_ratios_of_medians_and_leave_out_what_is_missing() {
        let mut samples = samples();
        samples.add(Contender::HalfspaceTc, 1, sample(1.0, 0.0));
        samples.drop_out(Contender::HalfspaceTc, "it stumbled".to_owned());
        let json = serde_json::to_value(samples.results(machine())).unwrap();
        assert_eq!(json["ratios"], serde_json::json!({ "nat_1_xdp_vs_nft": 2.8571 }));
        assert_eq!(json["spread"]["nat_1_xdp_vs_nft"], serde_json::json!([2.5, 3.3333]));
        assert_eq!(json["medians"], serde_json::json!({ "halfspace_xdp_1": 2.0, "nft_1": 0.7 }));
        assert_eq!(json["lost"]["nft_1"], 0.25);
        assert_eq!(json["missing"], serde_json::json!({ "halfspace_tc": "it stumbled" }));
    }

    #[test]
    fn a_missed_target_is_told_and_a_missing_ratio_is_no_miss() {
        let mut samples = samples();
        samples.drop_out(Contender::HalfspaceTc, "it stumbled".to_owned());
        assert_eq!(samples.missed(), ["nat_1_xdp_vs_nft"]);
        let tables = samples.tables();
        let line = |name: &str| tables.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(line("nat_1_xdp_vs_nft").contains("missed"), "{tables}");
        assert!(line("nat_1_tc_vs_nft").contains("missing"), "{tables}");
        assert_eq!(line("Missing:"), "Missing: Halfspace NAT, tc: it stumbled");
    }

    #[test]
    fn a_disturbed_round_is_told() {
        let mut samples = samples();
        assert!(!samples.tables().contains("not quiet"));
        samples.add(Contender::Raw, 1, Sample { mpps: 1.0, lost: 0.0, disturbed: 0.42 });
        assert!(samples.tables().contains("other programs took 42 %"));
    }

    #[test]
    fn numbers_of_flows_have_short_names() {
        assert_eq!([1, 999, 1500, 50_000].map(flows_name), ["1", "999", "1500", "50k"]);
    }
}
