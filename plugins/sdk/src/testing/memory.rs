//! A bus in memory. Rows are durable as soon as they are published, and the test sets the clock.

use crate::bus::{Backend, Bus, UnknownTopic};
use crate::consumer::{Batch, Bounds, ReadError, Reader, Start};
use crate::publisher::{NotDurable, Refused, Share, Writer};
use crate::{Shard, TopicSchema};
use arrow_array::RecordBatch;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_arrow::ArrayBuilder;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A bus in memory. Cheap to clone; all clones share one bus.
#[derive(Clone)]
pub struct MemoryBus(Arc<Inner>);

struct Inner {
    shard: Shard,
    topics: Vec<Arc<TopicSchema>>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    time: i64,
    full: bool,
    logs: HashMap<String, TopicLog>,
    cursors: HashMap<(String, String), u64>,
}

#[derive(Default)]
struct TopicLog {
    end: u64,
    batches: Vec<Batch>,
}

impl TopicLog {
    fn append(&mut self, time: i64, rows: RecordBatch) -> u64 {
        let (first, digest) = (self.end, crc32c::crc32c(format!("{rows:?}").as_bytes()));
        self.end += rows.num_rows() as u64;
        self.batches.push(Batch { first, time, digest, rows });
        first
    }

    fn earliest(&self) -> u64 {
        self.batches.first().map_or(self.end, |batch| batch.first)
    }
}

impl MemoryBus {
    /// Creates a bus of the shard `test-00000001` with these topics, at time 0.
    #[must_use]
    pub fn new(topics: Vec<TopicSchema>) -> Self {
        let topics = topics.into_iter().map(Arc::new).collect();
        Self(Arc::new(Inner {
            shard: Shard::new("test", 1),
            topics,
            state: Mutex::default(),
            changed: watch::channel(0).0,
        }))
    }

    /// Returns the handle that plugins use.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::new(Arc::new(self.clone()))
    }

    /// Sets the time of later appends, and the floor, in microseconds since 1970 UTC. An earlier time than the current
    /// one has no effect.
    pub fn set_time(&self, time: i64) {
        let mut state = self.0.state.lock();
        state.time = state.time.max(time);
        drop(state);
        self.notify();
    }

    /// Sets whether every publication is shed.
    pub fn set_full(&self, full: bool) {
        self.0.state.lock().full = full;
    }

    /// Skips the next `count` numbers of `topic`, which makes a hole.
    pub fn skip(&self, topic: &str, count: u64) {
        self.0.state.lock().logs.entry(topic.to_owned()).or_default().end += count;
        self.notify();
    }

    /// Returns the durable cursor of a consumer.
    #[must_use]
    pub fn cursor(&self, name: &str, topic: &str) -> Option<u64> {
        self.0.state.lock().cursors.get(&(name.to_owned(), topic.to_owned())).copied()
    }

    /// Returns every batch of `topic`.
    #[must_use]
    pub fn batches(&self, topic: &str) -> Vec<Batch> {
        self.0.state.lock().logs.get(topic).map(|log| log.batches.clone()).unwrap_or_default()
    }

    /// Returns every row of `topic` as a `T`, with enums as numbers.
    ///
    /// # Panics
    /// If a row does not fit `T`.
    #[must_use]
    pub fn rows<T: DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let batches = self.batches(topic);
        batches.iter().flat_map(|b| b.read::<T>().expect("rows that fit the type")).collect()
    }

    /// Appends rows without checking them. A journal of an earlier version may hold rows that a publisher would refuse.
    pub fn append_unchecked(&self, topic: &str, rows: RecordBatch) {
        let mut state = self.0.state.lock();
        let time = state.time;
        state.logs.entry(topic.to_owned()).or_default().append(time, rows);
        drop(state);
        self.notify();
    }

    fn schema(&self, topic: &str) -> Result<Arc<TopicSchema>, UnknownTopic> {
        self.0.topics.iter().find(|t| t.name() == topic).cloned().ok_or_else(|| UnknownTopic {
            topic: topic.to_owned(),
            known: self.0.topics.iter().map(|t| t.name().to_owned()).collect(),
        })
    }

    fn notify(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl Backend for MemoryBus {
    fn shard(&self) -> &Shard {
        &self.0.shard
    }

    fn topics(&self) -> Vec<Arc<TopicSchema>> {
        self.0.topics.clone()
    }

    fn writer(&self, topic: &str) -> Result<Arc<dyn Writer>, UnknownTopic> {
        Ok(Arc::new(MemoryWriter { bus: self.clone(), schema: self.schema(topic)? }))
    }

    async fn reader(&self, name: &str, topic: &str, start: Start) -> Result<Box<dyn Reader>, UnknownTopic> {
        let schema = self.schema(topic)?;
        let mut state = self.0.state.lock();
        let log = state.logs.entry(topic.to_owned()).or_default();
        let fresh = if start == Start::Latest { log.end } else { log.earliest() };
        let position = state.cursors.get(&(name.to_owned(), topic.to_owned())).copied().unwrap_or(fresh);
        let changed = self.0.changed.subscribe();
        Ok(Box::new(MemoryReader { bus: self.clone(), schema, name: name.to_owned(), position, changed }))
    }
}

struct MemoryWriter {
    bus: MemoryBus,
    schema: Arc<TopicSchema>,
}

impl MemoryWriter {
    fn refuse(&self, why: impl ToString) -> Refused {
        Refused::Schema { topic: self.schema.name().to_owned(), why: why.to_string() }
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    fn schema(&self) -> &Arc<TopicSchema> {
        &self.schema
    }

    fn append(
        &self,
        _: Share<'_>,
        _: usize,
        push: &mut dyn FnMut(&mut ArrayBuilder) -> serde_arrow::Result<()>,
    ) -> Result<u64, Refused> {
        let mut builder = ArrayBuilder::from_arrow(self.schema.columns().fields()).map_err(|e| self.refuse(e))?;
        push(&mut builder).map_err(|e| self.refuse(e))?;
        self.append_batch(builder.to_record_batch().map_err(|e| self.refuse(e))?)
    }

    fn append_batch(&self, rows: RecordBatch) -> Result<u64, Refused> {
        if rows.schema().fields().iter().map(|f| f.data_type()).ne(self
            .schema
            .columns()
            .fields()
            .iter()
            .map(|f| f.data_type()))
        {
            return Err(self.refuse(format!("its columns are {:?}", rows.schema())));
        }
        self.schema.check(&rows).map_err(|bad| self.refuse(bad))?;
        let mut state = self.bus.0.state.lock();
        let (time, full) = (state.time, state.full);
        let log = state.logs.entry(self.schema.name().to_owned()).or_default();
        if full {
            let (first, count) = (log.end, rows.num_rows() as u64);
            log.end += count;
            return Err(Refused::Shed {
                topic: self.schema.name().to_owned(),
                count,
                first: Some(first),
                reason: "overload",
            });
        }
        let first = log.append(time, rows);
        drop(state);
        self.bus.notify();
        Ok(first)
    }

    async fn wait_for_room(&self) {}

    async fn durable(&self, _seq: u64) -> Result<(), NotDurable> {
        Ok(())
    }
}

struct MemoryReader {
    bus: MemoryBus,
    schema: Arc<TopicSchema>,
    name: String,
    position: u64,
    changed: watch::Receiver<u64>,
}

impl MemoryReader {
    fn ready(&self, max_bytes: usize) -> Vec<Batch> {
        let state = self.bus.0.state.lock();
        let log = &state.logs[self.schema.name()];
        let mut bytes = 0;
        let fits = |b: &&Batch| {
            let fits = bytes == 0 || bytes < max_bytes;
            bytes += b.rows.get_array_memory_size();
            fits
        };
        log.batches.iter().filter(|b| b.end() > self.position).take_while(fits).cloned().collect()
    }
}

#[async_trait]
impl Reader for MemoryReader {
    fn schema(&self) -> &Arc<TopicSchema> {
        &self.schema
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn seek(&mut self, seq: u64) {
        self.position = seq;
    }

    fn bounds(&self) -> Bounds {
        let state = self.bus.0.state.lock();
        let log = &state.logs[self.schema.name()];
        Bounds { earliest: log.earliest(), end: log.end, floor: state.time }
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        loop {
            self.changed.mark_unchanged();
            let batches = self.ready(max_bytes);
            if let Some(last) = batches.last() {
                self.position = last.end();
                return Ok(batches);
            }
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn commit(&mut self, next: u64) -> Result<(), ReadError> {
        self.bus.0.state.lock().cursors.insert((self.name.clone(), self.schema.name().to_owned()), next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn published_rows_are_read_back() {
        let gap = TopicSchema::from_avro(include_str!("../../../../schemas/greyhound.gap.avsc")).unwrap();
        let memory = MemoryBus::new(vec![gap]);
        let bus = memory.bus();
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug, Clone)]
        struct Gap {
            topic: Option<String>,
            first_seq: Option<i64>,
            last_seq: Option<i64>,
            row_count: Option<i64>,
            reason: String,
            from_time: i64,
            to_time: i64,
        }
        let row = Gap {
            topic: None,
            first_seq: Some(1),
            last_seq: None,
            row_count: None,
            reason: "test".into(),
            from_time: 1,
            to_time: 2,
        };
        let publisher = bus.publisher("greyhound.gap").unwrap();
        assert_eq!(publisher.offer(&row).unwrap(), 0);
        memory.skip("greyhound.gap", 3);
        assert_eq!(publisher.offer(&row).unwrap(), 4);
        let mut consumer = bus.consumer("me", "greyhound.gap", Start::Earliest).await.unwrap();
        let firsts: Vec<_> = consumer.next(usize::MAX).await.unwrap().iter().map(|b| b.first).collect();
        assert_eq!((firsts, consumer.position()), (vec![0, 4], 5));
        assert_eq!(memory.rows::<Gap>("greyhound.gap"), [row.clone(), row]);
        assert!(bus.publisher("nobody's").is_err());
    }
}
