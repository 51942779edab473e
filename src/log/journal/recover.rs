//! Reads the journal when it is opened: builds the [`View`], cuts off a torn tail, and reports damage before the tail.

use super::damage::Damage;
use super::frame::{Header, Kind, NextNumbers};
use super::segment::Segment;
use super::view::View;
use super::walk::{Check, Step, Walk, torn_at};
use crate::log::Lost;
use greyhound_sdk::fs::{File, FileSystem};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// If damage hides how many numbers a topic has used, this many are skipped, so that none is assigned twice.
const SKIPPED_NUMBERS: u64 = 1 << 20;

/// The state of the journal's files.
#[derive(Debug)]
pub(super) struct Recovered {
    pub view: View,
    /// Whether the last frame marks the journal as closed.
    pub clean: bool,
    /// Whether a topic has a number that no frame records yet. The next group must then begin a segment, which starts
    /// with the numbers of all topics.
    pub begin_segment: bool,
}

/// Reads all segments in `dir`, and syncs the last one, because a killed process may have left its bytes only in the
/// cache. `known` holds the names of all topics.
pub(super) fn recover(
    fs: &dyn FileSystem,
    dir: &Path,
    known: &BTreeSet<Arc<str>>,
    damage: &mut Damage,
) -> io::Result<Recovered> {
    let mut bases: Vec<u64> = fs.list(dir)?.iter().filter_map(|name| Segment::base_of(name)).collect();
    let tail = tail(fs, dir, &mut bases)?;
    let mut recovery = Recovery::default();
    recovery.read(fs, dir, &bases, tail.as_ref())?;
    if recovery.unnamed.is_some() {
        // A later segment may have the name of a topic whose first name frame is damaged.
        let names = recovery.view.topics().map(|(id, topic)| (id, topic.name.clone())).collect();
        recovery = Recovery { names, ..Recovery::default() };
        recovery.read(fs, dir, &bases, tail.as_ref())?;
    }
    recovery.skip_unknown();
    let begin_segment = recovery.redeclare_lost(known);
    recovery.lost.into_iter().for_each(|lost| damage.add(lost));
    Ok(Recovered { view: recovery.view, clean: recovery.closed, begin_segment })
}

/// The intact part of the last segment.
struct TailSegment {
    base: u64,
    steps: Vec<Step>,
    end: u64,
}

/// Removes the last segment from `bases`, cuts off its torn tail, and syncs the rest. A segment with only topic frames
/// is deleted: the segment before it then becomes the last, and no file may exist at an offset into which it grows.
fn tail(fs: &dyn FileSystem, dir: &Path, bases: &mut Vec<u64>) -> io::Result<Option<TailSegment>> {
    while let Some(base) = bases.pop() {
        let path = Segment::path(dir, base);
        let file = fs.open(&path)?;
        let tail = read_tail(&*file, base)?;
        if tail.steps.iter().all(|step| matches!(step, Step::Frame { header, .. } if header.kind == Kind::Topic)) {
            drop(file);
            fs.remove(&path)?;
            fs.sync_dir(dir)?;
            continue;
        }
        let len = base + file.len()?;
        if tail.end < len {
            tracing::info!(
                offset = tail.end,
                bytes = len - tail.end,
                "the journal ends in a torn write; its unacknowledged bytes are cut off"
            );
            file.set_len(tail.end - base)?;
        }
        file.sync()?;
        return Ok(Some(tail));
    }
    Ok(None)
}

fn read_tail(file: &dyn File, base: u64) -> io::Result<TailSegment> {
    let len = base + file.len()?;
    let mut walk = Walk::new(file, base, len, Check::Bodies);
    let mut steps = Vec::new();
    while let Some(step) = walk.next()? {
        steps.push(step);
    }
    let end = torn_at(&steps).unwrap_or(len);
    steps.retain(|step| step.offset() < end);
    Ok(TailSegment { base, steps, end })
}

#[derive(Default)]
struct Recovery {
    view: View,
    lost: Vec<Lost>,
    closed: bool,
    /// The offset of the last damage.
    damaged_at: Option<u64>,
    /// By topic, the offset of the last frame that determines its next number.
    numbered_at: HashMap<u16, u64>,
    /// By topic, the time of its last frame.
    times: HashMap<u16, i64>,
    /// The names of topics anywhere in the journal.
    names: HashMap<u16, Arc<str>>,
    /// The highest topic and the highest next number in frames of topics without a name.
    unnamed: Option<(u16, u64)>,
}

impl Recovery {
    fn read(&mut self, fs: &dyn FileSystem, dir: &Path, bases: &[u64], tail: Option<&TailSegment>) -> io::Result<()> {
        let Some(tail) = tail else { return Ok(()) };
        for (at, base) in bases.iter().enumerate() {
            let end = bases.get(at + 1).unwrap_or(&tail.base);
            self.sealed(&*fs.open_read(&Segment::path(dir, *base))?, *base, *end)?;
        }
        self.tail(tail);
        Ok(())
    }

    /// Reads a segment that is followed by another. It ends where the next one begins: bytes after that were left by a
    /// failed write and never acknowledged.
    fn sealed(&mut self, file: &dyn File, base: u64, end: u64) -> io::Result<()> {
        self.view.segments.push_back(Segment::new(base));
        let mut walk = Walk::new(file, base, end, Check::Headers);
        while let Some(step) = walk.next()? {
            self.step(&step);
        }
        self.end_at(end);
        Ok(())
    }

    fn tail(&mut self, tail: &TailSegment) {
        self.view.segments.push_back(Segment::new(tail.base));
        tail.steps.iter().for_each(|step| self.step(step));
        self.end_at(tail.end);
    }

    fn end_at(&mut self, end: u64) {
        if let Some(segment) = self.view.segments.back_mut() {
            segment.end = end;
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Frame { header, body } => self.frame(header, body),
            Step::Corrupt(header) if header.is_numbered() => {
                self.expect(header.topic, header.first, header);
                if self.view.topic(header.topic).is_some() {
                    let last = header.next().saturating_sub(1);
                    self.lost(header.topic, Some((header.first, last)), header.time, header.time);
                }
                self.note(header);
            }
            Step::Corrupt(Header { offset, .. }) | Step::Damage(offset, _) => self.damaged_at = Some(*offset),
        }
    }

    fn frame(&mut self, header: &Header, body: &[u8]) {
        self.closed = header.kind == Kind::Close;
        match header.kind {
            Kind::Topic => self.declare(header, body),
            Kind::Floor | Kind::Close => {
                NextNumbers::decode(body).0.into_iter().for_each(|(topic, next)| self.expect(topic, next, header))
            }
            Kind::Rows | Kind::Hole => self.expect(header.topic, header.first, header),
        }
        self.note(header);
    }

    fn declare(&mut self, header: &Header, name: &[u8]) {
        if self.view.topic(header.topic).is_some() {
            return self.expect(header.topic, header.first, header);
        }
        self.numbered_at.insert(header.topic, header.offset);
        self.view.declare(header.topic, &String::from_utf8_lossy(name).into(), header.first);
        // Each segment begins with the names of all topics. A topic that is first named after damage was therefore
        // named, and may have had rows, in the damaged part.
        if self.damaged_at.is_some() && self.view.segments.len() > 1 {
            self.lost_before(header.topic, header.first, header.time);
        }
    }

    /// Notes that the next number of the topic is `next` according to the frame `by`. Rows that are missing before it
    /// are lost.
    fn expect(&mut self, id: u16, next: u64, by: &Header) {
        self.numbered_at.insert(id, by.offset);
        let Some(topic) = self.view.topic_mut(id) else { return self.note_unnamed(id, next, by) };
        let expected = topic.next;
        topic.next = next.max(expected);
        if next > expected {
            let from = self.times.get(&id).copied().unwrap_or(i64::MIN);
            self.lost(id, Some((expected, next - 1)), from, by.time);
        }
    }

    /// Notes a frame of a topic whose name frame is damaged.
    fn note_unnamed(&mut self, id: u16, next: u64, by: &Header) {
        if let Some(name) = self.names.get(&id).cloned() {
            self.view.declare(id, &name, next);
            return self.lost_before(id, next, by.time);
        }
        let (highest, end) = self.unnamed.unwrap_or_default();
        let next = if by.is_numbered() { by.next() } else { next };
        self.unnamed = Some((highest.max(id), end.max(next)));
    }

    /// Reports rows of the topic before `first` as lost. Their range is known only if the first segment of the journal
    /// still exists.
    fn lost_before(&mut self, id: u16, first: u64, to: i64) {
        if first > 0 {
            let is_first = self.view.segments.front().is_some_and(|s| s.base == 0);
            self.lost(id, is_first.then(|| (0, first - 1)), i64::MIN, to);
        }
    }

    fn note(&mut self, header: &Header) {
        self.view.note(header);
        if header.is_numbered() {
            self.times.insert(header.topic, header.time);
        }
    }

    fn lost(&mut self, topic: u16, range: Option<(u64, u64)>, from: i64, to: i64) {
        let topic = self.view.topic(topic).map(|t| t.name.clone());
        self.lost.push(Lost { topic, range, from: from.min(to), to });
    }

    /// Skips numbers of each topic that no frame after the last damage mentions, because it may have lost rows there.
    fn skip_unknown(&mut self) {
        let Some(damaged_at) = self.damaged_at else { return };
        let floor = self.view.floor;
        let topics: Vec<(u16, u64)> = self.view.topics().map(|(id, t)| (id, t.next)).collect();
        if topics.is_empty() {
            self.lost.push(Lost { topic: None, range: None, from: i64::MIN, to: floor });
        }
        for (id, next) in topics {
            if self.numbered_at.get(&id).is_some_and(|at| *at >= damaged_at) {
                continue;
            }
            let from = self.times.get(&id).copied().unwrap_or(i64::MIN);
            self.lost(id, Some((next, next + SKIPPED_NUMBERS - 1)), from, floor);
            if let Some(topic) = self.view.topic_mut(id) {
                topic.next = next + SKIPPED_NUMBERS;
            }
        }
    }

    /// Declares the topics that no frame names any more, at numbers higher than any they can have used. Returns whether
    /// there are any.
    fn redeclare_lost(&mut self, known: &BTreeSet<Arc<str>>) -> bool {
        if self.damaged_at.is_none() {
            return false;
        }
        let (highest, end) = self.unnamed.unwrap_or_default();
        let floor = self.view.floor;
        let lost: Vec<_> = known.iter().filter(|name| self.view.id(name).is_none()).collect();
        for name in &lost {
            let id = self.view.free_id().max(highest.saturating_add(1));
            self.view.declare(id, name, end + SKIPPED_NUMBERS);
            self.lost_before(id, end + SKIPPED_NUMBERS, floor);
        }
        !lost.is_empty()
    }
}
