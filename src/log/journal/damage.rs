//! Tracks damaged ranges, so that each is reported once.
//!
//! Damaged bytes are kept as evidence until retention deletes their segment. The bus writes a gap for each range that
//! it takes from here. A range counts as reported once the bus has appended something after taking it; the file
//! `damage` lists those ranges. Therefore a crash in between causes a second report rather than none.

use super::metrics;
use crate::log::Lost;
use greyhound_sdk::fs::{self, SharedFs};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// A line of the file: a lost range.
type Line = String;

#[derive(Debug)]
pub(super) struct Damage {
    fs: SharedFs,
    path: PathBuf,
    known: HashSet<Line>,
    reported: Vec<Line>,
    /// Taken, but not reported yet.
    taken: Vec<Line>,
    /// Not taken yet.
    fresh: Vec<Lost>,
}

impl Damage {
    pub fn open(fs: SharedFs, dir: &Path) -> io::Result<Self> {
        let path = dir.join("damage");
        let reported: Vec<Line> = match fs::read(&*fs, &path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let known = reported.iter().cloned().collect();
        Ok(Self { fs, path, known, reported, taken: Vec::new(), fresh: Vec::new() })
    }

    /// Adds lost rows, unless they are known. Neighbouring rows may be found one by one or together.
    pub fn add(&mut self, lost: Lost) {
        match lost.range {
            Some(range) => self
                .unknown(topic(&lost), range)
                .into_iter()
                .for_each(|range| self.note(Lost { range: Some(range), ..lost.clone() })),
            None => self.note(lost),
        }
    }

    fn note(&mut self, lost: Lost) {
        if self.known.insert(line(&lost)) {
            ::metrics::counter!(metrics::DAMAGED).increment(1);
            tracing::error!(%lost, "the journal is damaged: these rows are lost; the damaged file is kept");
            self.fresh.push(lost);
        }
    }

    /// Returns the parts of a range of `topic` that are not known to be lost.
    fn unknown(&self, topic: &str, (first, last): (u64, u64)) -> Vec<(u64, u64)> {
        let mut known: Vec<(u64, u64)> =
            self.known.iter().filter_map(|line| range(line, topic)).filter(|known| known.0 <= last).collect();
        known.sort_unstable();
        let (mut next, mut parts) = (first, Vec::new());
        for known in known {
            if known.0 > next {
                parts.push((next, known.0 - 1));
            }
            next = next.max(known.1.saturating_add(1));
        }
        if next <= last {
            parts.push((next, last));
        }
        parts
    }

    /// Takes the ranges that were not taken yet.
    pub fn take(&mut self) -> Vec<Lost> {
        let lost = std::mem::take(&mut self.fresh);
        self.taken.extend(lost.iter().map(line));
        lost
    }

    /// Marks the taken ranges as reported. Called after a durable append.
    pub fn confirm(&mut self) -> io::Result<()> {
        if self.taken.is_empty() {
            return Ok(());
        }
        let reported = [self.reported.as_slice(), self.taken.as_slice()].concat();
        fs::replace(&*self.fs, &self.path, (reported.join("\n") + "\n").as_bytes())?;
        self.reported = reported;
        self.taken.clear();
        Ok(())
    }
}

fn line(lost: &Lost) -> Line {
    let topic = topic(lost);
    match lost.range {
        Some((first, last)) => format!("{topic} {first} {last}"),
        None => format!("{topic} after {}", lost.from),
    }
}

fn topic(lost: &Lost) -> &str {
    lost.topic.as_deref().unwrap_or("*")
}

/// Parses the range of a line of `topic`.
fn range(line: &str, topic: &str) -> Option<(u64, u64)> {
    let (first, last) = line.strip_prefix(topic)?.strip_prefix(' ')?.split_once(' ')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
