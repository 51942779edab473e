//! What readers may see of the journal: its segments up to what was acknowledged, and the topics' numbers.

use super::frame::{Header, Nexts};
use super::segment::Segment;
use greyhound_sdk::Bounds;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// The state behind [`crate::log::Log::bounds`] and [`crate::log::Log::read`]. Never behind the disk's, never ahead of
/// it.
#[derive(Debug, Default)]
pub(super) struct View {
    /// In the order of their offsets.
    pub segments: VecDeque<Segment>,
    /// The last time that was appended, or told as a floor.
    pub floor: i64,
    topics: BTreeMap<u16, Topic>,
    ids: HashMap<Arc<str>, u16>,
}

#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub name: Arc<str>,
    /// The oldest number that is kept.
    pub earliest: u64,
    /// The number of the next row.
    pub next: u64,
}

impl View {
    /// The number that stands for a topic in frames.
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

    /// The number that the next new topic gets; 0 is the journal's own.
    pub fn free_id(&self) -> u16 {
        self.topics.keys().next_back().map_or(1, |last| last + 1)
    }

    /// Makes a topic known whose next row has the number `next`.
    pub fn declare(&mut self, id: u16, name: &Arc<str>, next: u64) {
        self.ids.insert(name.clone(), id);
        self.topics.insert(id, Topic { name: name.clone(), earliest: next, next });
    }

    /// Takes note of a frame that was acknowledged, or found, in the last segment.
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

    pub fn nexts(&self) -> Nexts {
        Nexts(self.topics().map(|(id, t)| (id, t.next)).collect())
    }

    pub fn bounds(&self, topic: &str) -> Bounds {
        let topic = self.id(topic).and_then(|id| self.topic(id));
        let (earliest, end) = topic.map_or((0, 0), |t| (t.earliest, t.next));
        Bounds { earliest, end, floor: self.floor }
    }

    /// The offset after the last byte.
    pub fn end(&self) -> u64 {
        self.segments.back().map_or(0, |s| s.end)
    }

    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// What the frames of one topic take.
    pub fn size_of(&self, topic: &str) -> u64 {
        let Some(id) = self.id(topic) else { return 0 };
        self.segments.iter().filter_map(|s| s.spans.get(&id)).map(|span| span.bytes).sum()
    }

    /// Lets the oldest segment go. Returns it.
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

    /// The oldest segment, which [`View::pop_front`] let go, is still there.
    pub fn put_back(&mut self, segment: Segment) {
        for (id, span) in &segment.spans {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.earliest = span.first;
            }
        }
        self.segments.push_front(segment);
    }
}
