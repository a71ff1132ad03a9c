//! A tree's changes carried into the text it was read from.
//!
//! The text, the tree it says and the tree it is to say are walked side by side. A value that is
//! written in whatever form, as a table with a header, with dotted keys or inline, keeps that form.

use toml::{Table, Value};
use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Key};

use super::extent;
use super::lines::Lines;
use super::sequence::{Brackets, Part, Sequence};
use super::splices::Splices;
use super::steps::{Step, steps};
use super::style;

/// A text that says `old`, changed to say `new`; `root` is how it is put together.
pub(super) fn patch(text: &str, root: &toml_edit::Table, old: &Table, new: &Table) -> String {
    let text = Lines(text);
    let mut patch = Patch { text, splices: Splices::of(text) };
    patch.table(&Place { table: root, path: String::new(), prefix: String::new() }, old, new);
    patch.splices.finish()
}

/// A table of the text, and how keys are added to it.
struct Place<'t> {
    table: &'t toml_edit::Table,
    /// What its header has between the brackets, or would have.
    path: String,
    /// What its keys start with: nothing, or the table's own key if that is dotted.
    prefix: String,
}

struct Patch<'a> {
    text: Lines<'a>,
    splices: Splices<'a>,
}

impl Patch<'_> {
    fn table(&mut self, place: &Place<'_>, old: &Table, new: &Table) {
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            if let Some((key, item)) = place.table.get_key_value(key) {
                self.remove(key, item);
            }
        }
        for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(value)) {
            if !self.change(place, key, old.get(key), value) {
                self.add(place, key, value);
            }
        }
    }

    /// Changes what the text has under a key. If there is no such key, or the value needs another
    /// form, nothing is left there and the answer is no.
    fn change(&mut self, place: &Place<'_>, name: &str, old: Option<&Value>, new: &Value) -> bool {
        let Some((key, item)) = place.table.get_key_value(name) else { return false };
        match (item, old, new) {
            (Item::Value(value), ..) => self.value(value, old, new),
            // Without a header, a table is there only through its keys.
            (Item::Table(table), _, Value::Table(new))
                if !new.is_empty() || extent::header(table).is_some() =>
            {
                let prefix = if table.is_dotted() {
                    format!("{}{}.", place.prefix, style::key(name))
                } else {
                    String::new()
                };
                let below = Place { table, path: below(&place.path, name), prefix };
                self.table(&below, &table_or_empty(old), new);
            }
            (Item::ArrayOfTables(tables), Some(Value::Array(old)), Value::Array(new))
                if tables.len() == old.len() && are_tables(new) =>
            {
                self.tables(&below(&place.path, name), tables, &steps(old, new));
            }
            _ => {
                self.remove(key, item);
                return false;
            }
        }
        true
    }

    /// Adds a key that the table does not have: a kind of resource at the end of the document,
    /// everything else below the keys that are there.
    fn add(&mut self, place: &Place<'_>, name: &str, value: &Value) {
        let at_root = place.path.is_empty();
        let document_end = self.text.0.len();
        match value {
            Value::Array(elements) if at_root && are_tables(elements) => {
                for table in elements.iter().filter_map(Value::as_table) {
                    let block = style::element(&style::key(name), table);
                    self.splices.insert_block(document_end, block);
                }
            }
            Value::Table(table) if at_root => {
                self.splices.insert_block(document_end, style::table(&style::key(name), table));
            }
            value => {
                let line = style::line(&place.prefix, name, value);
                if let Some(end) = extent::own_lines_end(self.text, place.table) {
                    self.splices.insert_lines(end, line);
                } else if at_root {
                    self.splices.insert_lines(0, line + "\n");
                } else {
                    // It has been there only because of the tables below it.
                    let end = self.end_of(place.table);
                    self.splices.insert_block(end, format!("[{}]\n{line}", place.path));
                }
            }
        }
    }

    fn remove(&mut self, key: &Key, item: &Item) {
        match item {
            Item::None => {}
            Item::Value(value) => {
                let lines = extent::of_key(self.text, key, value);
                self.splices.remove_lines(lines);
            }
            Item::Table(table) => {
                self.remove_table(table);
                for (key, _) in table.iter().filter(|_| table.is_dotted()) {
                    if let Some((key, item)) = table.get_key_value(key) {
                        self.remove(key, item);
                    }
                }
            }
            Item::ArrayOfTables(tables) => tables.iter().for_each(|table| self.remove_table(table)),
        }
    }

    fn remove_table(&mut self, table: &toml_edit::Table) {
        for lines in extent::of_table(self.text, table) {
            self.splices.remove_lines(lines);
        }
    }

    fn value(&mut self, text: &toml_edit::Value, old: Option<&Value>, new: &Value) {
        match (text, old, new) {
            (toml_edit::Value::InlineTable(table), _, Value::Table(new))
                if !has_dotted_keys(table) =>
            {
                self.inline_table(table, &table_or_empty(old), new);
            }
            (toml_edit::Value::Array(array), Some(Value::Array(old)), Value::Array(new))
                if array.len() == old.len() =>
            {
                self.array(array, &steps(old, new));
            }
            _ => {
                let span = text.span().unwrap_or_default();
                let value = style::value(new, self.text.before(span.start));
                self.splices.replace(span, value);
            }
        }
    }

    fn inline_table(&mut self, table: &InlineTable, old: &Table, new: &Table) {
        let names: Vec<_> = table.iter().map(|(name, _)| name).collect();
        let goes = |name: &str| old.contains_key(name) && !new.contains_key(name);
        let changes = |name: &str| new.get(name).filter(|value| old.get(name) != Some(value));
        let comes: Vec<_> = new
            .keys()
            .filter(|name| !names.contains(&name.as_str()))
            .filter_map(|name| Some(Part::Insert(style::entry(name, changes(name)?))))
            .collect();
        if comes.is_empty() && !names.iter().any(|name| goes(name)) {
            for (name, text) in table {
                if let Some(new) = changes(name) {
                    self.value(text, old.get(name), new);
                }
            }
            return;
        }
        let stays = names.iter().enumerate().filter(|(_, name)| !goes(name));
        let stays = stays.map(|(item, name)| match changes(name) {
            Some(value) => Part::Become(item, style::entry(name, value)),
            None => Part::Keep(item),
        });
        let parts = stays.chain(comes).collect();
        let items = names.iter().filter_map(|name| {
            let (key, item) = table.get_key_value(name)?;
            Some(key.span()?.start..item.span()?.end)
        });
        let sequence = Sequence {
            text: self.text,
            span: table.span().unwrap_or_default(),
            items: items.collect(),
            brackets: Brackets::Curly,
        };
        sequence.rearrange(&mut self.splices, parts);
    }

    fn array(&mut self, array: &Array, steps: &[Step<'_>]) {
        let only_changes =
            steps.len() == array.len() && !steps.iter().any(|step| matches!(step, Step::Insert(_)));
        if only_changes {
            for step in steps {
                if let Step::Change(item, old, new) = step
                    && let Some(text) = array.get(*item)
                {
                    self.value(text, Some(old), new);
                }
            }
            return;
        }
        let parts = steps.iter().map(|step| match step {
            Step::Keep(item) => Part::Keep(*item),
            Step::Change(item, _, new) => Part::Become(*item, style::inline(new)),
            Step::Insert(new) => Part::Insert(style::inline(new)),
        });
        let sequence = Sequence {
            text: self.text,
            span: array.span().unwrap_or_default(),
            items: array.iter().map(|value| value.span().unwrap_or_default()).collect(),
            brackets: Brackets::Square,
        };
        sequence.rearrange(&mut self.splices, parts.collect());
    }

    fn tables(&mut self, path: &str, tables: &ArrayOfTables, steps: &[Step<'_>]) {
        let mut stays = vec![false; tables.len()];
        let mut last = None;
        for step in steps {
            match step {
                Step::Keep(item) => {
                    stays[*item] = true;
                    last = tables.get(*item);
                }
                Step::Change(item, old, new) => {
                    stays[*item] = true;
                    last = tables.get(*item);
                    if let (Some(table), Value::Table(old), Value::Table(new)) = (last, old, new) {
                        let place = Place { table, path: path.to_owned(), prefix: String::new() };
                        self.table(&place, old, new);
                    }
                }
                Step::Insert(new) => {
                    let at = match (last, tables.get(0)) {
                        (Some(last), _) => self.end_of(last),
                        (None, Some(first)) => self.start_of(first),
                        (None, None) => self.text.0.len(),
                    };
                    if let Value::Table(new) = new {
                        self.splices.insert_block(at, style::element(path, new));
                    }
                }
            }
        }
        for (table, _) in tables.iter().zip(stays).filter(|(_, stays)| !stays) {
            self.remove_table(table);
        }
    }

    /// Where a table and all below it end.
    fn end_of(&self, table: &toml_edit::Table) -> usize {
        let lines = extent::of_table(self.text, table);
        lines.last().map_or(self.text.0.len(), |last| last.end)
    }

    /// Where a table starts, with the empty lines before it.
    fn start_of(&self, table: &toml_edit::Table) -> usize {
        let lines = extent::of_table(self.text, table);
        lines.first().map_or(0, |first| self.text.blank_lines_above(first.start))
    }
}

/// The path of a key below a table's.
fn below(path: &str, name: &str) -> String {
    let key = style::key(name);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn are_tables(elements: &[Value]) -> bool {
    !elements.is_empty() && elements.iter().all(Value::is_table)
}

/// A table that is not there says nothing.
fn table_or_empty(value: Option<&Value>) -> Table {
    value.and_then(Value::as_table).cloned().unwrap_or_default()
}

fn has_dotted_keys(table: &InlineTable) -> bool {
    table.iter().any(|(_, value)| value.as_inline_table().is_some_and(InlineTable::is_dotted))
}
