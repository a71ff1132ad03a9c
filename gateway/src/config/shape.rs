//! From text to typed values, with every error that can be told apart instead of the first alone.
//!
//! Reading stops at the first error by its nature. So the part that the error is about is taken
//! out of the parsed tree and the rest is read again, until nothing is wrong any more. Nothing
//! that was read that way is ever used.

use serde::de::DeserializeOwned;
use toml::de::{DeTable, Deserializer};

use super::Diagnostic;
use super::locate::{path_at, prune};
use super::source::Source;

/// Past this many the file is not the kind of file it should be.
const MAX_ERRORS: usize = 50;

/// Reads a file's text.
///
/// # Errors
///
/// Syntax errors or, without any, unknown keys, missing keys and values of the wrong type or form,
/// by their place in the file; never an empty list.
pub(super) fn read<T: DeserializeOwned>(source: &Source) -> Result<T, Vec<Diagnostic>> {
    let (tree, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        let found = errors.iter().map(|error| {
            let at = error.span().unwrap_or_default().start;
            source.diagnostic(at, "", syntax_message(error.message()))
        });
        return Err(sorted(found.take(MAX_ERRORS).collect()));
    }

    let mut rest = tree.clone();
    let mut found = Vec::new();
    loop {
        let error = match T::deserialize(Deserializer::from(rest.clone())) {
            Ok(value) if found.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        found.push(describe(source, tree.get_ref(), &error));
        if found.len() == MAX_ERRORS || !prune(rest.get_mut(), &span) {
            break;
        }
    }
    Err(sorted(found))
}

/// The reader's words, less its "expected nothing", plus the way out of the slip that everyone
/// makes with addresses.
fn syntax_message(message: &str) -> String {
    match message.strip_suffix(", expected nothing").unwrap_or(message) {
        number @ ("invalid float" | "invalid integer") => {
            format!("{number}; write texts such as addresses in quotes")
        }
        other => other.to_owned(),
    }
}

fn describe(source: &Source, tree: &DeTable<'_>, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or_default();
    let path = path_at(tree, &span).unwrap_or_default();
    // The reader has no kinds of errors, only words; the tests hold it to these.
    let code = if error.message().starts_with("unknown field") {
        "UnknownParameter"
    } else if error.message().starts_with("missing field") {
        "MissingParameter"
    } else {
        "InvalidParameterValue"
    };
    Diagnostic { code: Some(code), ..source.diagnostic(span.start, path, error.message()) }
}

/// In the order of the file.
pub(super) fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|it| (it.line, it.column));
    diagnostics
}
