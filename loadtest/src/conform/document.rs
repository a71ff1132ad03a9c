//! `halfspace-loadtest conformance`: the page that compares NATs which are known, as they came out of
//! the prober.

use std::fmt::Write as _;
use std::path::PathBuf;

use halfspace_testbed::Interrupt;

use super::check::Verdict;
use super::report::{Matrix, Row};
use super::stage::{Known, Stage};
use crate::bench::report::write;
use crate::binary;
use crate::error::Error;
use crate::guard::Guard;
use crate::output::Outcome;

const HEAD: &str = "\
<!-- Made by `make conformance`: change loadtest/src/conform instead. -->

# Conformance

What NATs do, as [`halfspace-loadtest conform`](loadtest.md#what-a-nat-does) found out, which knows
nothing of them but their addresses: Halfspace's NAT gateway in both of its modes, of which the one is
AWS's (a port for each destination); nftables with `masquerade`; nftables with an address outside for each host, which
depends on nothing; and TAYGA, a NAT64 without state, to and from which the kernel routes. The
requirements are those of RFC 4787 (UDP), RFC 5382 (TCP), RFC 5508 (ICMP), RFC 7857 and RFC 6888, in few
words, what a router owes every packet, and RFC 6146, RFC 7915 and RFC 6052 for a NAT64. What AWS does
is none.

A NAT that gives the same port to two hosts as long as their servers differ has more flows to a
server than it has ports, and cannot meet what asks for one mapping for all: `RFC4787-REQ-1`, `-3`,
`-9`, `RFC5382-REQ-1`, `-7`, `-8`, `RFC5508-REQ-7`, and the same of a NAT64 (RFC 6146).
Halfspace's does not translate fragments of NAT64 yet: `RFC6146-3.4`.
";

/// Options of `conformance`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where to write the page
    #[arg(long, default_value = "docs/conformance.md")]
    output: PathBuf,
    /// The `halfspace` binary [default: $HALFSPACE, or the one beside this program]
    #[arg(long)]
    halfspace: Option<PathBuf>,
    /// Which NATs to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    nat: Vec<Known>,
    /// Check timers too, which takes most of an hour for each NAT
    #[arg(long)]
    slow: bool,
}

/// Probes all and writes the page.
///
/// # Errors
///
/// [`Error`].
pub fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let interrupt = Interrupt::listen()
        .map_err(|source| Error::System { action: "listen for interrupts", source })?;
    let binary = binary::find(arguments.halfspace.as_deref())?;
    let mut columns = Vec::new();
    let nats = if arguments.nat.is_empty() { &Known::ALL[..] } else { &arguments.nat[..] };
    for nat in nats.iter().copied() {
        let stage = Stage::set_up(nat, &binary)?;
        let how = super::How { slow: arguments.slow, only: String::new() };
        columns.push((nat.title(), super::check(&stage.ends, &how, Guard::default(), &interrupt)?));
        if interrupt.is_raised() {
            return Ok(Outcome::Interrupted);
        }
    }
    write(&arguments.output, &page(&columns))?;
    println!("Written to {}", arguments.output.display());
    Ok(Outcome::Fine)
}

fn page(columns: &[(&str, Matrix)]) -> String {
    let mut text = HEAD.to_owned();
    let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    // Writing to a String does not fail.
    let _ = write!(text, "\n| requirement | asks | {} |\n| --- | --- |", titles.join(" | "));
    let _ = writeln!(text, "{}", " --- |".repeat(titles.len()));
    let rows = columns.first().map_or(&[][..], |(_, matrix)| &matrix.requirements);
    for (number, Row { id, level, asks, .. }) in rows.iter().enumerate() {
        let words = columns.iter().map(|(_, matrix)| word(&matrix.requirements[number].verdict));
        let words = words.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(text, "| {id} | {}: {asks} | {words} |", level.word());
    }
    for (title, matrix) in columns {
        let _ = write!(text, "\n## {title}\n\n{}", matrix.markdown());
    }
    text
}

const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass(_) => "pass",
        Verdict::Fail(_) => "**fail**",
        Verdict::NotApplicable(_) => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::check::Level;

    #[test]
    fn a_page_compares_and_then_tells_all() {
        let matrix = |verdict: Verdict| Matrix {
            requirements: vec![Row { id: "RFC1-REQ-1", level: Level::Must, asks: "it", verdict }],
        };
        let page = page(&[
            ("ours", matrix(Verdict::Fail("this".to_owned()))),
            ("theirs", matrix(Verdict::NotApplicable("that".to_owned()))),
        ]);
        let (_, body) = page.split_once("yet: `RFC6146-3.4`.\n").unwrap();
        assert_eq!(
            body,
            "\n| requirement | asks | ours | theirs |\n| --- | --- | --- | --- |\n\
             | RFC1-REQ-1 | MUST: it | **fail** | – |\n\
             \n## ours\n\n| requirement | asks | verdict | what was seen |\n\
             | --- | --- | --- | --- |\n| RFC1-REQ-1 | MUST: it | fail | this |\n\
             \n## theirs\n\n| requirement | asks | verdict | what was seen |\n\
             | --- | --- | --- | --- |\n| RFC1-REQ-1 | MUST: it | not applicable | that |\n"
        );
    }
}
