//! Which lines of the text belong to a key or a table.

use std::ops::Range;

use toml_edit::{Item, Key, Table};

use super::lines::Lines;

/// The line of a key with its value, which may be several, and the comments directly above.
pub(super) fn of_key(text: Lines<'_>, key: &Key, value: &toml_edit::Value) -> Range<usize> {
    let key_start = key.span().unwrap_or_default().start;
    let value_end = value.span().unwrap_or_default().end;
    let floor = key.leaf_decor().prefix().and_then(toml_edit::RawString::span);
    let start = text.comments_above(key_start, floor.map_or(key_start, |it| it.start));
    start..text.line_end(value_end)
}

/// Where the lines of a table's own keys end; without any, its header. `None` if it has neither.
pub(super) fn own_lines_end(text: Lines<'_>, table: &Table) -> Option<usize> {
    let end = last_value_end(table).or_else(|| Some(header(table)?.end))?;
    Some(text.line_end(end))
}

/// The lines of a table and of those below it, in their order: one range for what stands together.
/// Comments belong to what they touch, and to what is below rather than to what is above.
pub(super) fn of_table(text: Lines<'_>, table: &Table) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    collect(text, table, &mut parts);
    parts.sort_by_key(|part| part.start);
    let mut together: Vec<Range<usize>> = Vec::new();
    for part in parts {
        match together.last_mut() {
            Some(last) if text.is_trivia(last.end..part.start) => last.end = part.end,
            _ => together.push(part),
        }
    }
    together
}

fn collect(text: Lines<'_>, table: &Table, parts: &mut Vec<Range<usize>>) {
    if let (Some(header), Some(end)) = (header(table), own_lines_end(text, table)) {
        let floor = table.decor().prefix().and_then(toml_edit::RawString::span);
        let floor = floor.map_or(header.start, |it| it.start);
        parts.push(text.comments_above(header.start, floor)..text.comments_below(end));
    }
    for (_, item) in table {
        match item {
            Item::Table(table) => collect(text, table, parts),
            Item::ArrayOfTables(tables) => {
                tables.iter().for_each(|table| collect(text, table, parts));
            }
            Item::None | Item::Value(_) => {}
        }
    }
}

/// `[table]` or `[[table]]`, if it has one: the document itself has none, nor have tables that
/// dotted keys or headers of others make.
pub(super) fn header(table: &Table) -> Option<Range<usize>> {
    let written = !table.is_implicit() && !table.is_dotted();
    table.span().filter(|span| written && !span.is_empty())
}

fn last_value_end(table: &Table) -> Option<usize> {
    let ends = table.iter().filter_map(|(_, item)| match item {
        Item::Value(value) => Some(value.span()?.end),
        Item::Table(table) if table.is_dotted() => last_value_end(table),
        _ => None,
    });
    ends.max()
}
