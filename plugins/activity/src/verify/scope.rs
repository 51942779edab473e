//! What is verified, and how closely.

use crate::layout::{Hour, parse};
use std::str::FromStr;
use std::time::Duration;

/// What is verified.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The tables; all if empty.
    pub topics: Vec<String>,
    /// Only this day.
    pub day: Option<Day>,
    /// Days that ended longer ago may have been removed, so a shard need not begin with its first row.
    pub retention: Option<Duration>,
    /// How closely.
    pub depth: Depth,
    /// The journals of nodes that answered, read before the verification.
    pub journals: Vec<Journal>,
}

/// How closely tables are verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Each row is there once.
    #[default]
    Rows,
    /// ... with the values that it had when it was committed.
    Values,
}

/// A node's journal of one topic.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Its shard.
    pub shard: String,
    /// The topic.
    pub topic: String,
    /// The oldest row in it.
    pub earliest: u64,
    /// The number after the last row that the node's sink committed.
    pub committed: u64,
}

/// A day (UTC), as people write it: `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(pub(super) Hour);

/// A text that is not a [`Day`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a day of the calendar, such as 2026-05-10")]
pub struct NotADay;

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        parse(&format!("dt={text}"), "hour=00").map(Self).ok_or(NotADay)
    }
}
