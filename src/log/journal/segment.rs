//! The index of a segment in memory: enough to find its rows and to apply retention.

use super::frame::Header;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The distance between two marks of a topic.
const MARK_INTERVAL_BYTES: u64 = 64 << 10;

/// One file of the journal, with the journal's bytes from `base` up to `end`.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub base: u64,
    pub end: u64,
    /// Its rows by topic.
    pub spans: HashMap<u16, Span>,
    /// The time of its last frame.
    pub last_time: i64,
}

/// The rows of one topic in one segment.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// The number of the first row.
    pub first: u64,
    /// The number after the last row.
    pub end: u64,
    /// The times of the first and the last frame.
    pub times: (i64, i64),
    /// The size of its frames.
    pub bytes: u64,
    marks: Vec<Mark>,
}

/// The place of a frame.
#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    offset: u64,
}

impl Segment {
    pub fn new(base: u64) -> Self {
        Self { base, end: base, spans: HashMap::new(), last_time: i64::MIN }
    }

    /// Returns the path of the segment that begins at `base`.
    pub fn path(dir: &Path, base: u64) -> PathBuf {
        dir.join(format!("{base:020}.log"))
    }

    /// Parses the base from the file name of a segment; `None` for other files.
    pub fn base_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".log").filter(|d| d.len() == 20)?;
        digits.parse().ok()
    }

    pub fn size(&self) -> u64 {
        self.end - self.base
    }

    /// Adds a frame to the index.
    pub fn note(&mut self, header: &Header) {
        self.end = header.end();
        self.last_time = self.last_time.max(header.time);
        if header.is_numbered() {
            self.spans.entry(header.topic).or_insert_with(|| Span::new(header)).note(header);
        }
    }
}

impl Span {
    fn new(header: &Header) -> Self {
        Self { first: header.first, end: header.first, times: (header.time, header.time), bytes: 0, marks: Vec::new() }
    }

    fn note(&mut self, header: &Header) {
        self.end = self.end.max(header.next());
        self.times.1 = self.times.1.max(header.time);
        self.bytes += header.size();
        if self.marks.last().is_none_or(|m| header.offset - m.offset >= MARK_INTERVAL_BYTES) {
            self.marks.push(Mark { first: header.first, offset: header.offset });
        }
    }

    /// Returns the offset at which to start looking for row `from`, or the next one.
    pub fn locate(&self, from: u64) -> u64 {
        let after = self.marks.partition_point(|m| m.first <= from);
        self.marks[after.saturating_sub(1)].offset
    }
}
