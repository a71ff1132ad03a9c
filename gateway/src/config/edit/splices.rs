//! Replacements in a text, collected by place and carried out at the end. Whatever none of them
//! covers comes out as it went in, to the byte.

use std::ops::Range;

use super::lines::{Lines, is_blank};

/// A text and what is to become of it.
pub(super) struct Splices<'a> {
    text: Lines<'a>,
    /// As the text has it.
    newline: &'static str,
    planned: Vec<Splice>,
}

/// At one place, what belongs to the line before comes before lines, and lines of the table there
/// before tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// Something within a line, or nothing.
    Inside,
    /// Whole lines, each with its end.
    Lines,
    /// The same with an empty line before and after.
    Block,
}

struct Splice {
    /// What goes.
    range: Range<usize>,
    form: Form,
    /// What comes instead, with `\n` at the end of each line.
    text: String,
}

impl<'a> Splices<'a> {
    /// None yet.
    pub(super) fn of(text: Lines<'a>) -> Self {
        let first = &text.0[..text.line_end(0)];
        let newline = if first.ends_with("\r\n") { "\r\n" } else { "\n" };
        Self { text, newline, planned: Vec::new() }
    }

    /// Puts something else in the place of a part of the text.
    pub(super) fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.planned.push(Splice { range, form: Form::Inside, text: text.into() });
    }

    /// Puts something into a line.
    pub(super) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    /// Puts lines before the line that starts at `at`, or behind the last one.
    pub(super) fn insert_lines(&mut self, at: usize, text: String) {
        self.planned.push(Splice { range: at..at, form: Form::Lines, text });
    }

    /// The same, set apart by empty lines.
    pub(super) fn insert_block(&mut self, at: usize, text: String) {
        self.planned.push(Splice { range: at..at, form: Form::Block, text });
    }

    /// Takes lines out, and the empty ones around them that had no other purpose.
    pub(super) fn remove_lines(&mut self, lines: Range<usize>) {
        let before = self.text.blank_lines_above(lines.start);
        let after = self.text.blank_lines_below(lines.end);
        let range = if before == 0 {
            before..after
        } else if after > lines.end || after == self.text.0.len() {
            before..lines.end
        } else {
            lines
        };
        self.replace(range, "");
    }

    /// The text with everything carried out, in the order of the places and, at one place, of the
    /// calls.
    pub(super) fn finish(mut self) -> String {
        // What is put before a part that goes comes first.
        self.planned.sort_by_key(|it| (it.range.start, it.range.end, it.form));
        let mut out = String::with_capacity(self.text.0.len() + 256);
        let mut done = 0;
        for Splice { range, form, text } in self.planned {
            // Two parts that go may share empty lines.
            out.push_str(&self.text.0[done..range.start.max(done)]);
            done = done.max(range.end);
            if form != Form::Inside && !out.is_empty() && !out.ends_with('\n') {
                out.push_str(self.newline);
            }
            if form == Form::Block && out.lines().next_back().is_some_and(|it| !is_blank(it)) {
                out.push_str(self.newline);
            }
            out.push_str(&text.replace('\n', self.newline));
            let rest = &self.text.0[done..];
            if form == Form::Block && rest.lines().next().is_some_and(|it| !is_blank(it)) {
                out.push_str(self.newline);
            }
        }
        out.push_str(&self.text.0[done..]);
        out
    }
}
