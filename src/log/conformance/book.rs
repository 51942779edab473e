//! What a test has appended, to hold a log to.

use crate::log::{Body, Frame, Log, LogWriter, Stored};
use bytes::Bytes;
use greyhound_sdk::Bounds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Makes the next frames of any topic and keeps those that were acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// In the order of their append.
    pub frames: Vec<Frame>,
    /// The last time that was acknowledged.
    pub floor: i64,
    drafted: BTreeMap<Arc<str>, u64>,
    clock: i64,
}

impl Book {
    /// The next frame of `topic`: so many rows in so many bytes.
    pub fn rows(&mut self, topic: &str, rows: u32, bytes: usize) -> Frame {
        let mut frame = self.hole(topic, rows);
        frame.body = Body::Rows { schema: 7, batch: content(topic, frame.first, bytes) };
        frame
    }

    /// The next frame of `topic`: so many numbers without rows.
    pub fn hole(&mut self, topic: &str, rows: u32) -> Frame {
        let topic: Arc<str> = topic.into();
        self.clock += 1;
        let next = self.drafted.entry(topic.clone()).or_default();
        let first = *next;
        *next += u64::from(rows);
        Frame { topic, first, rows, time: self.clock, body: Body::Hole }
    }

    /// The time of the last frame that was made, or of the floor.
    pub fn now(&self) -> i64 {
        self.clock
    }

    /// From here on `topic` goes on at `next`.
    pub fn go_on_at(&mut self, topic: &str, next: u64) {
        self.drafted.insert(topic.into(), next);
    }

    /// A floor that tells of a time after the last.
    pub fn tick(&mut self) -> i64 {
        self.clock += 10;
        self.clock
    }

    pub fn acknowledge(&mut self, group: &[Frame]) {
        self.floor = group.last().map_or(self.floor, |f| f.time);
        self.frames.extend_from_slice(group);
    }

    pub async fn append(&mut self, writer: &mut dyn LogWriter, group: Vec<Frame>) {
        writer.append(&group).await.expect("it is appended");
        self.acknowledge(&group);
    }

    pub async fn append_rows(&mut self, writer: &mut dyn LogWriter, topic: &str, rows: u32, bytes: usize) {
        let frame = self.rows(topic, rows, bytes);
        self.append(writer, vec![frame]).await;
    }

    pub async fn tell_floor(&mut self, writer: &mut dyn LogWriter) {
        let time = self.tick();
        writer.floor(time).await.expect("the floor is told");
        self.floor = time;
    }

    pub fn topics(&self) -> BTreeSet<Arc<str>> {
        self.frames.iter().map(|f| f.topic.clone()).collect()
    }

    /// The number after the topic's last acknowledged frame.
    pub fn end(&self, topic: &str) -> u64 {
        self.frames.iter().rfind(|f| *f.topic == *topic).map_or(0, end)
    }

    /// What a log must give back of `topic` to a reader from row `from` on.
    pub fn stored(&self, topic: &str, from: u64) -> Vec<Stored> {
        self.frames.iter().filter(|f| *f.topic == *topic && end(f) > from).filter_map(stored).collect()
    }

    /// Holds the log to all of it, and to nothing else.
    pub async fn check(&self, log: &dyn Log) {
        for topic in self.topics() {
            assert_eq!(log.bounds(&topic), Bounds { earliest: 0, end: self.end(&topic), floor: self.floor }, "{topic}");
            assert_same(&read_all(log, &topic, 0).await, &self.stored(&topic, 0));
        }
    }
}

/// The number after the frame's last.
pub(crate) fn end(frame: &Frame) -> u64 {
    frame.first + u64::from(frame.rows)
}

/// The frame as a log must give it back; nothing for a hole.
pub(crate) fn stored(frame: &Frame) -> Option<Stored> {
    let Body::Rows { batch, .. } = &frame.body else { return None };
    Some(Stored { crc: crc32c::crc32c(batch), frame: frame.clone() })
}

/// Everything that the log has of `topic` from row `from` on.
pub(crate) async fn read_all(log: &dyn Log, topic: &str, from: u64) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    let mut at = from;
    loop {
        let chunk = log.read(topic, at, 4_000).await.expect("the log is read");
        let Some(last) = chunk.last() else { return all };
        assert!(
            chunk.iter().is_sorted_by_key(|s| s.frame.first) && end(&last.frame) > at,
            "{topic} at {at} is given rows before"
        );
        at = end(&last.frame);
        all.extend(chunk);
    }
}

/// As `assert_eq`, without the bytes in the message.
pub(crate) fn assert_same(is: &[Stored], must: &[Stored]) {
    let brief =
        |all: &[Stored]| all.iter().map(|s| format!("{}..{}", s.frame.first, end(&s.frame))).collect::<Vec<_>>();
    assert_eq!(brief(is), brief(must));
    let wrong = is.iter().zip(must).find(|(is, must)| is != must);
    assert!(
        wrong.is_none(),
        "the frame at {} is not the one that was appended",
        wrong.map_or(0, |(is, _)| is.frame.first)
    );
}

/// Bytes that no other frame has.
fn content(topic: &str, first: u64, bytes: usize) -> Bytes {
    let seed = u64::from(crc32c::crc32c(topic.as_bytes())) ^ (first << 32);
    let word = |i: u64| (seed.wrapping_add(i)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes();
    (0..).flat_map(word).take(bytes).collect()
}
