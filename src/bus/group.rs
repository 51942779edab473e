//! Turns the rows taken from the queue into the frames of one group.

use super::codec::Encoder;
use super::gap::{GAP_TOPIC, Gap, Reason};
use super::open_rows::OpenRows;
use super::queue::{Content, Segment, Taken, sealed, unwritable};
use super::topic::Topic;
use crate::log::{Body, Frame, MAX_BODY_BYTES};
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use std::sync::Arc;

/// Neighbouring batches are joined up to this many rows.
const JOINED_ROWS_MAX: usize = 1 << 16;
/// Neighbouring batches are joined up to this many bytes.
const JOINED_BYTES_MAX: usize = 1 << 20;

/// Frames that become durable together, by topic in the order of declaration.
pub(super) struct Group {
    pub(super) frames: Vec<Frame>,
    /// The memory that the group takes in the queue.
    pub(super) bytes: usize,
    /// The average size of a single row, by topic.
    pub(super) row_bytes: Vec<Option<usize>>,
    /// By topic: the number after its last row in this group.
    pub(super) ends: Vec<(usize, u64)>,
    /// Numbers whose rows are not recorded, by topic: first, last, reason.
    pub(super) holes: Vec<(usize, u64, u64, Reason)>,
    /// Gaps found while the group was built; the next group records them.
    pub(super) gaps: Vec<Gap>,
    from: i64,
    time: i64,
}

/// Builds groups.
pub(super) struct GroupBuilder {
    pub(super) topics: Vec<Arc<Topic>>,
    /// By topic: an empty batch, which is swapped with the open batch of the queue.
    pub(super) spares: Vec<OpenRows>,
    encoder: Encoder,
}

// === impl GroupBuilder ===

impl GroupBuilder {
    pub(super) fn new(topics: Vec<Arc<Topic>>) -> Result<Self, serde_arrow::Error> {
        let spares = topics.iter().map(|t| OpenRows::new(t.schema.columns())).collect::<Result<_, _>>()?;
        Ok(Self { topics, spares, encoder: Encoder::new() })
    }

    /// Builds the group of the rows that were taken from the queue with [`GroupBuilder::spares`].
    pub(super) fn build(&mut self, taken: Taken) -> Group {
        let Taken { from, time, bytes, topics } = taken;
        let row_bytes = Vec::with_capacity(topics.len());
        let mut group = Group {
            frames: Vec::new(),
            bytes,
            row_bytes,
            ends: Vec::new(),
            holes: Vec::new(),
            gaps: Vec::new(),
            from,
            time,
        };
        for (at, (mut segments, first_open)) in topics.into_iter().enumerate() {
            let open = sealed(&self.topics[at], first_open, &mut self.spares[at]);
            group.row_bytes.push(open.iter().filter_map(row_bytes_of).max());
            for segment in &open {
                if let Segment { first, content: Content::Hole { count, reason } } = segment {
                    group.add_gap(&self.topics[at], *first, *count, *reason);
                }
            }
            segments.extend(open);
            if let Some(last) = segments.last() {
                group.ends.push((at, last.first + last.count()));
            }
            self.frame(at, segments, &mut group);
        }
        group
    }

    fn frame(&mut self, at: usize, segments: Vec<Segment>, group: &mut Group) {
        let mut run = Run::default();
        for Segment { first, content } in segments {
            match content {
                Content::Rows(rows) => {
                    if !run.takes(&rows) {
                        self.end_run(at, &mut run, group);
                    }
                    run.push(first, rows);
                }
                Content::Hole { count, reason } => {
                    self.end_run(at, &mut run, group);
                    group.add_hole(at, &self.topics[at], first, count, reason);
                }
            }
        }
        self.end_run(at, &mut run, group);
    }

    fn end_run(&mut self, at: usize, run: &mut Run, group: &mut Group) {
        let Run { first, rows: count, batches, .. } = std::mem::take(run);
        if batches.is_empty() {
            return;
        }
        let topic = &self.topics[at];
        match encode(&mut self.encoder, topic, &batches) {
            Ok(batch) => group.add_rows(topic, first, count, batch),
            Err(e) => {
                if let Content::Hole { count, reason } = unwritable(topic, first, count as u64, &e) {
                    group.add_gap(topic, first, count, reason);
                    group.add_hole(at, topic, first, count, reason);
                }
            }
        }
    }
}

fn encode(encoder: &mut Encoder, topic: &Topic, batches: &[RecordBatch]) -> Result<bytes::Bytes, ArrowError> {
    let batch = match batches {
        [one] => encoder.encode(one),
        several => encoder.encode(&concat_batches(topic.schema.columns(), several)?),
    }?;
    match batch.len() > MAX_BODY_BYTES {
        true => Err(ArrowError::MemoryError(format!("{} bytes exceed the size limit of a log frame", batch.len()))),
        false => Ok(batch),
    }
}

fn row_bytes_of(open: &Segment) -> Option<usize> {
    match &open.content {
        Content::Rows(rows) => rows.get_array_memory_size().checked_div(rows.num_rows()),
        Content::Hole { .. } => None,
    }
}

/// Neighbouring batches that become one frame.
#[derive(Default)]
struct Run {
    first: u64,
    rows: usize,
    bytes: usize,
    batches: Vec<RecordBatch>,
}

impl Run {
    fn takes(&self, rows: &RecordBatch) -> bool {
        self.rows + rows.num_rows() <= JOINED_ROWS_MAX && self.bytes + rows.get_array_memory_size() <= JOINED_BYTES_MAX
    }

    fn push(&mut self, first: u64, rows: RecordBatch) {
        if self.batches.is_empty() {
            self.first = first;
        }
        self.rows += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.batches.push(rows);
    }
}

// === impl Group ===

impl Group {
    /// Whether the group holds only gaps and holes, so that it may use the reserved disk space.
    pub(super) fn has_only_gaps(&self) -> bool {
        self.frames.iter().all(|f| f.body == Body::Hole || &*f.topic == GAP_TOPIC)
    }

    /// Turns all rows except those of `greyhound.gap` into holes, and adds the resulting gaps to `gaps`.
    pub(super) fn give_up(&mut self, topics: &[Arc<Topic>], reason: Reason) {
        for at in 0..self.frames.len() {
            let frame = &mut self.frames[at];
            if frame.body == Body::Hole || &*frame.topic == GAP_TOPIC {
                continue;
            }
            frame.body = Body::Hole;
            let (name, first, count) = (frame.topic.clone(), frame.first, u64::from(frame.rows));
            if let Some(topic) = topics.iter().position(|t| t.name == name) {
                super::metrics::shed(&name, reason.as_str(), count);
                self.add_gap(&topics[topic], first, count, reason);
                self.holes.push((topic, first, first + count - 1, reason));
            }
        }
    }

    /// Appends the frames of a later group.
    pub(super) fn join(&mut self, later: Group) {
        self.frames.extend(later.frames);
        self.ends.extend(later.ends);
        self.holes.extend(later.holes);
        self.bytes += later.bytes;
    }

    fn add_gap(&mut self, topic: &Topic, first: u64, count: u64, reason: Reason) {
        self.gaps.push(Gap::of_rows(&topic.name, first, first + count - 1, reason, self.from, self.time));
    }

    fn add_rows(&mut self, topic: &Topic, first: u64, count: usize, batch: bytes::Bytes) {
        let rows = u32::try_from(count).expect("a batch of at most u32::MAX rows: publishing refuses a larger one");
        let body = Body::Rows { schema: topic.schema.fingerprint(), batch };
        self.frames.push(Frame { topic: topic.name.clone(), first, rows, time: self.time, body });
    }

    fn add_hole(&mut self, at: usize, topic: &Topic, first: u64, count: u64, reason: Reason) {
        self.holes.push((at, first, first + count - 1, reason));
        let (mut first, end) = (first, first + count);
        while first < end {
            let rows = u32::try_from(end - first).unwrap_or(u32::MAX);
            self.frames.push(Frame { topic: topic.name.clone(), first, rows, time: self.time, body: Body::Hole });
            first += u64::from(rows);
        }
    }
}
