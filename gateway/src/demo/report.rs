//! What the demo tells: scenes, named checks as they pass or fail, and the tables at the end.

use std::fmt::{Debug, Display};

use super::progress::{Mark, Progress};
use super::tables::Tables;

/// Collects what was found, and prints it as it comes.
#[derive(Debug)]
pub(super) struct Report {
    /// Where it is printed.
    pub progress: Progress,
    passed: usize,
    failed: Vec<String>,
    /// What is summed up at the end.
    pub tables: Tables,
}

impl Report {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, passed: 0, failed: Vec::new(), tables: Tables::default() }
    }

    /// Begins a scene.
    pub(super) fn scene(&self, title: &str) {
        self.progress.line("");
        self.progress.line(&self.progress.bold(title));
    }

    /// Something worth knowing that cannot be wrong.
    pub(super) fn note(&self, text: impl Display) {
        self.progress.marked(Mark::Note, &text.to_string());
    }

    /// Something that is not shown here, and why.
    pub(super) fn skip(&self, what: &str, why: &str) {
        self.progress.marked(Mark::Skip, &format!("{what}: not shown, {why}"));
    }

    /// A check: what should be so, and, if it is not, what is instead.
    pub(super) fn check(&mut self, name: impl Into<String>, outcome: Result<(), String>) {
        let name = name.into();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                self.progress.marked(Mark::Pass, &name);
            }
            Err(instead) => {
                self.progress.marked(Mark::Fail, &format!("{name}: {instead}"));
                self.failed.push(name);
            }
        }
    }

    /// A check that something holds; `instead` tells what is so otherwise.
    pub(super) fn holds(&mut self, name: impl Into<String>, holds: bool, instead: impl Display) {
        self.check(name, if holds { Ok(()) } else { Err(instead.to_string()) });
    }

    /// A check that two values are equal.
    pub(super) fn equal<T: PartialEq + Debug>(
        &mut self,
        name: impl Into<String>,
        found: &T,
        expected: &T,
    ) {
        let instead = format!("found {found:?}, expected {expected:?}");
        self.holds(name, found == expected, instead);
    }

    /// How many checks passed.
    pub(super) fn passed(&self) -> usize {
        self.passed
    }

    /// The names of those that failed.
    pub(super) fn failed(&self) -> &[String] {
        &self.failed
    }
}
