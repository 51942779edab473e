//! From frame to frame through a segment, over damage.

use super::frame::{HEADER, Header};
use super::window::Window;
use crate::log::MAX_BODY;
use greyhound_sdk::fs::File;
use std::io;

/// What there is at a place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A frame. `body` is there for the journal's own kinds and the topic that is read.
    Frame { header: Header, body: Vec<u8> },
    /// A frame whose body is damaged.
    Spoilt(Header),
    /// Bytes that are no frame, from the first offset up to the second.
    Damage(u64, u64),
}

/// Which bodies of rows are read and checked; the others are hopped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// None.
    Headers,
    /// All, but none is handed out.
    Bodies,
    /// Those of one topic, which are handed out.
    Topic(u16),
}

/// A walk through a segment.
pub(super) struct Walk<'a> {
    window: Window<'a>,
    at: u64,
    end: u64,
    check: Check,
}

impl<'a> Walk<'a> {
    /// Hopping looks at little more than the headers; checking reads in large strides.
    const HOP: usize = 4 << 10;
    const STRIDE: usize = 1 << 20;

    /// Through the segment that begins at journal offset `base` and ends, at the latest, at `end`.
    pub fn new(file: &'a dyn File, base: u64, end: u64, check: Check) -> Self {
        Self::from(file, base, base, end, check)
    }

    /// As `new`, from the frame at `start` on.
    pub fn from(file: &'a dyn File, base: u64, start: u64, end: u64, check: Check) -> Self {
        let stride = if check == Check::Bodies { Self::STRIDE } else { Self::HOP };
        Self { window: Window::new(file, base, end, stride), at: start, end, check }
    }

    /// The next step; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Step>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let step = match self.header(self.at)? {
            Some(header) => self.frame(header)?,
            None => Step::Damage(self.at, self.resume()?),
        };
        self.at = match &step {
            Step::Frame { header, .. } | Step::Spoilt(header) => header.end(),
            Step::Damage(_, end) => *end,
        };
        Ok(Some(step))
    }

    fn frame(&mut self, header: Header) -> io::Result<Step> {
        let handed_out = !header.is_numbered() || self.check == Check::Topic(header.topic);
        if !handed_out && self.check != Check::Bodies {
            return Ok(Step::Frame { header, body: Vec::new() });
        }
        let body = self.window.get(header.offset + HEADER as u64, header.length as usize)?;
        if body.len() != header.length as usize || crc32c::crc32c(body) != header.crc {
            return Ok(Step::Spoilt(header));
        }
        Ok(Step::Frame { header, body: if handed_out { body.to_vec() } else { Vec::new() } })
    }

    fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        let header = Header::read(self.window.get(at, HEADER)?, at);
        Ok(header.filter(|h| h.length as usize <= MAX_BODY && h.end() <= self.end))
    }

    /// The offset of the next frame after the broken one at `self.at`, or the end. Frames begin at multiples of 8.
    fn resume(&mut self) -> io::Result<u64> {
        let mut at = self.at + 8;
        while at < self.end && !self.window.get(at, HEADER)?.is_empty() {
            if self.header(at)?.is_some() {
                return Ok(at);
            }
            at += 8;
        }
        Ok(self.end)
    }
}

/// Where a segment's torn tail begins: at the first damage that no later frame knows as acknowledged.
/// `None` where nothing is torn, and what is damaged was whole once.
pub(super) fn torn_at(steps: &[Step]) -> Option<u64> {
    let acknowledged = steps.iter().filter_map(header_of).map(|h| h.acknowledged).max().unwrap_or(0);
    steps.iter().filter_map(damaged_from).find(|from| *from >= acknowledged)
}

fn header_of(step: &Step) -> Option<&Header> {
    match step {
        Step::Frame { header, .. } | Step::Spoilt(header) => Some(header),
        Step::Damage(..) => None,
    }
}

fn damaged_from(step: &Step) -> Option<u64> {
    match step {
        Step::Spoilt(header) => Some(header.offset),
        Step::Damage(from, _) => Some(*from),
        Step::Frame { .. } => None,
    }
}

impl Step {
    /// The offset where it begins.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Frame { header, .. } | Self::Spoilt(header) => header.offset,
            Self::Damage(from, _) => *from,
        }
    }
}
