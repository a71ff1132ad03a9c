//! The words every scenario is written in: what is measured, who takes part, and what a round gives.
//!
//! A scenario sets its contenders up side by side and lets them take turns, round by round and step
//! by step, so that what disturbs the machine for a while disturbs all of them. A new one is a file
//! in `scenarios/` and a line in its list; what its figures are held against is in `ratios.rs`.

use std::path::Path;
use std::time::Duration;

use halfspace_testbed::{Interrupt, Requirement, Testbed};

use super::report::Plot;
use super::unit::Unit;
use crate::error::Error;

/// One kind of work, and who does it.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What is sent where, and what counts, in a few sentences for the report.
    pub about: &'static str,
    /// What every contender does in each round, in this order.
    pub steps: &'static [Step],
    /// In the order in which they take turns.
    pub contenders: &'static [Entry],
    /// How the report shows it.
    pub plots: &'static [Plot],
}

/// A part of a round: all contenders do it before the next step begins.
#[derive(Debug)]
pub struct Step {
    /// Its name in results, where it failed or was missing.
    pub name: &'static str,
    /// Whether a quick run does it too.
    pub quick: bool,
    /// What it yields.
    pub measures: &'static [Measure],
}

/// A figure that a step yields for each contender.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name in results, where the contender's follows: `nat_1` and `nft` make `nat_1_nft`.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is up.
    pub better: Better,
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A rate, for instance.
    Higher,
    /// A latency, or memory.
    Lower,
}

impl Better {
    /// For captions.
    pub fn words(self) -> &'static str {
        match self {
            Self::Higher => "higher is better",
            Self::Lower => "lower is better",
        }
    }
}

/// Whose work a contender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Halfspace: if it fails, so do its targets.
    Ours,
    /// Somebody else's, to compare with.
    Peer,
    /// No gateway at all, or hardly: what the machine can do.
    Limit,
}

/// Who takes part.
#[derive(Debug)]
pub struct Entry {
    /// Its name in results and on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Whose it is.
    pub origin: Origin,
    /// Without these it is missing.
    pub needs: &'static [Requirement],
    /// Names of the steps that it takes part in.
    pub steps: &'static [&'static str],
    /// Sets it up until it is ready to be measured.
    pub set_up: SetUp,
}

/// Sets a contender up.
pub type SetUp = for<'a> fn(Site<'a>) -> Result<Box<dyn Contender + 'a>, Error>;

/// Where a contender is set up.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The scenario's namespaces and files.
    pub bed: &'a Testbed,
    /// The `halfspace` binary.
    pub halfspace: &'a Path,
}

/// A contender that is set up; dropping it removes whatever it needed.
pub trait Contender {
    /// What was tuned for it, and what could not be.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Does one step once, for about `turn.duration`. An interrupt ends it early, and what it
    /// yields then does not count.
    ///
    /// # Errors
    ///
    /// Whatever makes its figures worthless: it takes no further part in this step.
    fn round(&mut self, step: &Step, turn: &Turn<'_>) -> Result<Yield, Error>;
}

/// How a round is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// How long to measure.
    pub duration: Duration,
    /// How long to let it run before the first reading.
    pub ramp: Duration,
    /// When to stop at once.
    pub interrupt: &'a Interrupt,
}

/// What a round of a contender gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Yield {
    /// Names of measures, and their figures.
    pub samples: Vec<(&'static str, f64)>,
    /// The share of the generator's core that other programs took, 0 to 1, where that can be told.
    pub disturbed: Option<f64>,
}

impl Scenario {
    /// The contender of that name.
    pub fn contender(&self, name: &str) -> Option<&'static Entry> {
        self.contenders.iter().find(|entry| entry.name == name)
    }

    /// All that its steps yield.
    pub fn measures(&self) -> impl Iterator<Item = &'static Measure> {
        self.steps.iter().flat_map(|step| step.measures)
    }
}

/// How results name a figure: of which measure, and whose.
pub fn series_name(measure: &str, contender: &str) -> String {
    format!("{measure}_{contender}")
}
