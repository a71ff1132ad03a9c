//! One thing that is wrong with a configuration, told so that an editor can jump to it.

use std::fmt;

use serde::Serialize;

/// What is wrong, where, and under which code.
///
/// As text: `resources.toml:12:1: subnet[1].cidr_block: … (InvalidSubnet.Conflict)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file as it was named, or what else the value came from.
    pub file: String,
    /// Line, from 1, if it came from a file that could be read.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// The value's path, or empty where there is none, as for a syntax error.
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// EC2's or ELB's error code, if it has one.
    pub code: Option<&'static str>,
}

impl Diagnostic {
    /// One without a place in a file.
    pub(super) fn of(origin: impl Into<String>, path: &str, message: impl fmt::Display) -> Self {
        Self {
            file: origin.into(),
            line: None,
            column: None,
            path: path.to_owned(),
            message: message.to_string(),
            code: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        self.code.map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_reads_as_compilers_write_it_and_leaves_out_what_it_does_not_know() {
        let full = Diagnostic {
            file: "resources.toml".into(),
            line: Some(12),
            column: Some(1),
            path: "subnet[1].cidr_block".into(),
            message: "too small".into(),
            code: Some("InvalidSubnet.Range"),
        };
        assert_eq!(
            full.to_string(),
            "resources.toml:12:1: subnet[1].cidr_block: too small (InvalidSubnet.Range)"
        );
        let bare = Diagnostic::of("gateway.toml", "", "not found");
        assert_eq!(bare.to_string(), "gateway.toml: not found");
    }

    #[test]
    fn a_diagnostic_as_json_has_every_field() {
        let json = serde_json::to_value(Diagnostic::of("HALFSPACE_FLOWS", "flows", "too few"))
            .expect("a diagnostic can be written");
        assert_eq!(
            json,
            serde_json::json!({
                "file": "HALFSPACE_FLOWS", "line": null, "column": null,
                "path": "flows", "message": "too few", "code": null,
            })
        );
    }
}
