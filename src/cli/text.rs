//! Tables for people.

use std::fmt::Write;

/// Longer cells are cut.
const WIDEST: usize = 40;

/// Columns as wide as their widest cell so far.
pub(super) struct Columns {
    heads: Vec<String>,
    widths: Vec<usize>,
}

impl Columns {
    pub(super) fn new(heads: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let heads: Vec<String> = heads.into_iter().map(Into::into).collect();
        let widths = heads.iter().map(|head| width(head)).collect();
        Self { heads, widths }
    }

    /// Widens the columns for these rows.
    pub(super) fn widen(&mut self, rows: &[Vec<String>]) {
        for row in rows {
            self.widths.iter_mut().zip(row).for_each(|(wide, cell)| *wide = width(cell).min(WIDEST).max(*wide));
        }
    }

    /// The header.
    pub(super) fn head(&self) -> String {
        self.line(&self.heads)
    }

    /// The line of a row.
    pub(super) fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (cell, wide) in cells.iter().zip(&self.widths) {
            let _ = write!(line, "{:wide$}  ", cut(cell, *wide));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A table with a header.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut columns = Columns::new(heads.iter().copied());
    columns.widen(rows);
    [columns.head()].into_iter().chain(rows.iter().map(|row| columns.line(row))).map(|line| line + "\n").collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, wide: usize) -> String {
    match width(text) > wide {
        true => text.chars().take(wide.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
