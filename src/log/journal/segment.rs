//! What is known of a segment without reading it: enough to find a row in it, and to let it go.

use super::frame::Header;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A topic has a mark in a segment about every so many bytes.
const MARK_EVERY: u64 = 64 << 10;

/// One file of the journal: the bytes of the journal from `base` up to `end`.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub base: u64,
    pub end: u64,
    /// By topic, what it holds.
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
    /// What its frames take.
    pub bytes: u64,
    marks: Vec<Mark>,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    offset: u64,
}

impl Segment {
    pub fn new(base: u64) -> Self {
        Self { base, end: base, spans: HashMap::new(), last_time: i64::MIN }
    }

    /// The file of the segment that begins at `base`.
    pub fn path(dir: &Path, base: u64) -> PathBuf {
        dir.join(format!("{base:020}.log"))
    }

    /// The `base` of a file name, if it is a segment's.
    pub fn base_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".log").filter(|d| d.len() == 20)?;
        digits.parse().ok()
    }

    pub fn size(&self) -> u64 {
        self.end - self.base
    }

    /// Takes note of a frame.
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
        if self.marks.last().is_none_or(|m| header.offset - m.offset >= MARK_EVERY) {
            self.marks.push(Mark { first: header.first, offset: header.offset });
        }
    }

    /// The offset from which to look for row `from`, or the next there is.
    pub fn locate(&self, from: u64) -> u64 {
        let after = self.marks.partition_point(|m| m.first <= from);
        self.marks[after.saturating_sub(1)].offset
    }
}
