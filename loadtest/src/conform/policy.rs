//! What has to hold for the exit code to be 0: every MUST, unless a file says that it is meant to
//! fail.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::check::{Level, Verdict};
use super::checks;
use super::report::Row;
use crate::error::Error;

/// Which requirements are not to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Ids of those that this NAT does not mean to meet. One of them that is met is a complaint as
    /// well: then the file is out of date.
    expected_to_fail: BTreeSet<String>,
}

impl Policy {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if it cannot be read; [`Error::Usage`] if it is no policy, or names a
    /// requirement that is not checked.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|why| Error::Usage(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let known: BTreeSet<_> =
            checks::nat44().chain(checks::nat64()).map(|check| check.id).collect();
        match policy.expected_to_fail.iter().find(|id| !known.contains(id.as_str())) {
            None => Ok(policy),
            Some(id) => Err(format!("{id} is not checked: run without --policy to see what is")),
        }
    }

    /// What is not as it should be, a sentence each.
    pub fn complaints(&self, rows: &[Row]) -> Vec<String> {
        let complaint = |row: &Row| {
            let expected = self.expected_to_fail.contains(row.id);
            match (&row.verdict, expected) {
                (Verdict::Fail(why), false) if row.level == Level::Must => {
                    Some(format!("{} failed: {}: {why}", row.id, row.asks))
                }
                (Verdict::Pass(_), true) => {
                    Some(format!("{} was expected to fail and is met: say so", row.id))
                }
                _ => None,
            }
        };
        rows.iter().filter_map(complaint).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &'static str, level: Level, verdict: fn(String) -> Verdict) -> Row {
        Row { id, level, asks: "something", verdict: verdict("seen".to_owned()) }
    }

    #[test]
    fn every_must_is_to_be_met_unless_it_is_expected_to_fail() {
        let rows = [
            row("RFC4787-REQ-1", Level::Must, Verdict::Fail),
            row("RFC4787-REQ-4", Level::Should, Verdict::Fail),
            row("RFC4787-REQ-9", Level::Must, Verdict::Pass),
            row("RFC4787-REQ-13", Level::Must, Verdict::NotApplicable),
        ];
        assert_eq!(Policy::default().complaints(&rows), ["RFC4787-REQ-1 failed: something: seen"]);
        let policy = Policy::parse(r#"expected_to_fail = ["RFC4787-REQ-1"]"#).unwrap();
        assert_eq!(policy.complaints(&rows), Vec::<String>::new());
        let policy =
            Policy::parse(r#"expected_to_fail = ["RFC4787-REQ-1", "RFC4787-REQ-9"]"#).unwrap();
        assert_eq!(
            policy.complaints(&rows),
            ["RFC4787-REQ-9 was expected to fail and is met: say so"]
        );
    }

    #[test]
    fn a_policy_names_only_what_is_checked() {
        assert!(
            Policy::parse(r#"expected_to_fail = ["RFC1-REQ-1"]"#).unwrap_err().contains("RFC1")
        );
        assert!(Policy::parse("expected = []").unwrap_err().contains("unknown field"));
    }
}
