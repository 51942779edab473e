//! The frames that a test has appended, to compare with a log.

use crate::log::{Body, Frame, Log, LogWriter, Stored};
use bytes::Bytes;
use greyhound_sdk::Bounds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Creates the next frames of any topic, and keeps the acknowledged ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The acknowledged frames, in the order in which they were appended.
    pub frames: Vec<Frame>,
    /// The last acknowledged time.
    pub floor: i64,
    drafted: BTreeMap<Arc<str>, u64>,
    clock: i64,
}

impl History {
    /// Creates the next frame of `topic` with `rows` rows in `bytes` bytes.
    pub fn rows(&mut self, topic: &str, rows: u32, bytes: usize) -> Frame {
        let mut frame = self.hole(topic, rows);
        frame.body = Body::Rows { schema: 7, batch: content(topic, frame.first, bytes) };
        frame
    }

    /// Creates the next frame of `topic` as a hole of `rows` numbers.
    pub fn hole(&mut self, topic: &str, rows: u32) -> Frame {
        let topic: Arc<str> = topic.into();
        self.clock += 1;
        let next = self.drafted.entry(topic.clone()).or_default();
        let first = *next;
        *next += u64::from(rows);
        Frame { topic, first, rows, time: self.clock, body: Body::Hole }
    }

    /// Returns the time of the last frame that was created, or of the floor.
    pub fn now(&self) -> i64 {
        self.clock
    }

    /// Sets the number of the next row of `topic`.
    pub fn continue_at(&mut self, topic: &str, next: u64) {
        self.drafted.insert(topic.into(), next);
    }

    /// Returns a later time than the last, for a floor.
    pub fn tick(&mut self) -> i64 {
        self.clock += 10;
        self.clock
    }

    pub fn acknowledge(&mut self, group: &[Frame]) {
        self.floor = group.last().map_or(self.floor, |f| f.time);
        self.frames.extend_from_slice(group);
    }

    pub async fn append(&mut self, writer: &mut dyn LogWriter, group: Vec<Frame>) {
        writer.append(&group).await.expect("the append succeeds");
        self.acknowledge(&group);
    }

    pub async fn append_rows(&mut self, writer: &mut dyn LogWriter, topic: &str, rows: u32, bytes: usize) {
        let frame = self.rows(topic, rows, bytes);
        self.append(writer, vec![frame]).await;
    }

    pub async fn append_floor(&mut self, writer: &mut dyn LogWriter) {
        let time = self.tick();
        writer.floor(time).await.expect("the floor is written");
        self.floor = time;
    }

    pub fn topics(&self) -> BTreeSet<Arc<str>> {
        self.frames.iter().map(|f| f.topic.clone()).collect()
    }

    /// Returns the number after the topic's last acknowledged frame.
    pub fn end(&self, topic: &str) -> u64 {
        self.frames.iter().rfind(|f| *f.topic == *topic).map_or(0, end)
    }

    /// Returns what a log must return for `topic` from row `from` on.
    pub fn stored(&self, topic: &str, from: u64) -> Vec<Stored> {
        self.frames.iter().filter(|f| *f.topic == *topic && end(f) > from).filter_map(stored).collect()
    }

    /// Checks that the log holds all acknowledged frames and nothing else.
    pub async fn check(&self, log: &dyn Log) {
        for topic in self.topics() {
            assert_eq!(log.bounds(&topic), Bounds { earliest: 0, end: self.end(&topic), floor: self.floor }, "{topic}");
            assert_same(&read_all(log, &topic, 0).await, &self.stored(&topic, 0));
        }
    }
}

/// Returns the number after the frame's last row.
pub(crate) fn end(frame: &Frame) -> u64 {
    frame.first + u64::from(frame.rows)
}

/// Returns the frame as a log must return it; `None` for a hole.
pub(crate) fn stored(frame: &Frame) -> Option<Stored> {
    let Body::Rows { batch, .. } = &frame.body else { return None };
    Some(Stored { crc: crc32c::crc32c(batch), frame: frame.clone() })
}

/// Reads all frames of `topic` from row `from` on.
pub(crate) async fn read_all(log: &dyn Log, topic: &str, from: u64) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    let mut at = from;
    loop {
        let chunk = log.read(topic, at, 4_000).await.expect("the log is read");
        let Some(last) = chunk.last() else { return all };
        assert!(
            chunk.iter().is_sorted_by_key(|s| s.frame.first) && end(&last.frame) > at,
            "the rows of {topic} from {at} on are in order"
        );
        at = end(&last.frame);
        all.extend(chunk);
    }
}

/// Like `assert_eq`, without the bytes in the message.
pub(crate) fn assert_same(is: &[Stored], must: &[Stored]) {
    let brief =
        |all: &[Stored]| all.iter().map(|s| format!("{}..{}", s.frame.first, end(&s.frame))).collect::<Vec<_>>();
    assert_eq!(brief(is), brief(must));
    let wrong = is.iter().zip(must).find(|(is, must)| is != must);
    assert!(
        wrong.is_none(),
        "the frame at {} differs from the appended one",
        wrong.map_or(0, |(is, _)| is.frame.first)
    );
}

/// Returns bytes that no other frame has.
fn content(topic: &str, first: u64, bytes: usize) -> Bytes {
    let seed = u64::from(crc32c::crc32c(topic.as_bytes())) ^ (first << 32);
    let word = |i: u64| (seed.wrapping_add(i)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes();
    (0..).flat_map(word).take(bytes).collect()
}
