//! Reads the frames of one topic from a row on.

use super::frame::{Header, Kind};
use super::segment::Segment;
use super::shared::Shared;
use super::walk::{Check, Step, Walk};
use crate::log::{Body, Frame, Lost, Stored};
use std::io;
use std::sync::Arc;

/// The rows of the topic in one segment.
struct Place {
    base: u64,
    /// The offset at which to start.
    start: u64,
    /// The end of the segment's acknowledged bytes.
    end: u64,
    /// The number after the topic's last row in the segment.
    next: u64,
    time: i64,
}

/// The state of one read.
struct Reading<'a> {
    shared: &'a Shared,
    id: u16,
    topic: Arc<str>,
    expected: u64,
    time: i64,
    max_bytes: usize,
    bytes: usize,
    stored: Vec<Stored>,
}

/// See [`crate::log::Log::read`].
pub(super) fn read(shared: &Shared, id: u16, from: u64, max_bytes: usize) -> io::Result<Vec<Stored>> {
    let Some(topic) = shared.view.read().topic(id).map(|t| t.name.clone()) else { return Ok(Vec::new()) };
    let mut reading =
        Reading { shared, id, topic, expected: from, time: i64::MIN, max_bytes, bytes: 0, stored: Vec::new() };
    while reading.stored.is_empty() {
        let Some(place) = reading.place() else { break };
        reading.segment(&place)?;
    }
    Ok(reading.stored)
}

// === impl Reading ===

impl Reading<'_> {
    /// Returns the place of the expected row, or of the next row that exists.
    fn place(&mut self) -> Option<Place> {
        let view = self.shared.view.read();
        // Rows that retention deleted are not damaged.
        self.expected = self.expected.max(view.topic(self.id)?.earliest);
        let hint = self.shared.hints.lock().take(self.id, self.expected);
        let segment =
            view.segments.iter().find(|s| s.spans.get(&self.id).is_some_and(|span| span.end > self.expected))?;
        let span = segment.spans.get(&self.id)?;
        let start =
            hint.filter(|at| (segment.base..segment.end).contains(at)).unwrap_or_else(|| span.locate(self.expected));
        Some(Place { base: segment.base, start, end: segment.end, next: span.end, time: span.times.1 })
    }

    fn segment(&mut self, place: &Place) -> io::Result<()> {
        let file = match self.shared.fs.open_read(&Segment::path(&self.shared.dir, place.base)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.missing(place);
                return Ok(());
            }
            other => other?,
        };
        let mut walk = Walk::from(&*file, place.base, place.start, place.end, Check::Topic(self.id));
        while let Some(step) = walk.next()? {
            match step {
                Step::Frame { header, body } if self.is_mine(&header) => {
                    self.frame(&header, body);
                    if self.bytes >= self.max_bytes {
                        self.shared.hints.lock().put(self.id, self.expected, header.end());
                        return Ok(());
                    }
                }
                Step::Corrupt(header) if self.is_mine(&header) => self.lost(header.next(), header.time),
                _ => {}
            }
        }
        self.lost(place.next, place.time);
        self.shared.hints.lock().put(self.id, self.expected, place.end);
        Ok(())
    }

    fn is_mine(&self, header: &Header) -> bool {
        header.is_numbered() && header.topic == self.id && header.next() > self.expected
    }

    fn frame(&mut self, header: &Header, body: Vec<u8>) {
        // Holes have frames of their own, so rows without a frame are damaged.
        self.lost(header.first, header.time);
        self.expected = header.next();
        self.time = header.time;
        if header.kind == Kind::Rows {
            self.bytes += body.len();
            let body = Body::Rows { schema: header.schema, batch: body.into() };
            let frame =
                Frame { topic: self.topic.clone(), first: header.first, rows: header.rows, time: header.time, body };
            self.stored.push(Stored { frame, crc: header.crc });
        }
    }

    /// Reports the rows from the expected one up to `next` as damaged.
    fn lost(&mut self, next: u64, time: i64) {
        if next > self.expected {
            let range = Some((self.expected, next - 1));
            let lost = Lost { topic: Some(self.topic.clone()), range, from: self.time.max(0).min(time), to: time };
            self.shared.damage.lock().add(lost);
            self.expected = next;
        }
    }

    /// Handles a missing segment file. If the segment is still in the view, retention did not delete it, so its rows
    /// are lost.
    fn missing(&mut self, place: &Place) {
        if self.shared.view.read().segments.iter().any(|s| s.base == place.base) {
            tracing::error!(segment = place.base, "a segment file of the journal is missing");
            self.lost(place.next, place.time);
        }
    }
}
