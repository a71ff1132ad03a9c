//! The matrix: what is asked, and what came of it, as a table, as JSON and as Markdown.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::{Serialize, Serializer};

use super::check::{Check, Level, Verdict};
use super::probe::Probe;
use crate::error::Error;
use crate::output::{self, Report};

/// A requirement and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub id: &'static str,
    /// How much it asks.
    pub level: Level,
    /// What it asks.
    pub asks: &'static str,
    /// What came of it.
    #[serde(flatten, serialize_with = "verdict")]
    pub verdict: Verdict,
}

impl Row {
    /// What came of a check.
    pub fn new(check: &Check, verdict: Verdict) -> Self {
        let Check { id, level, asks, .. } = *check;
        Self { id, level, asks, verdict }
    }

    /// Checks it. What came in before is forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::System`], if an interface fails.
    pub fn of(check: &Check, probe: &mut Probe) -> Result<Self, Error> {
        probe.forget()?;
        Ok(Self::new(check, check.run(probe)?))
    }
}

fn verdict<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Said<'a> {
        verdict: &'a str,
        why: &'a str,
    }
    Said { verdict: verdict.word(), why: verdict.why() }.serialize(serializer)
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// In the order in which they were checked.
    pub requirements: Vec<Row>,
}

impl Matrix {
    /// For a document: a table that needs no tool to read.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| requirement | asks | verdict | what was seen |\n| --- | --- | --- | --- |\n",
        );
        for Row { id, level, asks, verdict } in &self.requirements {
            let cells = [
                (*id).to_owned(),
                format!("{}: {asks}", level.word()),
                verdict.word().to_owned(),
                verdict.why().replace('|', "\\|"),
            ];
            // Writing to a String does not fail.
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// How many requirements of a level came out as `word` says.
    fn count(&self, level: Level, word: &str) -> usize {
        let of_it = self.requirements.iter().filter(|row| row.level == level);
        of_it.filter(|row| row.verdict.word() == word).count()
    }
}

impl Report for Matrix {
    fn tables(&self) -> Vec<Table> {
        let mut all = output::table(["requirement", "", "asks", "verdict", "what was seen"]);
        all.set_content_arrangement(ContentArrangement::Dynamic);
        for column in all.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Left);
        }
        for Row { id, level, asks, verdict } in &self.requirements {
            all.add_row([*id, level.word(), asks, verdict.word(), verdict.why()]);
        }
        let mut sums = output::table(["", "pass", "fail", "not applicable"]);
        for level in Level::ALL {
            let counts = ["pass", "fail", "not applicable"].map(|word| self.count(level, word));
            let counts = counts.map(|it| it.to_string());
            sums.add_row([vec![level.word().to_owned()], counts.to_vec()].concat());
        }
        vec![all, sums]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_json_and_markdown() {
        let row = Row {
            id: "RFC4787-REQ-1",
            level: Level::Must,
            asks: "something",
            verdict: Verdict::Fail("a | b".to_owned()),
        };
        let matrix = Matrix { requirements: vec![row] };
        assert_eq!(
            serde_json::to_string(&matrix).unwrap(),
            r#"{"requirements":[{"id":"RFC4787-REQ-1","level":"MUST","asks":"something","verdict":"fail","why":"a | b"}]}"#
        );
        assert!(
            matrix.markdown().ends_with("| RFC4787-REQ-1 | MUST: something | fail | a \\| b |\n"),
            "{}",
            matrix.markdown()
        );
    }
}
