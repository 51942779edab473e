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

    /// Takes note of lost rows, once.
    pub fn report(&mut self, lost: Lost) {
        if self.known.insert(line(&lost)) {
            ::metrics::counter!(metrics::DAMAGED).increment(1);
            tracing::error!(?lost, "the journal is damaged; the rows are lost, the damaged file is kept");
            self.fresh.push(lost);
        }
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
    let topic = lost.topic.as_deref().unwrap_or("*");
    match lost.range {
        Some((first, last)) => format!("{topic} {first} {last}"),
        None => format!("{topic} after {}", lost.from),
    }
}
