//! Elements that come into an array, or entries into an inline table, and others that go.

use std::ops::Range;

use super::lines::{Lines, is_blank};
use super::splices::Splices;
use super::style;

/// An array or inline table of the text.
pub(super) struct Sequence<'a> {
    pub(super) text: Lines<'a>,
    /// With its brackets.
    pub(super) span: Range<usize>,
    /// Its elements or entries.
    pub(super) items: Vec<Range<usize>>,
    pub(super) brackets: Brackets,
}

/// What is around a sequence.
pub(super) enum Brackets {
    /// `[…]`, an array.
    Square,
    /// `{ … }`, an inline table.
    Curly,
}

/// What the sequence is to consist of.
pub(super) enum Part {
    /// One of its items as it is written.
    Keep(usize),
    /// One of its items, written anew.
    Become(usize, String),
    /// Another one.
    Insert(String),
}

impl Sequence<'_> {
    /// Makes the sequence consist of `parts`, which name its items in their order. One on a single
    /// line is laid out again, in one with several lines only the lines concerned change.
    pub(super) fn rearrange(&self, splices: &mut Splices<'_>, parts: Vec<Part>) {
        let text = &self.text.0[self.span.clone()];
        let anything_left = parts.iter().any(|part| !matches!(part, Part::Insert(_)));
        if text.contains('\n') && anything_left {
            self.rearrange_lines(splices, parts);
        } else {
            self.lay_out(splices, parts);
        }
    }

    fn lay_out(&self, splices: &mut Splices<'_>, parts: Vec<Part>) {
        let texts: Vec<_> = parts
            .into_iter()
            .map(|part| match part {
                Part::Keep(item) => self.text.0[self.items[item].clone()].to_owned(),
                Part::Become(_, text) | Part::Insert(text) => text,
            })
            .collect();
        let text = match self.brackets {
            Brackets::Square => style::array(&texts, self.text.before(self.span.start)),
            Brackets::Curly => style::inline_table(&texts),
        };
        splices.replace(self.span.clone(), text);
    }

    fn rearrange_lines(&self, splices: &mut Splices<'_>, parts: Vec<Part>) {
        let mut stays = vec![false; self.items.len()];
        let mut last = None;
        let mut new = Vec::new();
        for part in parts {
            let item = match part {
                Part::Insert(text) => {
                    new.push(text);
                    continue;
                }
                Part::Keep(item) => item,
                Part::Become(item, text) => {
                    splices.replace(self.items[item].clone(), text);
                    item
                }
            };
            self.insert(splices, last, &std::mem::take(&mut new));
            stays[item] = true;
            last = Some(item);
        }
        self.insert(splices, last, &new);
        for item in (0..self.items.len()).filter(|item| !stays[*item]) {
            self.remove(splices, item);
        }
    }

    /// Inserts behind an item, or before the first.
    fn insert(&self, splices: &mut Splices<'_>, behind: Option<usize>, new: &[String]) {
        if new.is_empty() {
            return;
        }
        let Some(behind) = behind else {
            let first = self.items[0].start;
            let margin = self.text.before(first);
            if is_blank(margin) {
                let at = self.text.comments_above(first, self.span.start);
                splices.insert_lines(at, style::element_lines(margin, new));
            } else {
                splices.insert(first, new.join(", ") + ", ");
            }
            return;
        };
        let item = self.items[behind].clone();
        let comma = self.comma(behind);
        let at = comma.unwrap_or(item.end);
        let line_end = self.text.line_end(at);
        if self.text.is_trivia(at..line_end) && line_end < self.span.end {
            if comma.is_none() {
                splices.insert(item.end, ",");
            }
            let beside_bracket = self.text.line_start(item.start) <= self.span.start;
            let further = if beside_bracket { style::INDENT } else { "" };
            let margin = format!("{}{further}", self.text.margin(item.start));
            splices.insert_lines(line_end, style::element_lines(&margin, new));
        } else if comma.is_some() {
            splices.insert(at, format!(" {},", new.join(", ")));
        } else {
            splices.insert(at, format!(", {}", new.join(", ")));
        }
    }

    /// Takes an item out with its comma and, if its lines are its own, with them and the comments
    /// directly above. A comma that is left at the end may stand there.
    fn remove(&self, splices: &mut Splices<'_>, item: usize) {
        let Range { start, end } = self.items[item].clone();
        let end = self.comma(item).unwrap_or(end);
        let line_end = self.text.line_end(end);
        let starts_line = is_blank(self.text.before(start));
        if starts_line && self.text.is_trivia(end..line_end) && line_end < self.span.end {
            let floor = item.checked_sub(1).map_or(self.span.start, |above| self.items[above].end);
            splices.replace(self.text.comments_above(start, floor)..line_end, "");
        } else {
            let spaces = self.text.0[end..].bytes().take_while(|byte| *byte == b' ').count();
            splices.replace(start..end + spaces, "");
        }
    }

    /// The place behind the comma that follows an item.
    fn comma(&self, item: usize) -> Option<usize> {
        let end = self.items[item].end;
        let next = self.items.get(item + 1).map_or(self.span.end, |next| next.start);
        let mut comment = false;
        for (at, byte) in self.text.0[end..next].bytes().enumerate() {
            match byte {
                b'#' => comment = true,
                b'\n' => comment = false,
                b',' if !comment => return Some(end + at + 1),
                _ => {}
            }
        }
        None
    }
}
