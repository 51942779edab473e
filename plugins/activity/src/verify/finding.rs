//! What can be wrong with a table.

use super::numbers::Range;
use std::fmt;

/// A fault in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Rows that are in no file and recorded in no gap.
    Missing {
        /// First and last.
        rows: Range,
        /// The directory that has the row before them; `None` if they are the first rows.
        after: Option<String>,
        /// Whether `greyhound.gap` is not closed up to then, so that their record may still come.
        is_open: bool,
        /// The file to which they were committed, according to `greyhound.sink`.
        committed: Option<String>,
    },
    /// Rows that are there twice.
    Double {
        /// First and last.
        rows: Range,
        /// A file with these rows.
        file: String,
        /// The other file or directory with them.
        other: String,
    },
    /// A file that cannot be read, or contradicts its name or footer.
    Damaged {
        /// What is wrong; it names the file.
        why: String,
    },
    /// A file whose values are not those that were committed.
    Changed {
        /// The file.
        file: String,
        /// The columns.
        columns: Vec<String>,
        /// Its first and last row.
        rows: Range,
        /// The oldest row in its node's journal, if known.
        earliest: Option<u64>,
    },
    /// A file that does not belong in the table.
    Stray {
        /// Its path.
        path: String,
    },
    /// A `_SUCCESS` that cannot be read, or contradicts the files beside it.
    Untrue {
        /// The directory.
        directory: String,
        /// The contradiction.
        why: String,
    },
    /// An hour that is not closed although a later one is.
    Open {
        /// The directory.
        directory: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { rows, after, committed: Some(file), .. } => {
                let place = after.as_ref().map_or("from the beginning".into(), |after| format!("after {after}"));
                write!(f, "{} missing {place}: by greyhound.sink they were committed to {file}", Rows(*rows))
            }
            Self::Missing { rows, after, is_open, committed: None } => {
                let place = after.as_ref().map_or("from the beginning".into(), |after| format!("after {after}"));
                match is_open {
                    false => write!(f, "{} missing {place}, and greyhound.gap does not tell of them", Rows(*rows)),
                    true => write!(
                        f,
                        "{} missing {place}; greyhound.gap may still tell of them: verify again when that hour is closed there",
                        Rows(*rows)
                    ),
                }
            }
            Self::Double { rows, file, other } => write!(f, "{} twice: in {file} and in {other}", Rows(*rows)),
            Self::Damaged { why } => f.write_str(why),
            Self::Changed { file, columns, rows, earliest } => {
                let (columns, remedy) = (columns.join(", "), remedy(*rows, *earliest));
                write!(f, "{file}: values of {columns} changed after they were committed: {remedy}")
            }
            Self::Stray { path } => {
                write!(f, "{path} is not Greyhound's, and readers of the table would read it: move it out of the table")
            }
            Self::Untrue { directory, why } => write!(f, "{directory}/_SUCCESS: {why}"),
            Self::Open { directory } => write!(f, "{directory} has no _SUCCESS, but later hours have"),
        }
    }
}

/// The remedy for a file with these rows whose values changed.
fn remedy((first, last): Range, earliest: Option<u64>) -> String {
    let (rewrite, keep) = (
        "move it out of the table, run `greyhound tables repair --from-journal`",
        "and keep it until that has written its rows again",
    );
    match earliest {
        Some(earliest) if earliest <= first => format!("{rewrite}, {keep}"),
        Some(_) => "restore it from a backup: the journal no longer has all of its rows".to_owned(),
        None => format!(
            "if the journal of its node has the rows {first} to {last}, {rewrite} on that node, {keep}; else restore it from a backup"
        ),
    }
}

/// Shows rows with their verb.
struct Rows(Range);

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (first, last) if first == last => write!(f, "row {first} is"),
            (first, last) => write!(f, "rows {first} to {last} are"),
        }
    }
}
