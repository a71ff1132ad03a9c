//! What is shown of results: tables on the terminal, a page with plots, and a page of the
//! documentation. All of them are made from `results.json` alone.

mod html;
mod markdown;
mod plot;
mod rows;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};

use super::results::Results;
use crate::error::Error;

pub use plot::{Plot, Point, Shape};
pub use terminal::render as terminal;

/// What to make of which results.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What `bench` wrote
    #[arg(long, default_value = "target/bench/results.json")]
    results: PathBuf,
    /// Write a page with plots, in one file
    #[arg(long, required_unless_present = "markdown")]
    html: Option<PathBuf>,
    /// Write a page for the documentation
    #[arg(long)]
    markdown: Option<PathBuf>,
}

/// Makes the pages.
///
/// # Errors
///
/// [`Error::File`].
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let results = Results::read(&arguments.results)?;
    for (path, text) in [
        (&arguments.html, html::render as fn(&Results) -> String),
        (&arguments.markdown, markdown::render),
    ] {
        if let Some(path) = path {
            write(path, &text(&results))?;
            println!("Written to {}", path.display());
        }
    }
    Ok(())
}

/// Writes a file, and its directory if there is none.
///
/// # Errors
///
/// [`Error::File`].
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |action, source| Error::File { action, path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| failed("make the directory of", source))?;
    }
    fs::write(path, text).map_err(|source| failed("write", source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Machine;
    use crate::bench::ratios::{Target, Verdict};
    use crate::bench::results::Settings;
    use crate::bench::unit::Unit;

    /// One target met, one missed, one that Halfspace could not be measured for; a missing peer.
    pub(super) fn results() -> Results {
        let mut results = Results::new(Machine::default(), Settings::default());
        for (name, value, target, verdict) in [
            ("nat_1_xdp_vs_nft", Some(4.5), 4.0, Verdict::Met),
            ("nat_1_xdp_vs_raw", Some(0.63), 0.85, Verdict::Missed),
            ("nlb_udp_vs_own_nat", None, 0.95, Verdict::Failed),
            ("chain_vs_nft_two_hops", None, 2.0, Verdict::Missing),
            ("nat_50k_xdp_vs_nft", None, 3.0, Verdict::NotRun),
        ] {
            results.targets.insert(name.to_owned(), Target::AtLeast(target));
            results.verdicts.insert(name.to_owned(), verdict);
            results.units.insert(name.to_owned(), Unit::Ratio);
            if let Some(value) = value {
                results.ratios.insert(name.to_owned(), value);
                results.spread.insert(name.to_owned(), [value - 0.1, value + 0.1]);
            }
        }
        for (name, value, unit) in [
            ("nat_1_nft", 0.5, Unit::Mpps),
            ("nat_1_lost_nft", 0.25, Unit::Share),
            ("nat_1_halfspace_xdp", 2.25, Unit::Mpps),
            ("nat_1_raw", 3.57, Unit::Mpps),
            ("nat_50k_halfspace_xdp", 1.65, Unit::Mpps),
            ("new_flows_nft", 285_000.0, Unit::FlowsPerSecond),
        ] {
            results.medians.insert(name.to_owned(), value);
            results.spread.insert(name.to_owned(), [value * 0.9, value * 1.1]);
            results.units.insert(name.to_owned(), unit);
        }
        let missing = [
            ("nlb_udp_nlb_xdp", "it <crashed>"),
            ("nat_1_kernel", "no such thing"),
            ("nat_50k_kernel", "no such thing"),
            ("chain_nft_two_hops", "nft is not installed: apt-get install nftables"),
        ];
        results.missing.extend(missing.map(|(name, why)| (name.to_owned(), why.to_owned())));
        results.disturbed.insert("nat_1_nft".to_owned(), 0.42);
        results.machine.cpu = "Some CPU".to_owned();
        results.machine.tunings.push("nftables masquerade: timeout = 600".to_owned());
        results
    }
}
