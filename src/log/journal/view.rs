//! The part of the journal that readers may see: the acknowledged part of its segments, and the topics' numbers.

use super::frame::{Header, NextNumbers};
use super::segment::Segment;
use greyhound_sdk::Bounds;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// The state behind [`crate::log::Log::bounds`] and [`crate::log::Log::read`]. It is always in step with the disk.
#[derive(Debug, Default)]
pub(super) struct View {
    /// In the order of their offsets.
    pub segments: VecDeque<Segment>,
    /// The time of the last append or floor.
    pub floor: i64,
    topics: BTreeMap<u16, Topic>,
    ids: HashMap<Arc<str>, u16>,
}

#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub name: Arc<str>,
    /// The number of the oldest row that is kept.
    pub earliest: u64,
    /// The number of the next row.
    pub next: u64,
}

impl View {
    /// Returns the number that identifies a topic in frames.
    pub fn id(&self, topic: &str) -> Option<u16> {
        self.ids.get(topic).copied()
    }

    pub fn topic(&self, id: u16) -> Option<&Topic> {
        self.topics.get(&id)
    }

    pub fn topic_mut(&mut self, id: u16) -> Option<&mut Topic> {
        self.topics.get_mut(&id)
    }

    pub fn topics(&self) -> impl Iterator<Item = (u16, &Topic)> {
        self.topics.iter().map(|(id, t)| (*id, t))
    }

    /// Returns the number for the next new topic. 0 is reserved for the journal's own frames.
    pub fn free_id(&self) -> u16 {
        self.topics.keys().next_back().map_or(1, |last| last + 1)
    }

    /// Adds a topic whose next row has the number `next`.
    pub fn declare(&mut self, id: u16, name: &Arc<str>, next: u64) {
        self.ids.insert(name.clone(), id);
        self.topics.insert(id, Topic { name: name.clone(), earliest: next, next });
    }

    /// Adds a frame of the last segment, which was acknowledged or recovered.
    pub fn note(&mut self, header: &Header) {
        self.floor = self.floor.max(header.time);
        if header.is_numbered()
            && let Some(topic) = self.topics.get_mut(&header.topic)
        {
            topic.next = topic.next.max(header.next());
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.note(header);
        }
    }

    pub fn nexts(&self) -> NextNumbers {
        NextNumbers(self.topics().map(|(id, t)| (id, t.next)).collect())
    }

    pub fn bounds(&self, topic: &str) -> Bounds {
        let topic = self.id(topic).and_then(|id| self.topic(id));
        let (earliest, end) = topic.map_or((0, 0), |t| (t.earliest, t.next));
        Bounds { earliest, end, floor: self.floor }
    }

    /// Returns the offset after the last byte.
    pub fn end(&self) -> u64 {
        self.segments.back().map_or(0, |s| s.end)
    }

    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// Returns the size of the frames of one topic.
    pub fn size_of(&self, topic: &str) -> u64 {
        let Some(id) = self.id(topic) else { return 0 };
        self.segments.iter().filter_map(|s| s.spans.get(&id)).map(|span| span.bytes).sum()
    }

    /// Removes and returns the oldest segment.
    pub fn pop_front(&mut self) -> Option<Segment> {
        let gone = self.segments.pop_front()?;
        for id in gone.spans.keys() {
            let earliest = self.segments.iter().find_map(|s| s.spans.get(id)).map(|s| s.first);
            if let Some(topic) = self.topics.get_mut(id) {
                topic.earliest = earliest.unwrap_or(topic.next);
            }
        }
        Some(gone)
    }

    /// Puts back the oldest segment, which [`View::pop_front`] removed.
    pub fn put_back(&mut self, segment: Segment) {
        for (id, span) in &segment.spans {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.earliest = span.first;
            }
        }
        self.segments.push_front(segment);
    }
}
