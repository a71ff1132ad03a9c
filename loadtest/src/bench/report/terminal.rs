//! Results on the terminal: targets first, then every figure.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::rows::{self, Cell, HEADER};
use crate::bench::ratios::Verdict;
use crate::bench::results::Results;

/// All tables, one after the other.
pub fn render(results: &Results) -> String {
    let mut targets = table(&HEADER);
    // What was not asked for would only hide what was.
    for row in rows::targets(results).iter().filter(|row| row.verdict != Verdict::NotRun) {
        targets.add_row(row.cells());
    }
    let mut text = format!("{targets}\n");
    for scenario in rows::scenarios(results) {
        let columns = rows::filled_columns(results, scenario);
        let titles = columns.iter().map(|column| column.measure.title);
        let mut figures = table(&[scenario.title].into_iter().chain(titles).collect::<Vec<_>>());
        for entry in scenario.contenders {
            let cells: Vec<_> =
                columns.iter().map(|column| rows::cell(results, column, entry)).collect();
            if cells.iter().any(Option::is_some) {
                let cells = cells.into_iter().map(|cell| cell.map(words).unwrap_or_default());
                figures.add_row([entry.title.to_owned()].into_iter().chain(cells));
            }
        }
        // Writing to a String does not fail.
        let _ = write!(text, "\n{figures}\n");
    }
    for line in rows::missing(results) {
        let _ = write!(text, "\nMissing: {line}");
    }
    for caveat in rows::caveats(results) {
        let _ = write!(text, "\n{caveat}");
    }
    text
}

fn words(cell: Cell) -> String {
    let Cell { value, spread, remark } = cell;
    if spread.is_empty() {
        return value + &remark;
    }
    let remark = if remark.is_empty() { remark } else { format!("\n{remark}") };
    format!("{value}\n{spread}{remark}")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    // Figures line up on the right.
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn the_terminal_shows_targets_figures_and_what_is_missing() {
        let text = render(&results());
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("nat_1_xdp_vs_raw").contains("missed"), "{text}");
        assert!(line("chain_vs_nft_two_hops").contains("missing"), "{text}");
        assert!(!text.contains("nat_50k_xdp_vs_nft"), "{text}");
        assert!(line("│ nftables masquerade").contains("0.50 Mpps"), "{text}");
        assert!(line("Missing: nftables").contains("apt-get install nftables"), "{text}");
        assert!(text.ends_with("less certain."), "{text}");
    }
}
