//! Values as text, the way the documents in `configs/` are written.

use toml::{Table, Value};
use toml_writer::{ToTomlKey as _, ToTomlValue as _, TomlStringBuilder};

/// The longest line that an array is left on, in characters.
const WIDTH: usize = 100;

/// How far the elements of an array with a line each stand in.
pub(super) const INDENT: &str = "    ";

/// A key, in quotes where it needs them.
pub(super) fn key(name: &str) -> String {
    name.to_toml_key()
}

/// `key = value` on one line.
pub(super) fn entry(name: &str, value: &Value) -> String {
    format!("{} = {}", key(name), inline(value))
}

/// A value on one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => TomlStringBuilder::new(text).as_basic().to_toml_value(),
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Table(table) => {
            inline_table(&table.iter().map(|(key, value)| entry(key, value)).collect::<Vec<_>>())
        }
        number => number.to_string(),
    }
}

/// An inline table of entries that are text already.
pub(super) fn inline_table(entries: &[String]) -> String {
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A value that starts behind `before` in its line: an array that is too long for that gets a line
/// for each element.
pub(super) fn value(value: &Value, before: &str) -> String {
    match value {
        Value::Array(elements) => array(&elements.iter().map(inline).collect::<Vec<_>>(), before),
        other => inline(other),
    }
}

/// An array of elements that are text already, as in [`value`].
pub(super) fn array(elements: &[String], before: &str) -> String {
    let line = format!("[{}]", elements.join(", "));
    if elements.is_empty() || before.chars().count() + line.chars().count() <= WIDTH {
        return line;
    }
    let margin = &before[..before.len() - before.trim_start().len()];
    let lines = element_lines(&format!("{margin}{INDENT}"), elements);
    format!("[\n{lines}{margin}]")
}

/// Elements of an array with a line for each.
pub(super) fn element_lines(margin: &str, elements: &[String]) -> String {
    elements.iter().flat_map(|element| [margin, element, ",\n"]).collect()
}

/// The line or lines of a key in a table; `prefix` is what a dotted key starts with.
pub(super) fn line(prefix: &str, name: &str, of: &Value) -> String {
    let before = format!("{prefix}{} = ", key(name));
    let value = value(of, &before);
    format!("{before}{value}\n")
}

/// An element of an array of tables: `[[subnet]]` and its keys.
pub(super) fn element(path: &str, table: &Table) -> String {
    format!("[[{path}]]\n{}", lines(table))
}

/// A table: `[quotas]` and its keys.
pub(super) fn table(path: &str, table: &Table) -> String {
    format!("[{path}]\n{}", lines(table))
}

fn lines(table: &Table) -> String {
    table.iter().map(|(key, value)| line("", key, value)).collect()
}
