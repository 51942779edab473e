//! Iterates over the frames of a segment, and over damage between them.

use super::frame::{HEADER_BYTES, Header};
use super::window::Window;
use crate::log::MAX_BODY_BYTES;
use greyhound_sdk::fs::File;
use std::io;

/// One step of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A frame. `body` is filled only for the journal's own kinds and for the topic of [`Check::Topic`].
    Frame { header: Header, body: Vec<u8> },
    /// A frame whose body is damaged.
    Corrupt(Header),
    /// Bytes that are not a frame, from the first offset up to the second.
    Damage(u64, u64),
}

/// Which bodies of rows are read and verified; the others are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// None.
    Headers,
    /// All, but none is returned.
    Bodies,
    /// Those of one topic, which are returned.
    Topic(u16),
}

/// A walk through the frames of a segment.
pub(super) struct Walk<'a> {
    window: Window<'a>,
    at: u64,
    end: u64,
    check: Check,
}

impl<'a> Walk<'a> {
    /// The read size if most bodies are skipped.
    const SKIPPING_READ_BYTES: usize = 4 << 10;
    /// The read size if all bodies are verified.
    const VERIFYING_READ_BYTES: usize = 1 << 20;

    /// Walks through the segment that begins at journal offset `base` and ends at `end` at the latest.
    pub fn new(file: &'a dyn File, base: u64, end: u64, check: Check) -> Self {
        Self::from(file, base, base, end, check)
    }

    /// Like `new`, from the frame at `start` on.
    pub fn from(file: &'a dyn File, base: u64, start: u64, end: u64, check: Check) -> Self {
        let read_bytes = if check == Check::Bodies { Self::VERIFYING_READ_BYTES } else { Self::SKIPPING_READ_BYTES };
        Self { window: Window::new(file, base, end, read_bytes), at: start, end, check }
    }

    /// Returns the next step; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Step>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let step = match self.header(self.at)? {
            Some(header) => self.frame(header)?,
            None => Step::Damage(self.at, self.resume()?),
        };
        self.at = match &step {
            Step::Frame { header, .. } | Step::Corrupt(header) => header.end(),
            Step::Damage(_, end) => *end,
        };
        Ok(Some(step))
    }

    fn frame(&mut self, header: Header) -> io::Result<Step> {
        let returned = !header.is_numbered() || self.check == Check::Topic(header.topic);
        if !returned && self.check != Check::Bodies {
            return Ok(Step::Frame { header, body: Vec::new() });
        }
        let body = self.window.get(header.offset + HEADER_BYTES as u64, header.length as usize)?;
        if body.len() != header.length as usize || crc32c::crc32c(body) != header.crc {
            return Ok(Step::Corrupt(header));
        }
        Ok(Step::Frame { header, body: if returned { body.to_vec() } else { Vec::new() } })
    }

    fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        let header = Header::read(self.window.get(at, HEADER_BYTES)?, at);
        Ok(header.filter(|h| h.length as usize <= MAX_BODY_BYTES && h.end() <= self.end))
    }

    /// Returns the offset of the next frame after the damage at `self.at`, or the end. Frames begin at multiples of 8.
    fn resume(&mut self) -> io::Result<u64> {
        let mut at = self.at + 8;
        while at < self.end && !self.window.get(at, HEADER_BYTES)?.is_empty() {
            if self.header(at)?.is_some() {
                return Ok(at);
            }
            at += 8;
        }
        Ok(self.end)
    }
}

/// Returns the start of a segment's torn tail: the first damage at or after the highest acknowledged offset in its
/// frames. `None` if nothing is torn; damage before that offset was intact once.
pub(super) fn torn_at(steps: &[Step]) -> Option<u64> {
    let acknowledged = steps.iter().filter_map(header_of).map(|h| h.acknowledged).max().unwrap_or(0);
    steps.iter().filter_map(damaged_from).find(|from| *from >= acknowledged)
}

fn header_of(step: &Step) -> Option<&Header> {
    match step {
        Step::Frame { header, .. } | Step::Corrupt(header) => Some(header),
        Step::Damage(..) => None,
    }
}

fn damaged_from(step: &Step) -> Option<u64> {
    match step {
        Step::Corrupt(header) => Some(header.offset),
        Step::Damage(from, _) => Some(*from),
        Step::Frame { .. } => None,
    }
}

impl Step {
    /// Returns the offset at which it begins.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Frame { header, .. } | Self::Corrupt(header) => header.offset,
            Self::Damage(from, _) => *from,
        }
    }
}
