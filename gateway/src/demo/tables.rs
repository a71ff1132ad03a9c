//! The tables at the end. Their rows come one by one, as the scenes find them.

use comfy_table::{CellAlignment, Table, presets};

/// What stands above the rows of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// What the table is about.
    pub title: &'static str,
    /// The names of its columns.
    pub columns: &'static [&'static str],
    /// Those with figures, which line up on the right.
    pub figures: &'static [usize],
}

/// All tables, in the order in which their first rows came.
#[derive(Debug, Default)]
pub(super) struct Tables(Vec<(&'static Head, Table)>);

impl Tables {
    /// Adds a row to a table, which begins with its first one.
    pub(super) fn add(&mut self, head: &'static Head, row: impl IntoIterator<Item = String>) {
        let known = self.0.iter().position(|(other, _)| *other == head);
        let place = known.unwrap_or_else(|| {
            self.0.push((head, empty(head)));
            self.0.len() - 1
        });
        self.0[place].1.add_row(row.into_iter().collect::<Vec<_>>());
    }

    /// Titles and tables.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Table)> {
        self.0.iter().map(|(head, table)| (head.title, table))
    }
}

fn empty(head: &Head) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(head.columns.to_vec());
    for figures in head.figures {
        if let Some(column) = table.column_mut(*figures) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_table_stand_together_and_figures_line_up() {
        const BIRDS: Head = Head { title: "Birds", columns: &["bird", "eggs"], figures: &[1] };
        const TREES: Head = Head { title: "Trees", columns: &["tree"], figures: &[] };

        let mut tables = Tables::default();
        tables.add(&BIRDS, ["robin", "6"].map(str::to_owned));
        tables.add(&TREES, ["oak".to_owned()]);
        tables.add(&BIRDS, ["swan", "12"].map(str::to_owned));
        let titles: Vec<_> = tables.iter().map(|(title, _)| title).collect();
        assert_eq!(titles, ["Birds", "Trees"]);
        let birds = tables.iter().next().unwrap().1.to_string();
        let rows: Vec<_> = birds.lines().skip(3).take(2).collect();
        assert_eq!(rows, ["│ robin ┆    6 │", "│ swan  ┆   12 │"], "{birds}");
    }
}
