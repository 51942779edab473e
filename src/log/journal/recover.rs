//! Reads the journal back at open: what is whole becomes the [`View`], a torn tail is left out, and damage
//! before it is told.

use super::damage::Damage;
use super::frame::{Header, Kind, Nexts};
use super::segment::Segment;
use super::view::View;
use super::walk::{Check, Step, Walk, torn_at};
use crate::log::Lost;
use greyhound_sdk::fs::{File, FileSystem};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where damage hides how many numbers a topic had taken, so many are skipped, that none is given twice.
const SKIPPED: u64 = 1 << 20;

/// What the files hold.
#[derive(Debug)]
pub(super) struct Recovered {
    pub view: View,
    /// Whether the last frame says that the journal was closed.
    pub clean: bool,
    /// Whether a topic has a number that no frame tells of yet: the next group must begin a segment, whose head does.
    pub begin_segment: bool,
}

/// Reads all segments in `dir`, and makes durable what it found, because a killed process may have left it in the
/// cache only. `known` has the names of all topics.
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
    if recovery.stray.is_some() {
        // Where a topic's name was damaged, a later segment may have it.
        let names = recovery.view.topics().map(|(id, topic)| (id, topic.name.clone())).collect();
        recovery = Recovery { names, ..Recovery::default() };
        recovery.read(fs, dir, &bases, tail.as_ref())?;
    }
    recovery.skip_unknown();
    let begin_segment = recovery.rename_lost(known);
    recovery.lost.into_iter().for_each(|lost| damage.report(lost));
    Ok(Recovered { view: recovery.view, clean: recovery.closed, begin_segment })
}

/// The last segment, whole.
struct TailSegment {
    base: u64,
    steps: Vec<Step>,
    end: u64,
}

/// Takes the last segment off `bases`, cuts off what is torn of it, and makes the rest durable. One that was only
/// begun is removed: the segment before it is the last one then, and nothing may stand where it grows.
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
                "the journal's tail was torn; what was not acknowledged is cut off"
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
    /// By topic, the offset of the last frame that tells its next number.
    told_at: HashMap<u16, u64>,
    /// By topic, the time of its last frame.
    times: HashMap<u16, i64>,
    /// The names that topics have somewhere in the journal.
    names: HashMap<u16, Arc<str>>,
    /// The highest topic and the highest next number in frames whose topic has no name.
    stray: Option<(u16, u64)>,
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

    /// A segment ends where the next one begins: what a failed write left behind that place was never acknowledged.
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
            Step::Spoilt(header) if header.is_numbered() => {
                self.expect(header.topic, header.first, header);
                if self.view.topic(header.topic).is_some() {
                    let last = header.next().saturating_sub(1);
                    self.lost(header.topic, Some((header.first, last)), header.time, header.time);
                }
                self.note(header);
            }
            Step::Spoilt(Header { offset, .. }) | Step::Damage(offset, _) => self.damaged_at = Some(*offset),
        }
    }

    fn frame(&mut self, header: &Header, body: &[u8]) {
        self.closed = header.kind == Kind::Close;
        match header.kind {
            Kind::Topic => self.declare(header, body),
            Kind::Floor | Kind::Close => {
                Nexts::decode(body).0.into_iter().for_each(|(topic, next)| self.expect(topic, next, header))
            }
            Kind::Rows | Kind::Hole => self.expect(header.topic, header.first, header),
        }
        self.note(header);
    }

    fn declare(&mut self, header: &Header, name: &[u8]) {
        if self.view.topic(header.topic).is_some() {
            return self.expect(header.topic, header.first, header);
        }
        self.told_at.insert(header.topic, header.offset);
        self.view.declare(header.topic, &String::from_utf8_lossy(name).into(), header.first);
        // Every segment names every topic at its head: an older one must have had this one's rows.
        if self.damaged_at.is_some() && self.view.segments.len() > 1 {
            self.lost_before(header.topic, header.first, header.time);
        }
    }

    /// The next number of `topic` is `next`, says the frame `by`: what is missing before it is lost.
    fn expect(&mut self, id: u16, next: u64, by: &Header) {
        self.told_at.insert(id, by.offset);
        let Some(topic) = self.view.topic_mut(id) else { return self.nameless(id, next, by) };
        let expected = topic.next;
        topic.next = next.max(expected);
        if next > expected {
            let from = self.times.get(&id).copied().unwrap_or(i64::MIN);
            self.lost(id, Some((expected, next - 1)), from, by.time);
        }
    }

    /// The frame that named this topic is damaged.
    fn nameless(&mut self, id: u16, next: u64, by: &Header) {
        if let Some(name) = self.names.get(&id).cloned() {
            self.view.declare(id, &name, next);
            return self.lost_before(id, next, by.time);
        }
        let (highest, end) = self.stray.unwrap_or_default();
        let next = if by.is_numbered() { by.next() } else { next };
        self.stray = Some((highest.max(id), end.max(next)));
    }

    /// The topic's rows before `first` are lost, or some of them: which there were is known while the journal is whole
    /// from its beginning.
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

    /// A topic that no frame behind the last damage tells of may have lost rows there.
    fn skip_unknown(&mut self) {
        let Some(damaged_at) = self.damaged_at else { return };
        let floor = self.view.floor;
        let untold: Vec<(u16, u64)> = self.view.topics().map(|(id, t)| (id, t.next)).collect();
        if untold.is_empty() {
            self.lost.push(Lost { topic: None, range: None, from: i64::MIN, to: floor });
        }
        for (id, next) in untold
            .into_iter()
            .filter(|(id, _)| self.told_at.get(id).is_none_or(|at| *at < damaged_at))
            .collect::<Vec<_>>()
        {
            let from = self.times.get(&id).copied().unwrap_or(i64::MIN);
            self.lost(id, Some((next, next + SKIPPED - 1)), from, floor);
            if let Some(topic) = self.view.topic_mut(id) {
                topic.next = next + SKIPPED;
            }
        }
    }

    /// A topic that no frame names any more begins behind every number that it can have had. Returns whether there is
    /// one.
    fn rename_lost(&mut self, known: &BTreeSet<Arc<str>>) -> bool {
        if self.damaged_at.is_none() {
            return false;
        }
        let (highest, end) = self.stray.unwrap_or_default();
        let floor = self.view.floor;
        let lost: Vec<_> = known.iter().filter(|name| self.view.id(name).is_none()).collect();
        for name in &lost {
            let id = self.view.free_id().max(highest.saturating_add(1));
            self.view.declare(id, name, end + SKIPPED);
            self.lost_before(id, end + SKIPPED, floor);
        }
        !lost.is_empty()
    }
}
