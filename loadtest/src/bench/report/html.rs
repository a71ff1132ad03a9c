//! Results as one page with plots: no other file, no script, light or dark as the reader has it.

use std::fmt::Write as _;

use super::plot;
use super::rows::{self, HEADER};
use crate::bench::ratios::Verdict;
use crate::bench::results::Results;
use crate::bench::scenario::Scenario;

const STYLE: &str = include_str!("style.css");

/// Colours of lines and bars, see the style sheet.
const COLOURS: [&str; 9] =
    ["ours-0", "ours-1", "ours-2", "ours-3", "peer-0", "peer-1", "peer-2", "limit-0", "limit-1"];

/// The whole page.
pub fn render(results: &Results) -> String {
    let mut page = String::new();
    head(&mut page, results);
    losses(&mut page, results);
    targets(&mut page, results);
    for scenario in rows::scenarios(results) {
        figures(&mut page, results, scenario);
    }
    list(&mut page, "Missing", rows::missing(results));
    page += "<h2>Machine</h2>\n<div class=\"scroll\"><table class=\"machine\">\n";
    for (name, value) in rows::machine(results) {
        add(&mut page, format_args!("<tr><td>{}</td>", escape(&name)));
        add(&mut page, format_args!("<td>{}</td></tr>\n", escape(&value)));
    }
    page += "</table></div>\n";
    list(&mut page, "Tunings", results.machine.tunings.clone());
    page += "</body>\n</html>\n";
    page
}

fn head(page: &mut String, results: &Results) {
    let colours = COLOURS.map(|name| format!(".{name} {{ --c: var(--{name}); }}\n")).concat();
    add(
        page,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Halfspace benchmarks</title>\n<style>\n{STYLE}{colours}</style>\n</head>\n\
             <body>\n<h1>Halfspace benchmarks</h1>\n"
        ),
    );
    let machine = &results.machine;
    let place = format!("{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel);
    add(
        page,
        format_args!("<p class=\"hint\">{}, {}</p>\n", escape(&machine.date), escape(&place)),
    );
    *page += "<p>Every contender is set up in network namespaces of its own; all take turns, round \
              by round. Figures are medians of the rounds, with the least and the greatest of them; \
              only frames that arrive with the right content from the right address count.</p>\n";
    for caveat in rows::caveats(results) {
        add(page, format_args!("<p class=\"caveat\">{}</p>\n", escape(&caveat)));
    }
}

fn losses(page: &mut String, results: &Results) {
    *page += "<h2>Where we lose</h2>\n";
    let losses = rows::losses(results);
    if losses.is_empty() {
        *page += "<p>No target was missed in this run.</p>\n";
        return;
    }
    *page += "<ul>\n";
    for (name, text) in losses {
        add(page, format_args!("<li><code>{}</code>: {}</li>\n", escape(name), escape(&text)));
    }
    *page += "</ul>\n";
}

fn targets(page: &mut String, results: &Results) {
    *page += "<h2>Targets</h2>\n<div class=\"scroll\"><table>\n<tr>";
    for title in HEADER {
        add(page, format_args!("<th>{title}</th>"));
    }
    *page += "</tr>\n";
    for row in rows::targets(results) {
        let [name, measured, spread, target, verdict] = row.cells().map(|cell| escape(&cell));
        let class = class(row.verdict);
        add(
            page,
            format_args!(
                "<tr><td><code>{name}</code></td><td>{measured}</td><td>{spread}</td>\
                 <td>{target}</td><td class=\"{class}\">{verdict}</td></tr>\n"
            ),
        );
    }
    *page += "</table></div>\n";
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::Missed => "missed",
        Verdict::Failed => "failed",
        Verdict::Missing => "missing",
        Verdict::NotRun => "not-run",
    }
}

fn figures(page: &mut String, results: &Results, scenario: &'static Scenario) {
    let (title, about) = (escape(scenario.title), escape(scenario.about));
    add(page, format_args!("<h2>{title}</h2>\n<p>{about}</p>\n"));
    for plot in scenario.plots {
        *page += &plot::render(plot, scenario, results).unwrap_or_default();
    }
    let columns = rows::filled_columns(results, scenario);
    *page += "<div class=\"scroll\"><table>\n<tr><th>contender</th>";
    for column in &columns {
        add(page, format_args!("<th>{}</th>", escape(column.measure.title)));
    }
    *page += "</tr>\n";
    for entry in scenario.contenders {
        let cells: Vec<_> =
            columns.iter().map(|column| rows::cell(results, column, entry)).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        add(page, format_args!("<tr><td>{}</td>", escape(entry.title)));
        for cell in cells {
            *page += "<td>";
            if let Some(cell) = cell {
                *page += &escape(&cell.value);
                for small in [cell.spread, cell.remark] {
                    if !small.is_empty() {
                        add(page, format_args!("<small>{}</small>", escape(&small)));
                    }
                }
            }
            *page += "</td>";
        }
        *page += "</tr>\n";
    }
    *page += "</table></div>\n";
}

/// A section with a list; nothing if there is nothing on it.
fn list(page: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    add(page, format_args!("<h2>{title}</h2>\n<ul>\n"));
    for line in lines {
        add(page, format_args!("<li>{}</li>\n", escape(&line)));
    }
    *page += "</ul>\n";
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = page.write_fmt(text);
}

/// Text as HTML takes it, in content and in attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn losses_come_first_and_everything_of_others_is_escaped() {
        let page = render(&results());
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
        assert!(at("Where we lose") < at("<h2>Targets") && at("<h2>Targets") < at("<h2>NAT"));
        assert!(at("<code>nat_1_xdp_vs_raw</code>: 0.63") < at("<h2>Targets"));
        assert!(page.contains("<td class=\"failed\">failed</td>"), "{page}");
        assert!(page.contains("it &lt;crashed&gt;") && !page.contains("<crashed>"), "{page}");
        assert!(page.contains("<svg") && page.contains("25.0 % lost"), "{page}");
    }

    #[test]
    fn the_page_needs_no_other_file() {
        let page = render(&results());
        for outside in ["http:", "https:", "src=", "<link", "<script", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn every_opened_element_is_closed() {
        let page = render(&results());
        for name in ["table", "tr", "td", "th", "ul", "li", "figure", "svg", "g", "p", "div", "h2"]
        {
            let opened = page.matches(&format!("<{name}>")).count()
                + page.matches(&format!("<{name} ")).count();
            assert_eq!(opened, page.matches(&format!("</{name}>")).count(), "{name}");
        }
    }
}
