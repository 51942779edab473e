//! What is wrong with a table.

use super::numbers::Range;
use std::fmt;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Rows that no file has and no gap tells of.
    Missing {
        /// First and last.
        rows: Range,
        /// The directory that has the row before them; none where they are the first of all.
        after: Option<String>,
        /// Whether `greyhound.gap` is not yet closed up to then: what tells of them may be on its way.
        is_open: bool,
        /// The file that they were committed to, by `greyhound.sink`.
        committed: Option<String>,
    },
    /// Rows that are there twice.
    Double {
        /// First and last.
        rows: Range,
        /// A file that has them.
        file: String,
        /// The file or directory that has them as well.
        other: String,
    },
    /// A file that cannot be read, or is not what its name and footer say.
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
        /// The oldest row that the journal of its node has, if that is known.
        earliest: Option<u64>,
    },
    /// A file that has no place in the table.
    Stray {
        /// Its path.
        path: String,
    },
    /// A `_SUCCESS` that cannot be read, or does not agree with the files beside it.
    Untrue {
        /// The directory.
        directory: String,
        /// What does not agree.
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
                let place = after.as_ref().map_or("from the begin".into(), |after| format!("after {after}"));
                write!(f, "{} missing {place}: by greyhound.sink they were committed to {file}", Rows(*rows))
            }
            Self::Missing { rows, after, is_open, committed: None } => {
                let place = after.as_ref().map_or("from the begin".into(), |after| format!("after {after}"));
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

/// What to do about a file with these rows whose values have changed.
fn remedy((first, last): Range, earliest: Option<u64>) -> String {
    let rewrite = "move it out of the table and run `greyhound tables repair --from-journal`";
    match earliest {
        Some(earliest) if earliest <= first => format!("{rewrite}: the journal has its rows"),
        Some(_) => "restore it from a backup: the journal no longer has all of its rows".to_owned(),
        None => format!(
            "if the journal of its node has the rows {first} to {last}, {rewrite} on that node; else restore it from a backup"
        ),
    }
}

/// Rows as people name them, with the verb.
struct Rows(Range);

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (first, last) if first == last => write!(f, "row {first} is"),
            (first, last) => write!(f, "rows {first} to {last} are"),
        }
    }
}
