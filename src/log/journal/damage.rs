//! The damage that was found, so that each lost range is told once.
//!
//! The damaged bytes stay where they are, as evidence, until retention deletes their segment. A range
//! counts as told when the bus, which writes a gap row of it, has appended something after it was handed
//! over; the file `damage` keeps those. So a crash in between tells it again rather than never.

use super::metrics;
use crate::log::Lost;
use greyhound_sdk::fs::{self, SharedFs};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// A lost range as the file has it.
type Line = String;

#[derive(Debug)]
pub(super) struct Damage {
    fs: SharedFs,
    path: PathBuf,
    known: HashSet<Line>,
    told: Vec<Line>,
    handed_over: Vec<Line>,
    fresh: Vec<Lost>,
}

impl Damage {
    pub fn open(fs: SharedFs, dir: &Path) -> io::Result<Self> {
        let path = dir.join("damage");
        let told: Vec<Line> = match fs::read(&*fs, &path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let known = told.iter().cloned().collect();
        Ok(Self { fs, path, known, told, handed_over: Vec::new(), fresh: Vec::new() })
    }

    /// Takes note of lost rows, of each once: neighbours may be found one by one or together.
    pub fn report(&mut self, lost: Lost) {
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
            tracing::error!(%lost, "the journal is damaged; the rows are lost, the damaged file is kept");
            self.fresh.push(lost);
        }
    }

    /// The parts of a range of `topic` that are not known to be lost.
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

    /// Hands over what was not handed over yet.
    pub fn take(&mut self) -> Vec<Lost> {
        let taken = std::mem::take(&mut self.fresh);
        self.handed_over.extend(taken.iter().map(line));
        taken
    }

    /// Something was appended durably: what had been handed over before is told.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.handed_over.is_empty() {
            return Ok(());
        }
        let told = [self.told.as_slice(), self.handed_over.as_slice()].concat();
        fs::replace(&*self.fs, &self.path, (told.join("\n") + "\n").as_bytes())?;
        self.told = told;
        self.handed_over.clear();
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

/// The range of a line of `topic`.
fn range(line: &str, topic: &str) -> Option<(u64, u64)> {
    let (first, last) = line.strip_prefix(topic)?.strip_prefix(' ')?.split_once(' ')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
