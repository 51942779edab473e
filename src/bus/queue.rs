//! Holds rows between their publication and the log.
//!
//! One lock covers all topics, so that taking the queue is a consistent cut through all of them: it holds every row
//! that was published before any row it holds and is not yet written.

use super::gap::{Gap, Reason};
use super::metrics;
use super::open_rows::OpenRows;
use super::shares::{Client, Shares};
use super::topic::Topic;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use serde_arrow::ArrayBuilder;
use std::sync::Arc;
use std::time::Instant;

/// An open batch is sealed at this many rows, so that its real size is known.
const OPEN_ROWS_MAX: usize = 1024;
/// An open batch is sealed at this estimated size.
const OPEN_BYTES_MAX: usize = 1 << 20;
/// The memory of a segment besides its rows.
const SEGMENT_BYTES: usize = 256;
/// `greyhound.gap` may exceed the limit by this much, so that shed rows can be recorded.
const GAP_RESERVE_BYTES: usize = 1 << 20;

/// The phase of the bus.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// The bus accepts rows.
    Open,
    /// The bus writes its queued rows until this time.
    Closing(Instant),
    /// The bus was dropped and leaves everything as it is.
    Abandoned,
    /// The writer thread has ended.
    Ended,
}

/// The queue; see the module.
pub(super) struct Queue {
    pub(super) phase: Phase,
    /// A task waits for a row in the queue: do not linger.
    pub(super) urgent: bool,
    /// Set while the log accepts no rows: the reason why rows are shed.
    pub(super) log_failure: Option<Reason>,
    topics: Vec<TopicQueue>,
    /// The memory of all rows that are not yet durable: queued or being written.
    bytes: usize,
    /// The part of `bytes` that is queued.
    queued: usize,
    limit: usize,
    shares: Shares,
    /// The shard's last append time.
    last_time: i64,
}

struct TopicQueue {
    topic: Arc<Topic>,
    next: u64,
    /// Rows before this number are no longer in the queue.
    taken: u64,
    sealed: Vec<Segment>,
    open: OpenRows,
    open_bytes: usize,
    /// The recent size of a row: the estimate for open rows.
    row_bytes: usize,
}

/// Consecutive numbers of one topic.
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) content: Content,
}

/// The content of a segment.
pub(super) enum Content {
    Rows(RecordBatch),
    /// Numbers of rows that are not recorded.
    Hole {
        count: u64,
        reason: Reason,
    },
}

/// Everything that the writer thread takes from the queue at once.
pub(super) struct Taken {
    /// The previous append time.
    pub(super) from: i64,
    /// The append time of all rows.
    pub(super) time: i64,
    /// The memory to pass to [`Queue::release`].
    pub(super) bytes: usize,
    /// By topic: its sealed segments, and the number of the first of its open rows, which are in the spare.
    pub(super) topics: Vec<(Vec<Segment>, u64)>,
}

/// Why a row was rejected.
pub(super) enum Rejected {
    Shed { first: u64, reason: Reason },
    Ended,
    Unfit(serde_arrow::Error),
}

// === impl Queue ===

impl Queue {
    /// Creates an empty queue. Each topic continues at its `end()`. The last topic must be `greyhound.gap`.
    pub(super) fn new(topics: &[Arc<Topic>], limit: usize, last_time: i64) -> Result<Self, serde_arrow::Error> {
        let topics = topics.iter().map(TopicQueue::new).collect::<Result<_, _>>()?;
        Ok(Self {
            phase: Phase::Open,
            urgent: false,
            log_failure: None,
            topics,
            bytes: 0,
            queued: 0,
            limit,
            shares: Shares::default(),
            last_time,
        })
    }

    /// The bytes that are not yet durable.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a waiting publisher may continue. The threshold is below the limit, so that its row is not shed.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.limit / 4 * 3 || !matches!(self.phase, Phase::Open)
    }

    /// Whether so much is queued that lingering gains nothing.
    pub(super) fn is_large(&self) -> bool {
        self.queued >= (self.limit / 8).min(1 << 20)
    }

    /// Whether nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Whether row `seq` of the topic is queued, or yet to be published.
    pub(super) fn holds(&self, topic: usize, seq: u64) -> bool {
        self.topics[topic].taken <= seq
    }

    /// The number that the topic's next row gets.
    pub(super) fn next(&self, topic: usize) -> u64 {
        self.topics[topic].next
    }

    /// Adds one row that `client` caused. `texts` is the size of its texts in bytes, or 0 if unknown.
    pub(super) fn push(
        &mut self,
        at: usize,
        client: Option<Client>,
        texts: usize,
        push: &mut dyn FnMut(&mut ArrayBuilder) -> serde_arrow::Result<()>,
    ) -> Result<u64, Rejected> {
        self.admit(at, 1, client)?;
        let topic = &mut self.topics[at];
        if topic.open.is_torn() {
            // The previous row's Serialize panicked.
            self.seal(at);
        }
        let topic = &mut self.topics[at];
        if let Err(unfit) = topic.open.push(push) {
            self.seal(at);
            return Err(Rejected::Unfit(unfit));
        }
        let (seq, bytes) = (topic.next, topic.row_bytes.max(texts));
        topic.next += 1;
        topic.open_bytes += bytes;
        let full = topic.open.len() >= OPEN_ROWS_MAX || topic.open_bytes >= OPEN_BYTES_MAX;
        self.add(bytes);
        self.shares.charge(client, bytes);
        if full {
            self.seal(at);
        }
        Ok(seq)
    }

    /// Adds a batch of the topic's schema.
    pub(super) fn push_batch(&mut self, at: usize, rows: RecordBatch) -> Result<u64, Rejected> {
        let count = rows.num_rows() as u64;
        if count == 0 {
            return Ok(self.topics[at].next);
        }
        self.admit(at, count, None)?;
        self.seal(at);
        let bytes = rows.get_array_memory_size() + SEGMENT_BYTES;
        let topic = &mut self.topics[at];
        let first = topic.next;
        topic.next += count;
        topic.sealed.push(Segment { first, content: Content::Rows(rows) });
        self.add(bytes);
        Ok(first)
    }

    /// Adds a row to `greyhound.gap`, regardless of the limit.
    pub(super) fn record(&mut self, gap: &Gap) {
        let at = self.topics.len() - 1;
        let topic = &mut self.topics[at];
        if let Err(e) = topic.open.push(&mut |columns| columns.push(gap)) {
            tracing::error!(error = %e, ?gap, "cannot record a gap");
            return self.seal(at);
        }
        topic.next += 1;
        topic.open_bytes += topic.row_bytes;
        let bytes = topic.row_bytes;
        self.add(bytes);
    }

    /// Assigns `count` numbers of the topic to rows that are not recorded.
    pub(super) fn shed(&mut self, at: usize, count: u64, reason: Reason) {
        self.seal(at);
        let topic = &mut self.topics[at];
        let first = topic.next;
        topic.next += count;
        metrics::shed(&topic.topic.name, reason.as_str(), count);
        match topic.sealed.last_mut() {
            Some(Segment { content: Content::Hole { count: merged, reason: same }, .. }) if *same == reason => {
                *merged += count
            }
            _ => {
                topic.sealed.push(Segment { first, content: Content::Hole { count, reason } });
                self.add(SEGMENT_BYTES);
            }
        }
    }

    /// Takes everything. `spares` holds an empty batch for each topic, which is swapped with its open batch.
    pub(super) fn take(&mut self, now: i64, spares: &mut [OpenRows]) -> Taken {
        let (from, time) = (self.last_time, self.time(now));
        for gap in self.holes(from, time) {
            self.record(&gap);
        }
        self.urgent = false;
        self.shares.take();
        let bytes = std::mem::take(&mut self.queued);
        let topics = self.topics.iter_mut().zip(spares).map(|(topic, spare)| topic.take(spare)).collect();
        Taken { from, time, bytes, topics }
    }

    /// The time of the last append or floor.
    pub(super) fn last_time(&self) -> i64 {
        self.last_time
    }

    /// Returns the append time for `now`, which is never earlier than the previous one.
    pub(super) fn time(&mut self, now: i64) -> i64 {
        self.last_time = self.last_time.max(now);
        self.last_time
    }

    /// Releases the memory of taken rows. `row_bytes` holds, by topic, the average size of a single row, if there were
    /// any.
    pub(super) fn release(&mut self, bytes: usize, row_bytes: &[Option<usize>]) {
        self.bytes -= bytes;
        self.shares.release();
        for (topic, measured) in self.topics.iter_mut().zip(row_bytes) {
            topic.measured(*measured);
        }
    }

    /// Turns all queued rows except those of `greyhound.gap` into holes.
    pub(super) fn give_up(&mut self, reason: Reason) {
        for at in 0..self.topics.len() - 1 {
            self.seal(at);
            let topic = &mut self.topics[at];
            let sealed = std::mem::take(&mut topic.sealed);
            topic.sealed = sealed.into_iter().map(|segment| segment.give_up(reason)).collect();
        }
    }

    fn admit(&mut self, at: usize, count: u64, client: Option<Client>) -> Result<(), Rejected> {
        let reserve = if at + 1 == self.topics.len() { GAP_RESERVE_BYTES } else { 0 };
        let limit = self.limit + reserve;
        if self.bytes >= limit {
            // The open rows may be smaller than estimated.
            self.seal(at);
        }
        let reason = match self.phase {
            Phase::Open if self.bytes < limit && self.shares.admit(client, self.limit) => return Ok(()),
            Phase::Open if self.bytes < limit => self.log_failure.unwrap_or(Reason::Share),
            Phase::Open => self.log_failure.unwrap_or(Reason::Overload),
            Phase::Closing(_) => Reason::Closed,
            Phase::Abandoned | Phase::Ended => return Err(Rejected::Ended),
        };
        let first = self.topics[at].next;
        self.shed(at, count, reason);
        Err(Rejected::Shed { first, reason })
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.queued += bytes;
    }

    /// Makes a batch of the open rows, which replaces their estimated size by the real one.
    fn seal(&mut self, at: usize) {
        let topic = &mut self.topics[at];
        let count = topic.open.len();
        if count == 0 && !topic.open.is_torn() {
            return;
        }
        let first = topic.next - count as u64;
        let segments = sealed(&topic.topic, first, &mut topic.open);
        let estimate = std::mem::take(&mut topic.open_bytes);
        let bytes = segments.iter().map(Segment::bytes).sum();
        topic.measured(usize::checked_div(bytes, count));
        topic.sealed.extend(segments);
        self.add(bytes);
        self.bytes -= estimate;
        self.queued -= estimate;
    }

    fn holes(&self, from: i64, to: i64) -> Vec<Gap> {
        let holes = self.topics.iter().flat_map(|t| t.sealed.iter().map(move |segment| (t, segment)));
        let gap = |(topic, segment): (&TopicQueue, &Segment)| match segment.content {
            Content::Hole { count, reason } => {
                Some(Gap::of_rows(&topic.topic.name, segment.first, segment.first + count - 1, reason, from, to))
            }
            Content::Rows(_) => None,
        };
        holes.filter_map(gap).collect()
    }
}

/// Returns the open rows of a topic as segments. Rows that its table cannot hold become holes; if Arrow cannot make a
/// batch of the rows, all of them become one hole.
pub(super) fn sealed(topic: &Topic, first: u64, open: &mut OpenRows) -> Vec<Segment> {
    let count = open.len() as u64;
    match open.finish() {
        _ if count == 0 => Vec::new(),
        Ok(rows) => split_invalid(topic, first, rows),
        Err(e) => vec![Segment { first, content: unwritable(topic, first, count, &e) }],
    }
}

/// Splits `rows` into segments, with a hole for each row that the topic's table cannot hold.
fn split_invalid(topic: &Topic, mut first: u64, mut rows: RecordBatch) -> Vec<Segment> {
    let mut segments = Vec::new();
    while let Err(bad) = topic.schema.check(&rows) {
        if bad.row > 0 {
            segments.push(Segment { first, content: Content::Rows(rows.slice(0, bad.row)) });
        }
        first += bad.row as u64;
        tracing::error!(topic = %topic.name, seq = first, column = bad.column, why = bad.why, "a row was not recorded: no table can hold it");
        metrics::shed(&topic.name, Reason::Invalid.as_str(), 1);
        segments.push(Segment { first, content: Content::Hole { count: 1, reason: Reason::Invalid } });
        first += 1;
        rows = rows.slice(bad.row + 1, rows.num_rows() - bad.row - 1);
    }
    if rows.num_rows() > 0 {
        segments.push(Segment { first, content: Content::Rows(rows) });
    }
    segments
}

/// Returns the hole that replaces rows which Arrow refuses.
pub(super) fn unwritable(topic: &Topic, first: u64, count: u64, why: &ArrowError) -> Content {
    tracing::error!(topic = %topic.name, first, count, error = %why, "cannot make a batch of rows");
    metrics::shed(&topic.name, Reason::WriteFailed.as_str(), count);
    Content::Hole { count, reason: Reason::WriteFailed }
}

// === impl TopicQueue ===

impl TopicQueue {
    fn new(topic: &Arc<Topic>) -> Result<Self, serde_arrow::Error> {
        let columns = topic.schema.columns();
        let end = topic.end();
        // Until rows are measured: 64 bytes for a text, which is more than most texts take.
        let row_bytes =
            columns.fields().iter().map(|f| f.data_type().primitive_width().unwrap_or(64)).sum::<usize>().max(1);
        let open = OpenRows::new(columns)?;
        Ok(Self { topic: topic.clone(), next: end, taken: end, sealed: Vec::new(), open, open_bytes: 0, row_bytes })
    }

    /// Updates the estimate. It rises at once and falls slowly, so that large rows do not count as small ones.
    fn measured(&mut self, row_bytes: Option<usize>) {
        let Some(measured) = row_bytes else { return };
        self.row_bytes = measured.max(self.row_bytes - self.row_bytes / 8).max(1);
    }

    fn take(&mut self, spare: &mut OpenRows) -> (Vec<Segment>, u64) {
        let first_open = self.next - self.open.len() as u64;
        std::mem::swap(&mut self.open, spare);
        self.open_bytes = 0;
        self.taken = self.next;
        (std::mem::take(&mut self.sealed), first_open)
    }
}

// === impl Segment ===

impl Segment {
    /// The count of its numbers.
    pub(super) fn count(&self) -> u64 {
        match &self.content {
            Content::Rows(rows) => rows.num_rows() as u64,
            Content::Hole { count, .. } => *count,
        }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Rows(rows) => rows.get_array_memory_size() + SEGMENT_BYTES,
            Content::Hole { .. } => SEGMENT_BYTES,
        }
    }

    fn give_up(self, reason: Reason) -> Self {
        let count = self.count();
        match self.content {
            Content::Rows(_) => Self { first: self.first, content: Content::Hole { count, reason } },
            Content::Hole { .. } => self,
        }
    }
}
