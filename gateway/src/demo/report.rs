//! What the demo tells: scenes, named checks as they pass or fail, and the tables at the end.

use std::fmt::{Debug, Display};
use std::net::IpAddr;

use super::progress::{Mark, Progress};
use super::tables::{CountRow, SourceRow};

/// Collects what was found, and prints it as it comes.
#[derive(Debug)]
pub(super) struct Report {
    /// Where it is printed.
    pub progress: Progress,
    passed: usize,
    failed: Vec<String>,
    /// Who was seen as whom.
    pub sources: Vec<SourceRow>,
    /// What was sent, and what was counted.
    pub counts: Vec<CountRow>,
}

impl Report {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, passed: 0, failed: Vec::new(), sources: Vec::new(), counts: Vec::new() }
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

    /// A server's own view of its clients, for the table, and the check that it is right.
    pub(super) fn seen(&mut self, row: SourceRow, expected: IpAddr, connections: usize) {
        let name = format!("{} saw {} connections, all from {expected}", row.server, row.total());
        let right = row.total() == connections && row.all_from(expected);
        let instead = format!("expected {connections} from {expected}, found {row}");
        self.sources.push(row);
        self.holds(name, right, instead);
    }

    /// A number that was sent against what the gateway counted, for the table, and its check.
    pub(super) fn counted(&mut self, row: CountRow) {
        let name = format!("{}: {} sent, {} counted", row.what, row.sent, row.counted);
        let (right, instead) = (row.sent == row.counted, "they differ");
        self.counts.push(row);
        self.holds(name, right, instead);
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
