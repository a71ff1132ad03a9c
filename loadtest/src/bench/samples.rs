//! What was measured so far, round by round, who could not be measured, and what comes of it.

use std::collections::BTreeMap;

use super::machine::Machine;
use super::ratios::{RATIOS, Ratio, Series, Verdict};
use super::results::{Results, Settings};
use super::scenario::{Entry, Origin, Step, Yield, series_name};
use super::stats::{self, Summary};

/// All rounds, and who dropped out.
#[derive(Debug, Default)]
pub struct Samples {
    /// Figures by measure and contender.
    rounds: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    /// By step and contender.
    disturbed: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    /// By step and contender: why not.
    missing: BTreeMap<(&'static str, &'static str), Absence>,
}

/// Why a contender has no figures in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Something that it needs is not installed, which is nobody's fault.
    Lacking(String),
    /// It could not be set up, or did not do what it should.
    Failed(String),
}

impl Absence {
    fn reason(&self) -> &str {
        match self {
            Self::Lacking(reason) | Self::Failed(reason) => reason,
        }
    }
}

impl Samples {
    /// Notes a round.
    pub fn add(&mut self, step: &'static Step, entry: &'static Entry, given: Yield) {
        for (measure, value) in given.samples {
            self.rounds.entry((measure, entry.name)).or_default().push(value);
        }
        if let Some(share) = given.disturbed {
            self.disturbed.entry((step.name, entry.name)).or_default().push(share);
        }
    }

    /// Takes a contender out of a step: what it did so far in it does not count either.
    pub fn drop_out(&mut self, step: &'static Step, entry: &'static Entry, why: Absence) {
        for measure in step.measures {
            self.rounds.remove(&(measure.name, entry.name));
        }
        self.disturbed.remove(&(step.name, entry.name));
        self.missing.insert((step.name, entry.name), why);
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Why contenders are missing, one line each.
    pub fn reasons(&self) -> Vec<String> {
        let lines = self.missing.iter();
        lines
            .map(|((step, contender), why)| format!("{step}, {contender}: {}", why.reason()))
            .collect()
    }

    fn figures(&self, series: Series) -> &[f64] {
        self.rounds.get(&(series.measure, series.contender)).map_or(&[], Vec::as_slice)
    }

    fn ratio(&self, ratio: &Ratio) -> Option<Summary> {
        let over = self.figures(ratio.over);
        match ratio.under {
            Some(under) => stats::ratio(over, self.figures(under)),
            None => stats::summarise(over),
        }
    }

    fn verdict(&self, ratio: &Ratio) -> Verdict {
        if let Some(summary) = self.ratio(ratio) {
            return if ratio.target.is_met_by(summary.value) {
                Verdict::Met
            } else {
                Verdict::Missed
            };
        }
        let absent: Vec<_> = ratio
            .series()
            .filter_map(Series::find)
            .filter_map(|found| {
                let why = self.missing.get(&(found.step.name, found.entry.name))?;
                Some((found.entry.origin, why))
            })
            .collect();
        let failed = |(origin, why): &(Origin, &Absence)| {
            *origin == Origin::Ours && matches!(why, Absence::Failed(_))
        };
        let measured = ratio.series().all(|series| !self.figures(series).is_empty());
        if absent.iter().any(failed) {
            Verdict::Failed
        } else if measured || !absent.is_empty() {
            Verdict::Missing
        } else {
            Verdict::NotRun
        }
    }

    /// Everything, for `results.json`.
    pub fn results(&self, machine: Machine, settings: Settings) -> Results {
        let mut results = Results::new(machine, settings);
        for ratio in RATIOS {
            let name = ratio.name.to_owned();
            if let Some(summary) = self.ratio(ratio) {
                results.ratios.insert(name.clone(), significant(summary.value));
                results.spread.insert(name.clone(), bounds(&summary));
            }
            results.units.insert(name.clone(), ratio.unit());
            results.targets.insert(name.clone(), ratio.target);
            results.verdicts.insert(name, self.verdict(ratio));
        }
        for ((measure, contender), figures) in &self.rounds {
            let name = series_name(measure, contender);
            if let Some(summary) = stats::summarise(figures) {
                results.medians.insert(name.clone(), significant(summary.value));
                results.spread.insert(name.clone(), bounds(&summary));
            }
            if let Some(found) = (Series { measure, contender }).find() {
                results.units.insert(name.clone(), found.measure.unit);
            }
            results.rounds.insert(name, figures.iter().copied().map(significant).collect());
        }
        for ((step, contender), shares) in &self.disturbed {
            if let Some(summary) = stats::summarise(shares) {
                let name = series_name(step, contender);
                results.disturbed.insert(name, significant(summary.value));
            }
        }
        for ((step, contender), why) in &self.missing {
            results.missing.insert(series_name(step, contender), why.reason().to_owned());
        }
        results
    }
}

fn bounds(summary: &Summary) -> [f64; 2] {
    [significant(summary.min), significant(summary.max)]
}

/// Five significant digits: the rest is noise.
fn significant(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::scenarios;

    fn nat(step: &str, contender: &str) -> (&'static Step, &'static Entry) {
        let scenario = scenarios::ALL.iter().find(|it| it.name == "nat").unwrap();
        let step = scenario.steps.iter().find(|it| it.name == step).unwrap();
        (step, scenario.contender(contender).unwrap())
    }

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for mpps in [0.7, 0.8, 0.6] {
            for (contender, mpps) in [("nft", mpps), ("halfspace_xdp", 2.0)] {
                let (step, entry) = nat("nat_1", contender);
                let given = vec![("nat_1", mpps), ("nat_1_lost", 0.25)];
                samples.add(step, entry, Yield { samples: given, disturbed: Some(0.4) });
            }
        }
        samples
    }

    fn results(samples: &Samples) -> serde_json::Value {
        serde_json::to_value(samples.results(Machine::default(), Settings::default())).unwrap()
    }

    #[test]
    fn results_hold_ratios_of_medians_with_their_targets_and_all_rounds() {
        let json = results(&samples());
        assert_eq!(json["ratios"], json!({ "nat_1_xdp_vs_nft": 2.8571 }));
        assert_eq!(json["spread"]["nat_1_xdp_vs_nft"], json!([2.5, 3.3333]));
        assert_eq!(json["targets"]["nat_1_xdp_vs_nft"], json!({ "at_least": 4.0 }));
        assert_eq!(json["verdicts"]["nat_1_xdp_vs_nft"], "missed");
        assert_eq!(json["units"]["nat_1_xdp_vs_nft"], "ratio");
        assert_eq!(json["medians"]["nat_1_nft"], 0.7);
        assert_eq!(json["units"]["nat_1_nft"], "Mpps");
        assert_eq!(json["rounds"]["nat_1_nft"], json!([0.7, 0.8, 0.6]));
        assert_eq!(json["medians"]["nat_1_lost_nft"], 0.25);
        assert_eq!(json["disturbed"]["nat_1_nft"], 0.4);
        assert_eq!(json["missing"], json!({}));
    }

    #[test]
    fn who_drops_out_of_a_step_leaves_nothing_in_it_and_stays_in_the_others() {
        let mut samples = samples();
        let (many, entry) = nat("nat_50k", "nft");
        samples.add(many, entry, Yield { samples: vec![("nat_50k", 0.5)], disturbed: None });
        let (one, entry) = nat("nat_1", "nft");
        samples.drop_out(one, entry, Absence::Failed("it stumbled".to_owned()));
        let json = results(&samples);
        assert_eq!(json["missing"], json!({ "nat_1_nft": "it stumbled" }));
        assert_eq!(json["medians"]["nat_1_nft"], json!(null));
        assert_eq!(json["medians"]["nat_1_lost_nft"], json!(null));
        assert_eq!(json["medians"]["nat_50k_nft"], 0.5);
        assert_eq!(samples.reasons(), ["nat_1, nft: it stumbled"]);
    }

    #[test]
    fn a_target_without_a_figure_is_missed_only_if_that_is_our_fault() {
        let mut samples = samples();
        let (step, entry) = nat("nat_1", "raw");
        samples.drop_out(step, entry, Absence::Lacking("not installed".to_owned()));
        let (step, entry) = nat("nat_1", "halfspace_tc");
        samples.drop_out(step, entry, Absence::Failed("it crashed".to_owned()));
        let json = results(&samples);
        assert_eq!(json["verdicts"]["nat_1_xdp_vs_raw"], "missing");
        assert_eq!(json["verdicts"]["nat_1_tc_vs_nft"], "failed");
        assert_eq!(json["verdicts"]["nat_50k_xdp_vs_nft"], "not_run");
        assert!(Verdict::Failed.is_miss() && Verdict::Missed.is_miss());
        assert!(![Verdict::Met, Verdict::Missing, Verdict::NotRun].iter().any(|it| it.is_miss()));
    }

    #[test]
    fn a_target_is_not_missed_because_a_program_is_not_installed() {
        let mut samples = samples();
        let (step, entry) = nat("nat_1", "halfspace_xdp");
        samples.drop_out(step, entry, Absence::Lacking("not installed".to_owned()));
        assert_eq!(results(&samples)["verdicts"]["nat_1_xdp_vs_nft"], "missing");
    }

    #[test]
    fn nothing_is_divided_by_a_figure_of_nothing() {
        let mut samples = Samples::default();
        for (contender, mpps) in [("nft", 0.0), ("halfspace_xdp", 2.0)] {
            let (step, entry) = nat("nat_1", contender);
            let given = vec![("nat_1", mpps)];
            samples.add(step, entry, Yield { samples: given, disturbed: None });
        }
        let json = results(&samples);
        assert_eq!(json["ratios"], json!({}));
        assert_eq!(json["verdicts"]["nat_1_xdp_vs_nft"], "missing");
        let text = serde_json::to_string(&json).unwrap();
        serde_json::from_str::<Results>(&text).unwrap();
    }

    #[test]
    fn figures_keep_five_digits_whatever_their_size() {
        let shown = [2.857_142_857, 0.000_012_345_678, 285_714.285, 0.0].map(significant);
        assert_eq!(shown.map(|value| value.to_string()), ["2.8571", "0.000012346", "285710", "0"]);
    }
}
