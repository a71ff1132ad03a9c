//! `results.json`: all that a run found out, in a form that reports are made from and that other
//! programs can read. Ratios and figures are looked up by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::ratios::{Target, Verdict};
use super::unit::Unit;
use crate::error::Error;

/// The file. Figures of contenders are named by [`super::scenario::series_name`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Of the table of targets: ratios of medians, and medians that have a target themselves.
    pub ratios: BTreeMap<String, f64>,
    /// What the ratios should be.
    pub targets: BTreeMap<String, Target>,
    /// What became of the targets.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Medians of the contenders' figures.
    pub medians: BTreeMap<String, f64>,
    /// Least and greatest of the single rounds, of ratios and of figures.
    pub spread: BTreeMap<String, [f64; 2]>,
    /// What ratios and figures are counted in.
    pub units: BTreeMap<String, Unit>,
    /// The figures, round by round.
    pub rounds: BTreeMap<String, Vec<f64>>,
    /// The share of the generator's core that other programs took, median.
    pub disturbed: BTreeMap<String, f64>,
    /// Who could not be measured in which step, and why.
    pub missing: BTreeMap<String, String>,
    /// How it was measured.
    pub settings: Settings,
    /// On what.
    pub machine: Machine,
}

/// How a run was to measure.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Rounds asked for.
    pub rounds: u32,
    /// Seconds for which each contender is measured in each round.
    pub seconds: f64,
    /// Whether it was a quick run.
    pub quick: bool,
    /// Whether this program or Halfspace was built without optimisation.
    #[serde(default)]
    pub unoptimised: bool,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl Results {
    /// With nothing in it yet.
    pub fn new(machine: Machine, settings: Settings) -> Self {
        Self {
            ratios: BTreeMap::new(),
            targets: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            medians: BTreeMap::new(),
            spread: BTreeMap::new(),
            units: BTreeMap::new(),
            rounds: BTreeMap::new(),
            disturbed: BTreeMap::new(),
            missing: BTreeMap::new(),
            settings,
            machine,
        }
    }

    /// The names of targets that were missed.
    pub fn missed(&self) -> Vec<String> {
        let missed = self.verdicts.iter().filter(|(_, verdict)| verdict.is_miss());
        missed.map(|(name, _)| name.clone()).collect()
    }

    /// As JSON, for people to read as well.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(|error| Error::System {
            action: "write the results as JSON",
            source: error.into(),
        })
    }

    /// Reads a file that [`Results::json`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if there is none or it is something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        serde_json::from_str(&text).map_err(|error| failed(error.into()))
    }
}
