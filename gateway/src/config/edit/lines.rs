//! The lines of a text, and the comments that go with them.

use std::ops::Range;

/// A text whose places are bytes.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a>(pub(super) &'a str);

impl<'a> Lines<'a> {
    /// What stands before a byte in its line.
    pub(super) fn before(self, at: usize) -> &'a str {
        &self.0[self.line_start(at)..at]
    }

    /// The white space that the line of a byte starts with.
    pub(super) fn margin(self, at: usize) -> &'a str {
        let line = &self.0[self.line_start(at)..];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }

    /// Where the line of a byte starts.
    pub(super) fn line_start(self, at: usize) -> usize {
        self.0[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Where the next line starts, or the text ends.
    pub(super) fn line_end(self, at: usize) -> usize {
        self.0[at..].find('\n').map_or(self.0.len(), |newline| at + newline + 1)
    }

    /// Where the comments start that stand directly above the line of a byte: it is theirs if no
    /// empty line lies between. Nothing before `floor` is looked at: it may be the end of a text
    /// of several lines.
    pub(super) fn comments_above(self, at: usize, floor: usize) -> usize {
        let mut start = self.line_start(at);
        while start > 0 {
            let line = self.line_start(start - 1);
            if line < floor || !is_comment(&self.0[line..start]) {
                break;
            }
            start = line;
        }
        start
    }

    /// Where the comments end that stand directly below the line that ends at `end`, if they are
    /// its own: followed by an empty line or nothing. Others belong to what they stand above.
    pub(super) fn comments_below(self, end: usize) -> usize {
        let mut below = end;
        while is_comment(&self.0[below..self.line_end(below)]) {
            below = self.line_end(below);
        }
        let next = &self.0[below..self.line_end(below)];
        if is_blank(next) { below } else { end }
    }

    /// Whether a part of the text says nothing: empty lines and comments only.
    pub(super) fn is_trivia(self, range: Range<usize>) -> bool {
        self.0[range].lines().all(|line| is_blank(line) || is_comment(line))
    }

    /// Where the empty lines start that stand directly above a line.
    pub(super) fn blank_lines_above(self, line: usize) -> usize {
        let mut start = line;
        while start > 0 {
            let above = self.line_start(start - 1);
            if !is_blank(&self.0[above..start]) {
                break;
            }
            start = above;
        }
        start
    }

    /// Where the empty lines end that stand directly below the line that ends at `end`.
    pub(super) fn blank_lines_below(self, end: usize) -> usize {
        let mut end = end;
        while end < self.0.len() && is_blank(&self.0[end..self.line_end(end)]) {
            end = self.line_end(end);
        }
        end
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

pub(super) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}
