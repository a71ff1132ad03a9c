//! Results as a page of the documentation, below an introduction written by hand.

use std::fmt::Write as _;

use super::rows::{self, Cell, HEADER};
use crate::bench::results::Results;

/// What does not depend on the results.
const METHOD: &str = include_str!("method.md");

/// The whole page.
pub fn render(results: &Results) -> String {
    let mut page = format!(
        "<!-- Made by `halfspace-loadtest report` from results and\n     \
         loadtest/src/bench/report/method.md: change those instead. -->\n\n{METHOD}"
    );
    for caveat in rows::caveats(results) {
        line(&mut page, &format!("\n**{caveat}**"));
    }
    line(&mut page, "\n## Targets\n");
    table(&mut page, &HEADER, rows::targets(results).iter().map(|row| row.cells().to_vec()));
    line(&mut page, "\n## Where we lose\n");
    let losses = rows::losses(results);
    if losses.is_empty() {
        line(&mut page, "No target was missed in this run.");
    }
    for (name, text) in losses {
        line(&mut page, &format!("- `{name}`: {text}"));
    }
    for scenario in rows::scenarios(results) {
        line(&mut page, &format!("\n## {}\n\n{}\n", scenario.title, scenario.about));
        let columns = rows::filled_columns(results, scenario);
        let titles = columns.iter().map(|column| column.measure.title);
        let header: Vec<_> = ["contender"].into_iter().chain(titles).collect();
        let figures = scenario.contenders.iter().filter_map(|entry| {
            let cells: Vec<_> =
                columns.iter().map(|column| rows::cell(results, column, entry)).collect();
            let known = cells.iter().any(Option::is_some);
            let cells = cells.into_iter().map(|cell| cell.map(words).unwrap_or_default());
            known.then(|| [entry.title.to_owned()].into_iter().chain(cells).collect())
        });
        table(&mut page, &header, figures);
    }
    let missing = rows::missing(results);
    if !missing.is_empty() {
        line(&mut page, "\n## Missing\n");
    }
    for reason in missing {
        // Whatever a program said is text, not mark-up.
        line(&mut page, &format!("- {}", reason.replace('<', "\\<")));
    }
    line(&mut page, "\n## Machine\n");
    for (name, value) in rows::machine(results) {
        line(&mut page, &format!("- {name}: {value}"));
    }
    line(&mut page, "\nTunings:\n");
    for tuning in &results.machine.tunings {
        line(&mut page, &format!("- {tuning}"));
    }
    page
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn words(cell: Cell) -> String {
    let Cell { value, spread, remark } = cell;
    let spread = if spread.is_empty() { spread } else { format!(" ({spread})") };
    let remark = match (value.is_empty(), remark.is_empty()) {
        (false, false) => format!(", {remark}"),
        _ => remark,
    };
    value + &spread + &remark
}

fn table(page: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    line(page, &format!("| {} |", header.join(" | ")));
    let rule = header.iter().enumerate().map(|(n, _)| if n == 0 { "---" } else { "---:" });
    line(page, &format!("| {} |", rule.collect::<Vec<_>>().join(" | ")));
    for row in rows {
        let cells = row.iter().map(|cell| cell.replace('|', "\\|"));
        // Writing to a String does not fail.
        let _ = writeln!(page, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn the_page_tells_the_method_the_targets_and_the_losses() {
        let page = render(&results());
        let found = |text: &str| page.lines().any(|line| line == text);
        assert!(found("# Benchmarks"), "{page}");
        assert!(found("| nat_1_xdp_vs_raw | 0.63 | 0.53 to 0.73 | ≥ 0.85 | missed |"), "{page}");
        let loss = "- `nat_1_xdp_vs_raw`: 0.63; the target is ≥ 0.85. Parsing, look-up, checks";
        assert!(page.lines().any(|line| line.starts_with(loss)), "{page}");
        assert!(found("| nftables masquerade | 0.50 Mpps (0.45 to 0.55), 25.0 % lost |  |"));
        assert!(found("| kernel forwarding, no NAT | missing | missing |"), "{page}");
        assert!(found("- nftables masquerade: timeout = 600"), "{page}");
        assert!(found("- Halfspace load balancer, XDP (nlb_udp): it \\<crashed>"), "{page}");
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
        assert!(at("## Targets") < at("## Where we lose") && at("## NAT") < at("## Machine"));
    }

    #[test]
    fn a_run_without_losses_says_so() {
        let mut results = results();
        results.verdicts.retain(|_, verdict| !verdict.is_miss());
        assert!(render(&results).contains("No target was missed in this run."));
    }
}
