//! Documents as no program would write them: every tree in one of the many forms that TOML has for
//! it, full of comments, so that an edit can be held to leaving them alone.

use toml::{Table, Value};

use super::Dice;

/// A document and what is to be found in it.
pub(super) struct Written {
    pub(super) text: String,
    /// What tells of no single element.
    pub(super) loose_comments: Vec<String>,
    pub(super) elements: Vec<Element>,
}

/// An element that has a header.
pub(super) struct Element {
    pub(super) kind: String,
    pub(super) index: usize,
    /// From the comments above it to those below.
    pub(super) lines: String,
    /// The lines of its keys that are written without a header, with the comments above them.
    pub(super) keys: Vec<(String, String)>,
}

/// Writes `tree`.
pub(super) fn write(dice: &mut Dice, tree: &Table) -> Written {
    let windows = dice.one_in(4);
    let mut writer = Writer { dice, several_lines: !windows, comments: 0 };
    let mut written = writer.document(tree);
    if windows {
        let windows = |text: &mut String| *text = text.replace('\n', "\r\n");
        windows(&mut written.text);
        for element in &mut written.elements {
            windows(&mut element.lines);
            element.keys.iter_mut().for_each(|(_, lines)| windows(lines));
        }
    }
    written
}

struct Writer<'d> {
    dice: &'d mut Dice,
    /// Whether texts may have line ends in them.
    several_lines: bool,
    comments: usize,
}

impl Writer<'_> {
    fn document(&mut self, tree: &Table) -> Written {
        let mut text = String::new();
        let mut loose_comments = Vec::new();
        let mut elements = Vec::new();
        let mut kinds: Vec<(&String, std::iter::Peekable<_>)> = Vec::new();
        let mut tables = Vec::new();
        for (key, value) in tree {
            match value {
                Value::Array(array)
                    if !array.is_empty()
                        && array.iter().all(Value::is_table)
                        && !self.dice.one_in(10) =>
                {
                    kinds.push((key, array.iter().enumerate().peekable()));
                }
                Value::Table(table) if !self.dice.one_in(3) => tables.push((key, table)),
                value => text += &self.lines("", key, value),
            }
        }
        while !kinds.is_empty() {
            if self.dice.one_in(3) {
                let comment = self.comment();
                text.extend(["\n", &comment, "\n\n"]);
                loose_comments.push(comment);
            }
            let kind = self.dice.below(kinds.len());
            let (name, array) = &mut kinds[kind];
            if let Some((index, table)) = array.next() {
                let table = table.as_table().expect("an array of tables");
                let (lines, keys) = self.table(&super::style::key(name), true, table);
                text += &lines;
                text += ["\n", "\n\n"][self.dice.below(2)];
                elements.push(Element { kind: (*name).clone(), index, lines, keys });
            }
            if array.peek().is_none() {
                drop(kinds.remove(kind));
            }
        }
        for (key, table) in tables {
            text.extend([&self.table(&super::style::key(key), false, table).0, "\n"]);
        }
        if self.dice.one_in(3) {
            text.truncate(text.trim_end().len());
        }
        Written { text, loose_comments, elements }
    }

    /// A table with its header and those below it, and the lines of its own keys.
    fn table(
        &mut self,
        path: &str,
        in_array: bool,
        table: &Table,
    ) -> (String, Vec<(String, String)>) {
        let (open, close) = if in_array { ("[[", "]]") } else { ("[", "]") };
        let space = self.space();
        let mut text = self.comments_above();
        text.extend([open, space, path, space, close, &self.comment_behind(), "\n"]);
        let mut keys = Vec::new();
        let mut below = String::new();
        for (key, value) in table {
            let path = format!("{path}.{}", super::style::key(key));
            match value {
                Value::Table(table) if self.dice.one_in(4) => {
                    below += self.gap();
                    below += &self.table(&path, false, table).0;
                }
                Value::Array(array)
                    if !array.is_empty()
                        && array.iter().all(Value::is_table)
                        && self.dice.one_in(2) =>
                {
                    for table in array.iter().filter_map(Value::as_table) {
                        below += self.gap();
                        below += &self.table(&path, true, table).0;
                    }
                }
                value => {
                    let lines = self.lines("", key, value);
                    text += &lines;
                    keys.push((key.clone(), lines));
                }
            }
        }
        text += &below;
        if self.dice.one_in(5) {
            text.extend([&self.comment(), "\n"]);
        }
        (text, keys)
    }

    /// The line or lines of one key.
    fn lines(&mut self, prefix: &str, name: &str, value: &Value) -> String {
        let key = if self.dice.one_in(5) {
            super::style::inline(&Value::from(name))
        } else {
            super::style::key(name)
        };
        if let Value::Table(table) = value
            && !table.is_empty()
            && self.dice.one_in(3)
        {
            let dot = self.space();
            let prefix = format!("{prefix}{key}{dot}.");
            return table.iter().map(|(key, value)| self.lines(&prefix, key, value)).collect();
        }
        let comments = self.comments_above();
        let (indent, space) = (self.space(), self.space());
        let value = self.value(value);
        format!("{comments}{indent}{prefix}{key}{space}={space}{value}{}\n", self.comment_behind())
    }

    fn value(&mut self, value: &Value) -> String {
        match value {
            Value::String(text) => self.string(text),
            Value::Integer(number @ 0..) if self.dice.one_in(4) => format!("0x{number:x}"),
            Value::Array(elements) => self.array(elements),
            Value::Table(table) => self.inline_table(table),
            other => other.to_string(),
        }
    }

    fn string(&mut self, text: &str) -> String {
        let plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        match self.dice.below(3) {
            0 if text.bytes().all(|byte| plain(byte) && byte != b'\'') => format!("'{text}'"),
            1 if self.several_lines
                && text.bytes().all(|byte| {
                    (plain(byte) || byte == b'\n') && byte != b'"' && byte != b'\\'
                }) =>
            {
                format!("\"\"\"\n{text}\"\"\"")
            }
            _ => super::style::inline(&Value::from(text)),
        }
    }

    fn array(&mut self, elements: &[Value]) -> String {
        let one_line = self.dice.one_in(2);
        let mut text = format!("[{}", self.space());
        for (index, element) in elements.iter().enumerate() {
            if !one_line && self.dice.one_in(2) {
                text.extend([&self.comment_behind(), "\n"]);
                text += &self.comments_above();
                text += "    ";
            }
            text += &self.value(element);
            if !one_line && self.dice.one_in(8) {
                text.extend([&self.comment_behind(), "\n  "]);
            }
            if index + 1 < elements.len() || self.dice.one_in(3) {
                text.extend([",", self.space()]);
            }
        }
        if !one_line {
            text.extend([&self.comment_behind(), "\n"]);
        }
        text + "]"
    }

    fn inline_table(&mut self, table: &Table) -> String {
        let mut entries = Vec::new();
        for (key, value) in table {
            let key = super::style::key(key);
            match value {
                Value::Table(below) if below.len() == 1 && self.dice.one_in(2) => {
                    for (below, value) in below {
                        let below = super::style::key(below);
                        entries.push(format!("{key}.{below} = {}", self.value(value)));
                    }
                }
                value => {
                    let space = self.space();
                    entries.push(format!("{key}{space}={space}{}", self.value(value)));
                }
            }
        }
        let space = self.space();
        let between = if self.dice.one_in(8) {
            format!(",{}\n", self.comment_behind())
        } else {
            format!(",{}", self.space())
        };
        format!("{{{space}{}{space}}}", entries.join(&between))
    }

    fn space(&mut self) -> &'static str {
        ["", " ", "  ", " "][self.dice.below(4)]
    }

    fn gap(&mut self) -> &'static str {
        ["", "\n"][self.dice.below(2)]
    }

    /// Each has a number of its own.
    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# c{}.", self.comments)
    }

    fn comments_above(&mut self) -> String {
        (0..self.dice.below(4).saturating_sub(1)).map(|_| self.comment() + "\n").collect()
    }

    fn comment_behind(&mut self) -> String {
        if self.dice.one_in(4) {
            format!("{}{}", self.space(), self.comment())
        } else {
            String::new()
        }
    }
}
