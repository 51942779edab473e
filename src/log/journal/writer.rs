//! Writes groups of frames to the disk, each with one sync.

use super::active::{Active, NextSegment, Space};
use super::frame::{Header, Kind};
use super::metrics;
use super::options::SyncPolicy;
use super::segment::Segment;
use super::shared::{Shared, Tail};
use crate::log::{Body, Frame, LogError, LogWriter};
use ::metrics::{Counter, Histogram, counter, histogram};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Memory of the buffer that is kept between groups.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Appends to the journal.
pub(super) struct JournalWriter {
    shared: Arc<Shared>,
    epoch: u64,
    group: Group,
    bytes: Counter,
    frames: Counter,
    sync_seconds: Histogram,
}

/// Frames in the format of the disk, and their headers.
#[derive(Default)]
struct Group {
    start: u64,
    bytes: Vec<u8>,
    headers: Vec<Header>,
    /// New topics, with their numbers.
    topics: Vec<(u16, Arc<str>)>,
    /// Whether the group begins a segment.
    new_segment: bool,
}

/// The fields of a header that do not depend on its place.
#[derive(Default)]
struct Fields {
    topic: u16,
    rows: u32,
    first: u64,
    time: i64,
    schema: u64,
}

// === impl Group ===

impl Group {
    fn begin(&mut self, start: u64) {
        self.start = start;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BUFFER_BYTES);
        self.headers.clear();
        self.topics.clear();
        self.new_segment = false;
    }

    fn add(&mut self, kind: Kind, fields: &Fields, body: &[u8]) -> Result<(), LogError> {
        let too_long =
            || LogError::Fatal("a frame exceeds the size limit of the journal: publish smaller batches".to_owned());
        let length = u32::try_from(body.len())
            .ok()
            .filter(|l| *l as usize <= crate::log::MAX_BODY_BYTES)
            .ok_or_else(too_long)?;
        let header = Header {
            kind,
            topic: fields.topic,
            length,
            rows: fields.rows,
            first: fields.first,
            time: fields.time,
            schema: fields.schema,
            acknowledged: self.start,
            offset: self.start + self.bytes.len() as u64,
            crc: crc32c::crc32c(body),
        };
        header.write(body, &mut self.bytes);
        self.headers.push(header);
        Ok(())
    }
}

// === impl JournalWriter ===

impl JournalWriter {
    /// Fences all earlier writers, and marks the journal as open: from now on, a stop without [`LogWriter::close`] is
    /// not clean.
    pub fn take_over(shared: &Arc<Shared>) -> Result<Self, LogError> {
        let epoch = {
            let mut tail = shared.tail.lock();
            tail.epoch += 1;
            tail.epoch
        };
        let mut writer = Self {
            shared: shared.clone(),
            epoch,
            group: Group::default(),
            bytes: counter!(metrics::BYTES),
            frames: counter!(metrics::FRAMES),
            sync_seconds: histogram!(metrics::SYNC_SECONDS),
        };
        let floor = shared.view.read().floor;
        // May use the reserve, so that the program starts on a full disk.
        writer.write_marker(Kind::Floor, floor, Space::Reserved)?;
        Ok(writer)
    }

    /// Writes the frames that `fill` adds to the group, and acknowledges them.
    fn write(
        &mut self,
        space: Space,
        fill: impl FnOnce(&Shared, &mut Group) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let shared = self.shared.clone();
        let mut tail = shared.tail.lock();
        if tail.epoch != self.epoch {
            return Err(LogError::Fenced);
        }
        let mut started = self.begin(&mut tail, space).map_err(|e| self.refused(&e))?;
        let prepared = fill(&shared, &mut self.group).and_then(|()| self.allocate(started.as_mut(), &mut tail, space));
        if let Err(e) = prepared {
            self.discard(started, &mut tail);
            return Err(e);
        }
        let written = self.write_group(started, &mut tail);
        written.map_err(|e| self.failed(&mut tail, &e))?;
        self.acknowledge();
        if tail.next.is_none() {
            // If this fails, it is tried again after the next group.
            tail.next = NextSegment::open(&*shared.fs, &shared.dir).ok();
        }
        drop(tail);
        shared.changes.send_modify(|n| *n += 1);
        if let Err(e) = shared.damage.lock().confirm() {
            tracing::warn!(error = %e, "cannot store which damage was reported; it will be reported again");
        }
        Ok(())
    }

    /// Begins a group. If the last segment is full or was abandoned, the group begins a new one, which is returned.
    fn begin(&mut self, tail: &mut Tail, space: Space) -> io::Result<Option<Active>> {
        let shared = &self.shared;
        let view = shared.view.read();
        let start = view.end();
        self.group.begin(start);
        let is_full = |active: &Active| start - active.base >= shared.segment_size && space == Space::Common;
        if tail.active.as_ref().is_some_and(|active| !is_full(active)) {
            return Ok(None);
        }
        self.group.new_segment = true;
        for (topic, known) in view.topics() {
            let fields = Fields { topic, first: known.next, time: view.floor, ..Fields::default() };
            self.group.add(Kind::Topic, &fields, known.name.as_bytes()).map_err(io::Error::other)?;
        }
        match tail.next.take() {
            Some(next) => next.begin(&*shared.fs, &shared.dir, start).map(Some),
            None => Active::create(&*shared.fs, &shared.dir, start).map(Some),
        }
    }

    /// Allocates disk space for the group.
    fn allocate(&self, started: Option<&mut Active>, tail: &mut Tail, space: Space) -> Result<(), LogError> {
        match started.or(tail.active.as_mut()).filter(|_| space == Space::Common) {
            Some(active) => active.allocate(self.group.start, self.group.bytes.len()).map_err(|e| self.refused(&e)),
            None => Ok(()),
        }
    }

    /// Removes a new segment to which nothing was written. The previous segment stays in use with its reserve, and no
    /// file may exist at an offset into which it grows.
    fn discard(&self, started: Option<Active>, tail: &mut Tail) {
        let Some(started) = started else { return };
        if let Err(e) = self.shared.fs.remove(&Segment::path(&self.shared.dir, started.base)) {
            tracing::debug!(error = %e, "cannot remove an empty segment");
            tail.active = None;
        }
    }

    /// Writes the group to the disk.
    fn write_group(&self, started: Option<Active>, tail: &mut Tail) -> io::Result<()> {
        if let Some(new) = started
            && let Some(full) = tail.active.replace(new)
        {
            self.seal(full)?;
        }
        let active = tail.active.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        active.write(&self.group.bytes, self.group.start)?;
        let sync = Instant::now();
        if self.shared.sync == SyncPolicy::Fsync {
            active.sync()?;
            self.sync_seconds.record(sync.elapsed());
        }
        if self.group.new_segment {
            self.shared.directory.sync()?;
        }
        Ok(())
    }

    fn seal(&self, mut full: Active) -> io::Result<()> {
        full.trim(self.group.start);
        if full.dirty && self.shared.sync != SyncPolicy::Memory { full.sync() } else { Ok(()) }
    }

    /// Handles a failed write or sync. The state of the disk after the last acknowledged byte is unknown, so the
    /// segment ends there.
    fn failed(&self, tail: &mut Tail, error: &io::Error) -> LogError {
        if let Some(left) = tail.active.take() {
            left.trim(self.group.start.max(left.base));
        }
        self.refused(error)
    }

    /// Returns the error of an attempt that wrote nothing.
    fn refused(&self, error: &io::Error) -> LogError {
        counter!(metrics::FAILURES).increment(1);
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        LogError::Retry { reason: format!("cannot write the journal in {}: {error}", self.shared.dir.display()), full }
    }

    /// Makes the written group visible to readers.
    fn acknowledge(&self) {
        let Group { start, bytes, headers, topics, new_segment } = &self.group;
        let mut view = self.shared.view.write();
        if *new_segment {
            view.segments.push_back(Segment::new(*start));
        }
        topics.iter().for_each(|(id, name)| view.declare(*id, name, 0));
        headers.iter().for_each(|header| view.note(header));
        drop(view);
        self.bytes.increment(bytes.len() as u64);
        self.frames.increment(headers.iter().filter(|h| h.is_numbered()).count() as u64);
        if *new_segment {
            self.shared.measure();
        }
    }

    fn frames(&mut self, frames: &[Frame], space: Space) -> Result<(), LogError> {
        self.write(space, |shared, group| {
            let view = shared.view.read();
            frames.iter().try_for_each(|frame| {
                let unknown = || LogError::Fatal(format!("topic {} was not registered", frame.topic));
                let topic = view.id(&frame.topic).ok_or_else(unknown)?;
                let fields = Fields { topic, rows: frame.rows, first: frame.first, time: frame.time, schema: 0 };
                match &frame.body {
                    Body::Rows { schema, batch } => group.add(Kind::Rows, &Fields { schema: *schema, ..fields }, batch),
                    Body::Hole => group.add(Kind::Hole, &fields, &[]),
                }
            })
        })
    }

    /// Writes a floor or close frame.
    fn write_marker(&mut self, kind: Kind, time: i64, space: Space) -> Result<(), LogError> {
        self.write(space, |shared, group| {
            let nexts = shared.view.read().nexts().encode();
            group.add(kind, &Fields { time, ..Fields::default() }, &nexts)
        })
    }
}

#[async_trait]
impl LogWriter for JournalWriter {
    async fn register(&mut self, topic: &str, fingerprint: u64, avro: &str) -> Result<(), LogError> {
        if self.shared.tail.lock().epoch != self.epoch {
            return Err(LogError::Fenced);
        }
        let kept = self.shared.schemas.write().add(topic, fingerprint, avro);
        kept.map_err(|e| {
            let full = e.kind() == io::ErrorKind::StorageFull;
            LogError::Retry { reason: format!("cannot store the schema of {topic}: {e}"), full }
        })?;
        if self.shared.view.read().id(topic).is_some() {
            return Ok(());
        }
        self.write(Space::Common, |shared, group| {
            let view = shared.view.read();
            let id = view.free_id();
            group.topics.push((id, topic.into()));
            group.add(Kind::Topic, &Fields { topic: id, time: view.floor, ..Fields::default() }, topic.as_bytes())
        })
    }

    async fn append(&mut self, group: &[Frame]) -> Result<(), LogError> {
        self.frames(group, Space::Common)
    }

    async fn floor(&mut self, time: i64) -> Result<(), LogError> {
        self.write_marker(Kind::Floor, time, Space::Common)
    }

    async fn append_reserved(&mut self, group: &[Frame]) -> Result<(), LogError> {
        self.frames(group, Space::Reserved)
    }

    async fn close(mut self: Box<Self>) -> Result<(), LogError> {
        let floor = self.shared.view.read().floor;
        self.write_marker(Kind::Close, floor, Space::Reserved)?;
        let mut tail = self.shared.tail.lock();
        match tail.active.as_mut().map_or(Ok(()), Active::sync) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.failed(&mut tail, &e)),
        }
    }
}
