//! The write side: groups of frames onto the disk, each with one sync.

use super::active::{Active, Ahead, Space};
use super::frame::{Header, Kind};
use super::segment::Segment;
use super::{Level, Shared, Tail, metrics};
use crate::log::{Body, Frame, LogError, LogWriter};
use ::metrics::{Counter, Histogram, counter, histogram};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The buffer of a group is kept for the next one up to this size.
const KEPT_BUFFER: usize = 4 << 20;

/// Appends to the journal.
pub(super) struct JournalWriter {
    shared: Arc<Shared>,
    epoch: u64,
    group: Group,
    bytes: Counter,
    frames: Counter,
    sync_seconds: Histogram,
}

/// Frames as they will lie on the disk, and their headers.
#[derive(Default)]
struct Group {
    start: u64,
    bytes: Vec<u8>,
    headers: Vec<Header>,
    /// Topics that it makes known, by their number.
    topics: Vec<(u16, Arc<str>)>,
    /// Whether it begins a segment.
    new_segment: bool,
}

/// What a frame says of itself, besides its place.
#[derive(Default)]
struct Words {
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
        self.bytes.shrink_to(KEPT_BUFFER);
        self.headers.clear();
        self.topics.clear();
        self.new_segment = false;
    }

    fn add(&mut self, kind: Kind, words: &Words, body: &[u8]) -> Result<(), LogError> {
        let too_long =
            || LogError::Fatal("a frame is longer than the journal can hold: publish smaller batches".to_owned());
        let length =
            u32::try_from(body.len()).ok().filter(|l| *l as usize <= crate::log::MAX_BODY).ok_or_else(too_long)?;
        let header = Header {
            kind,
            topic: words.topic,
            length,
            rows: words.rows,
            first: words.first,
            time: words.time,
            schema: words.schema,
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
    /// Fences every writer before this one, and marks the journal as open: from here on, an end without
    /// [`LogWriter::close`] is not clean.
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
        // Into the reserve, if need be: a full disk must not keep a program from starting.
        writer.tell(Kind::Floor, floor, Space::Reserved)?;
        Ok(writer)
    }

    /// Writes what `fill` puts into the group, and acknowledges it.
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
        let prepared = fill(&shared, &mut self.group).and_then(|()| self.claim(started.as_mut(), &mut tail, space));
        if let Err(e) = prepared {
            self.discard(started, &mut tail);
            return Err(e);
        }
        let written = self.lay(started, &mut tail);
        written.map_err(|e| self.failed(&mut tail, &e))?;
        self.acknowledge();
        if tail.ahead.is_none() {
            // If not now, then after the next group.
            tail.ahead = Ahead::open(&*shared.fs, &shared.dir).ok();
        }
        drop(tail);
        shared.changes.send_modify(|n| *n += 1);
        if let Err(e) = shared.damage.lock().settle() {
            tracing::warn!(error = %e, "damage that was told could not be noted as told; it will be told again");
        }
        Ok(())
    }

    /// Begins a group, in a new segment where the last one is full or was left behind. Returns the new segment.
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
            let words = Words { topic, first: known.next, time: view.floor, ..Words::default() };
            self.group.add(Kind::Topic, &words, known.name.as_bytes()).map_err(io::Error::other)?;
        }
        match tail.ahead.take() {
            Some(ahead) => ahead.begin(&*shared.fs, &shared.dir, start).map(Some),
            None => Active::create(&*shared.fs, &shared.dir, start).map(Some),
        }
    }

    /// Makes sure that the group finds room.
    fn claim(&self, started: Option<&mut Active>, tail: &mut Tail, space: Space) -> Result<(), LogError> {
        match started.or(tail.active.as_mut()).filter(|_| space == Space::Common) {
            Some(active) => active.claim(self.group.start, self.group.bytes.len()).map_err(|e| self.refused(&e)),
            None => Ok(()),
        }
    }

    /// Nothing is written to a segment that was started: the one before goes on, and its reserve is kept. No file
    /// may stand where it grows.
    fn discard(&self, started: Option<Active>, tail: &mut Tail) {
        let Some(started) = started else { return };
        if let Err(e) = self.shared.fs.remove(&Segment::path(&self.shared.dir, started.base)) {
            tracing::debug!(error = %e, "an empty segment could not be removed");
            tail.active = None;
        }
    }

    /// Puts the group's bytes on the disk.
    fn lay(&self, started: Option<Active>, tail: &mut Tail) -> io::Result<()> {
        if let Some(new) = started
            && let Some(full) = tail.active.replace(new)
        {
            self.seal(full)?;
        }
        let active = tail.active.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        active.write(&self.group.bytes, self.group.start)?;
        let sync = Instant::now();
        if self.shared.level == Level::Fsync {
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
        if full.dirty && self.shared.level != Level::Memory { full.sync() } else { Ok(()) }
    }

    /// A write or a sync failed: nobody knows what is on the disk behind the last acknowledged byte, so the segment
    /// ends there.
    fn failed(&self, tail: &mut Tail, error: &io::Error) -> LogError {
        if let Some(left) = tail.active.take() {
            left.trim(self.group.start.max(left.base));
        }
        self.refused(error)
    }

    /// Nothing was written.
    fn refused(&self, error: &io::Error) -> LogError {
        counter!(metrics::FAILURES).increment(1);
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        LogError::Retry {
            reason: format!("the journal in {} cannot be written: {error}", self.shared.dir.display()),
            full,
        }
    }

    /// The group is durable: readers may see it.
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
                let words = Words { topic, rows: frame.rows, first: frame.first, time: frame.time, schema: 0 };
                match &frame.body {
                    Body::Rows { schema, batch } => group.add(Kind::Rows, &Words { schema: *schema, ..words }, batch),
                    Body::Hole => group.add(Kind::Hole, &words, &[]),
                }
            })
        })
    }

    /// Writes a floor or the closing frame.
    fn tell(&mut self, kind: Kind, time: i64, space: Space) -> Result<(), LogError> {
        self.write(space, |shared, group| {
            let nexts = shared.view.read().nexts().encode();
            group.add(kind, &Words { time, ..Words::default() }, &nexts)
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
            LogError::Retry { reason: format!("the schema of {topic} cannot be kept: {e}"), full }
        })?;
        if self.shared.view.read().id(topic).is_some() {
            return Ok(());
        }
        self.write(Space::Common, |shared, group| {
            let view = shared.view.read();
            let id = view.free_id();
            group.topics.push((id, topic.into()));
            group.add(Kind::Topic, &Words { topic: id, time: view.floor, ..Words::default() }, topic.as_bytes())
        })
    }

    async fn append(&mut self, group: &[Frame]) -> Result<(), LogError> {
        self.frames(group, Space::Common)
    }

    async fn floor(&mut self, time: i64) -> Result<(), LogError> {
        self.tell(Kind::Floor, time, Space::Common)
    }

    async fn append_reserved(&mut self, group: &[Frame]) -> Result<(), LogError> {
        self.frames(group, Space::Reserved)
    }

    async fn close(mut self: Box<Self>) -> Result<(), LogError> {
        let floor = self.shared.view.read().floor;
        self.tell(Kind::Close, floor, Space::Reserved)?;
        let mut tail = self.shared.tail.lock();
        match tail.active.as_mut().map_or(Ok(()), Active::sync) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.failed(&mut tail, &e)),
        }
    }
}
