//! Reads the journal back at open: what is whole becomes the [`View`], a torn tail is left out, and damage
//! before it is told.

use super::damage::Damage;
use super::frame::{Header, Kind, Nexts};
use super::segment::Segment;
use super::view::View;
use super::walk::{Check, Step, Walk, torn_at};
use crate::log::Lost;
use greyhound_sdk::fs::{File, FileSystem};
use std::collections::HashMap;
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
}

/// Reads all segments in `dir`, and makes durable what it found, because a killed process may have left it in the cache only.
pub(super) fn recover(fs: &dyn FileSystem, dir: &Path, damage: &mut Damage) -> io::Result<Recovered> {
    let mut bases: Vec<u64> = fs.list(dir)?.iter().filter_map(|name| Segment::base_of(name)).collect();
    let mut recovery =
        Recovery { damage, view: View::default(), closed: false, damaged_at: None, told_at: HashMap::new(), times: HashMap::new() };
    let tail = tail(fs, dir, &mut bases)?;
    for (at, base) in bases.iter().enumerate() {
        let next = bases.get(at + 1).or(tail.as_ref().map(|t| &t.base));
        recovery.sealed(&*fs.open_read(&Segment::path(dir, *base))?, *base, *next.unwrap_or(base))?;
    }
    if let Some(tail) = tail {
        recovery.tail(tail);
    }
    recovery.skip_unknown();
    Ok(Recovered { view: recovery.view, clean: recovery.closed })
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
            tracing::info!(offset = tail.end, bytes = len - tail.end, "the journal's tail was torn; what was not acknowledged is cut off");
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

struct Recovery<'a> {
    damage: &'a mut Damage,
    view: View,
    closed: bool,
    /// The offset of the last damage.
    damaged_at: Option<u64>,
    /// By topic, the offset of the last frame that tells its next number.
    told_at: HashMap<u16, u64>,
    /// By topic, the time of its last frame.
    times: HashMap<u16, i64>,
}

impl Recovery<'_> {
    /// A segment ends where the next one begins: what a failed write left behind that place was never acknowledged.
    fn sealed(&mut self, file: &dyn File, base: u64, end: u64) -> io::Result<()> {
        self.view.segments.push_back(Segment::new(base));
        let mut walk = Walk::new(file, base, end, Check::Headers);
        while let Some(step) = walk.next()? {
            self.step(step);
        }
        self.end_at(end);
        Ok(())
    }

    fn tail(&mut self, tail: TailSegment) {
        self.view.segments.push_back(Segment::new(tail.base));
        tail.steps.into_iter().for_each(|step| self.step(step));
        self.end_at(tail.end);
    }

    fn end_at(&mut self, end: u64) {
        if let Some(segment) = self.view.segments.back_mut() {
            segment.end = end;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Frame { header, body } => self.frame(&header, &body),
            Step::Spoilt(header) if header.is_numbered() && self.view.topic(header.topic).is_some() => {
                self.expect(header.topic, header.first, &header);
                let last = header.next().saturating_sub(1);
                self.lost(header.topic, (header.first, last), header.time, header.time);
                self.note(&header);
            }
            Step::Spoilt(Header { offset, .. }) | Step::Damage(offset, _) => self.damaged_at = Some(offset),
        }
    }

    fn frame(&mut self, header: &Header, body: &[u8]) {
        self.closed = header.kind == Kind::Close;
        match header.kind {
            Kind::Topic => self.declare(header, body),
            Kind::Floor | Kind::Close => Nexts::decode(body).0.into_iter().for_each(|(topic, next)| self.expect(topic, next, header)),
            Kind::Rows | Kind::Hole if self.view.topic(header.topic).is_none() => self.damaged_at = Some(header.offset),
            Kind::Rows | Kind::Hole => self.expect(header.topic, header.first, header),
        }
        self.note(header);
    }

    fn declare(&mut self, header: &Header, name: &[u8]) {
        let name: Arc<str> = String::from_utf8_lossy(name).into();
        match self.view.topic(header.topic) {
            Some(_) => self.expect(header.topic, header.first, header),
            None => {
                self.told_at.insert(header.topic, header.offset);
                self.view.declare(header.topic, &name, header.first);
            }
        }
    }

    /// The next number of `topic` is `next`, says the frame `by`: what is missing before it is lost.
    fn expect(&mut self, id: u16, next: u64, by: &Header) {
        let Some(topic) = self.view.topic_mut(id) else { return };
        let expected = topic.next;
        topic.next = next.max(expected);
        self.told_at.insert(id, by.offset);
        if next > expected {
            let from = self.times.get(&id).copied().unwrap_or(i64::MIN);
            self.lost(id, (expected, next - 1), from, by.time);
        }
    }

    fn note(&mut self, header: &Header) {
        self.view.note(header);
        if header.is_numbered() {
            self.times.insert(header.topic, header.time);
        }
    }

    fn lost(&mut self, topic: u16, range: (u64, u64), from: i64, to: i64) {
        let topic = self.view.topic(topic).map(|t| t.name.clone());
        self.damage.report(Lost { topic, range: Some(range), from: from.min(to), to });
    }

    /// A topic that no frame behind the last damage tells of may have lost rows there.
    fn skip_unknown(&mut self) {
        let Some(damaged_at) = self.damaged_at else { return };
        let floor = self.view.floor;
        let untold: Vec<(u16, u64)> = self.view.topics().map(|(id, t)| (id, t.next)).collect();
        if untold.is_empty() {
            self.damage.report(Lost { topic: None, range: None, from: i64::MIN, to: floor });
        }
        for (id, next) in untold.into_iter().filter(|(id, _)| self.told_at.get(id).is_none_or(|at| *at < damaged_at)).collect::<Vec<_>>() {
            let from = self.times.get(&id).copied().unwrap_or(i64::MIN);
            self.lost(id, (next, next + SKIPPED - 1), from, floor);
            if let Some(topic) = self.view.topic_mut(id) {
                topic.next = next + SKIPPED;
            }
        }
    }
}
