//! What tables have in common, whatever they are written in: rows of targets and of figures, and
//! sentences about what went wrong.

use std::fmt::Write as _;

use crate::bench::ratios::{RATIOS, Ratio, Verdict};
use crate::bench::results::Results;
use crate::bench::scenario::{Entry, Measure, Scenario, series_name};
use crate::bench::scenarios;
use crate::bench::unit::Unit;

/// The share of the generator's core that other programs may take without a remark.
const UNDISTURBED: f64 = 0.05;

/// The heads of the columns of [`Row::cells`].
pub const HEADER: [&str; 5] = ["name", "measured", "spread", "target", "verdict"];

/// A target and what became of it.
pub struct Row {
    /// Which.
    pub ratio: &'static Ratio,
    /// What became of it.
    pub verdict: Verdict,
    measured: Option<String>,
    spread: Option<String>,
}

impl Row {
    /// Under [`HEADER`].
    pub fn cells(&self) -> [String; 5] {
        let Self { ratio, verdict, measured, spread } = self;
        [
            ratio.name.to_owned(),
            measured.clone().unwrap_or_default(),
            spread.clone().unwrap_or_default(),
            ratio.target.words(),
            verdict.words().to_owned(),
        ]
    }
}

/// All targets of the results, in the order of their table.
pub fn targets(results: &Results) -> Vec<Row> {
    let rows = RATIOS.iter().filter_map(|ratio| {
        let verdict = *results.verdicts.get(ratio.name)?;
        let unit = ratio.unit();
        let measured = results.ratios.get(ratio.name).map(|value| unit.show(*value));
        Some(Row { ratio, verdict, measured, spread: spread(results, ratio.name, unit) })
    });
    rows.collect()
}

/// The missed targets: what, and why if that is known.
pub fn losses(results: &Results) -> Vec<(&'static str, String)> {
    let missed = targets(results).into_iter().filter(|row| row.verdict.is_miss());
    let lost = missed.map(|row| {
        let [_, measured, _, target, _] = row.cells();
        let mut text = if row.verdict == Verdict::Failed {
            format!("not measured, because Halfspace failed; the target is {target}.")
        } else {
            format!("{measured}; the target is {target}.")
        };
        if let Some(why) = row.ratio.why {
            // Writing to a String does not fail.
            let _ = write!(text, " {why}");
        }
        (row.ratio.name, text)
    });
    lost.collect()
}

/// A figure of a contender.
pub struct Cell {
    /// The median, with its unit.
    pub value: String,
    /// The least and the greatest of the single rounds.
    pub spread: String,
    /// What else is to be said: frames lost, or that it is missing.
    pub remark: String,
}

/// The scenarios that the results say anything about.
pub fn scenarios(results: &Results) -> Vec<&'static Scenario> {
    let measured = |scenario: &&Scenario| {
        scenario.contenders.iter().any(|entry| {
            columns(scenario).iter().any(|column| cell(results, column, entry).is_some())
        })
    };
    scenarios::ALL.iter().filter(measured).collect()
}

/// A column of a scenario's table.
pub struct Column {
    step: &'static str,
    /// What is in it.
    pub measure: &'static Measure,
    /// The share of frames that were lost, which is a remark.
    lost: Option<&'static Measure>,
}

/// The columns of a scenario's table.
pub fn columns(scenario: &Scenario) -> Vec<Column> {
    let steps = scenario.steps.iter().flat_map(|step| {
        let (shares, figures): (Vec<_>, Vec<_>) =
            step.measures.iter().partition(|measure| measure.unit == Unit::Share);
        let lost = shares.first().copied();
        figures.into_iter().map(move |measure| Column { step: step.name, measure, lost })
    });
    steps.collect()
}

/// Those columns that there is anything in.
pub fn filled_columns(results: &Results, scenario: &Scenario) -> Vec<Column> {
    let filled = |column: &Column| {
        scenario.contenders.iter().any(|entry| cell(results, column, entry).is_some())
    };
    columns(scenario).into_iter().filter(filled).collect()
}

/// A contender's figure; nothing if it takes no part, or was not run.
pub fn cell(results: &Results, column: &Column, entry: &Entry) -> Option<Cell> {
    let Column { step, measure, lost } = column;
    if results.missing.contains_key(&series_name(step, entry.name)) {
        let remark = "missing".to_owned();
        return Some(Cell { value: String::new(), spread: String::new(), remark });
    }
    let name = series_name(measure.name, entry.name);
    let median = results.medians.get(&name)?;
    let lost = lost.and_then(|lost| results.medians.get(&series_name(lost.name, entry.name)));
    Some(Cell {
        value: measure.unit.show(*median),
        spread: spread(results, &name, measure.unit).unwrap_or_default(),
        remark: lost
            .filter(|share| **share >= 0.0005)
            .map(|share| format!("{} lost", Unit::Share.show(*share)))
            .unwrap_or_default(),
    })
}

/// `0.67 to 1.22`; the unit is beside it already.
fn spread(results: &Results, name: &str, unit: Unit) -> Option<String> {
    let [least, greatest] = results.spread.get(name)?;
    let shown = unit.show(*greatest);
    let least = unit.show(*least);
    let bare = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    // Left out where both have the same unit and prefix.
    Some(if unit_of(&least) == unit_of(&shown) {
        format!("{} to {}", bare(&least), bare(&shown))
    } else {
        format!("{least} to {shown}")
    })
}

/// What follows the number.
fn unit_of(text: &str) -> &str {
    text.split_once(' ').map_or("", |(_, unit)| unit)
}

/// Who is missing, and why, one sentence for each contender and reason.
pub fn missing(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for scenario in scenarios::ALL {
        for entry in scenario.contenders {
            // The same reason often holds for all steps.
            let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
            for step in scenario.steps {
                let reason = results.missing.get(&series_name(step.name, entry.name));
                let Some(reason) = reason else { continue };
                match reasons.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, steps)) => steps.push(step.name),
                    None => reasons.push((reason, vec![step.name])),
                }
            }
            lines.extend(reasons.into_iter().map(|(reason, steps)| {
                format!("{} ({}): {reason}", entry.title, steps.join(", "))
            }));
        }
    }
    lines
}

/// What a reader should know before believing any figure.
pub fn caveats(results: &Results) -> Vec<String> {
    let mut caveats = Vec::new();
    if results.settings.interrupted {
        caveats.push("The run was interrupted: this is what was measured until then.".to_owned());
    }
    if results.settings.unoptimised {
        let what = "What was measured was built without optimisation (`make bench` builds with it): \
                    no figure is worth anything.";
        caveats.push(what.to_owned());
    }
    if results.settings.quick {
        caveats.push("This was a quick run: few short rounds, so the spread is wide.".to_owned());
    }
    let worst = results.disturbed.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    if let Some((name, share)) = worst.filter(|(_, share)| **share > UNDISTURBED) {
        caveats.push(format!(
            "The machine was not quiet: other programs took up to {:.0} % of the generator's core \
             (in {name}). Rates are too low, and ratios less certain.",
            share * 100.0
        ));
    }
    caveats
}

/// The machine, by keyword.
pub fn machine(results: &Results) -> Vec<(String, String)> {
    let machine = &results.machine;
    let settings = results.settings;
    let mut rows = vec![
        ("date".to_owned(), machine.date.clone()),
        ("processor".to_owned(), format!("{}, {} cores", machine.cpu, machine.cores)),
        ("memory".to_owned(), format!("{} MiB", machine.memory_mib)),
        ("kernel".to_owned(), machine.kernel.clone()),
        ("rounds".to_owned(), format!("{} of {} s", settings.rounds, settings.seconds)),
    ];
    rows.extend(machine.versions.iter().map(|(name, version)| (name.clone(), version.clone())));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn targets_come_in_the_order_of_their_table_with_what_became_of_them() {
        let results = results();
        let rows: Vec<_> = targets(&results).iter().map(Row::cells).collect();
        assert_eq!(rows[0], ["nat_1_xdp_vs_raw", "0.63", "0.53 to 0.73", "≥ 0.85", "missed"]);
        assert_eq!(rows[1], ["nat_1_xdp_vs_nft", "4.50", "4.40 to 4.60", "≥ 4", "met"]);
        assert_eq!(rows[2], ["nat_50k_xdp_vs_nft", "", "", "≥ 3", "not run"]);
        assert_eq!(rows[3], ["chain_vs_nft_two_hops", "", "", "≥ 2", "missing"]);
        assert_eq!(rows[4], ["nlb_udp_vs_own_nat", "", "", "≥ 0.95", "failed"]);
    }

    #[test]
    fn losses_are_the_missed_and_the_failed() {
        let losses = losses(&results());
        let names: Vec<_> = losses.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["nat_1_xdp_vs_raw", "nlb_udp_vs_own_nat"]);
        assert!(losses[0].1.starts_with("0.63; the target is ≥ 0.85."), "{}", losses[0].1);
        assert!(losses[1].1.contains("because Halfspace failed"), "{}", losses[1].1);
    }

    #[test]
    fn a_figure_has_its_spread_and_says_what_was_lost_and_a_missing_one_is_no_zero() {
        let results = results();
        let nat = scenarios::ALL.iter().find(|it| it.name == "nat").unwrap();
        let columns = filled_columns(&results, nat);
        let titles: Vec<_> = columns.iter().map(|it| it.measure.title).collect();
        assert_eq!(titles, ["1 flow", "50,000 flows"]);
        let of = |name: &str| cell(&results, &columns[0], nat.contender(name).unwrap());
        let nft = of("nft").unwrap();
        assert_eq!((nft.value.as_str(), nft.spread.as_str()), ("0.50 Mpps", "0.45 to 0.55"));
        assert_eq!(nft.remark, "25.0 % lost");
        let kernel = of("kernel").unwrap();
        assert_eq!((kernel.value.as_str(), kernel.remark.as_str()), ("", "missing"));
        assert!(of("halfspace_tc").is_none());
    }

    #[test]
    fn the_same_reason_is_told_once_for_all_steps() {
        assert_eq!(
            missing(&results())[0],
            "kernel forwarding, no NAT (nat_1, nat_50k): no such thing"
        );
        assert_eq!(missing(&results()).len(), 3);
    }

    #[test]
    fn a_disturbed_interrupted_quick_or_unoptimised_run_says_so() {
        let mut results = results();
        assert!(caveats(&results)[0].contains("up to 42 %"), "{:?}", caveats(&results));
        results.disturbed.clear();
        assert!(caveats(&results).is_empty());
        results.settings.quick = true;
        results.settings.interrupted = true;
        results.settings.unoptimised = true;
        assert_eq!(caveats(&results).len(), 3);
    }
}
