//! The read side of a topic.

use super::codec;
use super::core::Core;
use super::cursors::OpenCursor;
use super::topic::Topic;
use crate::log::{Body, Stored};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use greyhound_sdk::consumer::Reader;
use greyhound_sdk::{Batch, Bounds, ReadError, TopicSchema};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// Reads one topic.
pub(super) struct TopicReader {
    core: Arc<Core>,
    topic: Arc<Topic>,
    position: u64,
    cursor: Cursor,
    changes: watch::Receiver<u64>,
    /// The columns of older schemas by fingerprint.
    older: HashMap<u64, SchemaRef>,
}

/// Where a commit is stored.
pub(super) enum Cursor {
    /// In the consumer's file: it is durable, and retention waits for it.
    Durable(OpenCursor),
    /// In memory: it is only shown in the status.
    StatusOnly(Arc<AtomicU64>),
}

/// The consumers without a durable cursor, for the status.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Vec<Watcher>>);

struct Watcher {
    name: String,
    topic: Arc<str>,
    /// Dropped together with the watcher's reader.
    position: Weak<AtomicU64>,
}

// === impl Watchers ===

impl Watchers {
    pub(super) fn add(&self, name: &str, topic: &Arc<str>, position: u64) -> Arc<AtomicU64> {
        let current = Arc::new(AtomicU64::new(position));
        let mut all = self.0.lock();
        all.retain(|watcher| watcher.position.strong_count() > 0);
        all.push(Watcher { name: name.to_owned(), topic: topic.clone(), position: Arc::downgrade(&current) });
        current
    }

    /// Returns the name, topic and position of each.
    pub(super) fn all(&self) -> Vec<(String, Arc<str>, u64)> {
        let position =
            |w: &Watcher| Some((w.name.clone(), w.topic.clone(), w.position.upgrade()?.load(Ordering::Relaxed)));
        self.0.lock().iter().filter_map(position).collect()
    }
}

// === impl TopicReader ===

impl TopicReader {
    pub(super) fn new(core: Arc<Core>, topic: Arc<Topic>, position: u64, cursor: Cursor) -> Self {
        let changes = core.log.changes();
        Self { core, topic, position, cursor, changes, older: HashMap::new() }
    }

    fn error(&self, why: impl ToString) -> ReadError {
        ReadError { topic: self.topic.name.to_string(), seq: self.position, why: why.to_string() }
    }

    /// Reads the log from the position on. Returns nothing if no row is durable there yet.
    async fn read(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        let from = self.position.max(self.bounds().earliest);
        let stored = self.core.log.read(&self.topic.name, from, max_bytes).await.map_err(|e| self.error(e))?;
        stored.into_iter().filter_map(|stored| self.batch(stored, from).transpose()).collect()
    }

    /// Decodes the stored rows, without those before `from`.
    fn batch(&mut self, stored: Stored, from: u64) -> Result<Option<Batch>, ReadError> {
        let Stored { frame, crc } = stored;
        let Body::Rows { schema, batch } = &frame.body else { return Ok(None) };
        let columns = self.columns(*schema)?;
        let rows = codec::decode(batch, columns)
            .map_err(|e| self.error(format!("cannot decode the rows from {} on: {e}", frame.first)))?;
        let skip = usize::try_from(from.saturating_sub(frame.first)).unwrap_or(usize::MAX).min(rows.num_rows());
        let rows = rows.slice(skip, rows.num_rows() - skip);
        let first = frame.first + skip as u64;
        Ok((rows.num_rows() > 0).then_some(Batch { first, time: frame.time, digest: crc, rows }))
    }

    /// Returns the columns of the schema with this fingerprint. Old rows keep the schema that they were written with.
    fn columns(&mut self, fingerprint: u64) -> Result<SchemaRef, ReadError> {
        if fingerprint == self.topic.schema.fingerprint() {
            return Ok(self.topic.schema.columns().clone());
        }
        if let Some(known) = self.older.get(&fingerprint) {
            return Ok(known.clone());
        }
        let avro = self.core.log.schema(&self.topic.name, fingerprint);
        let avro = avro.ok_or_else(|| self.error(format!("the log has no schema {fingerprint:016x}")))?;
        let columns = TopicSchema::from_avro(&avro).map_err(|e| self.error(e))?.columns().clone();
        self.older.insert(fingerprint, columns.clone());
        Ok(columns)
    }
}

#[async_trait]
impl Reader for TopicReader {
    fn schema(&self) -> &Arc<TopicSchema> {
        &self.topic.schema
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn seek(&mut self, seq: u64) {
        self.position = seq;
    }

    fn bounds(&self) -> Bounds {
        self.core.log.bounds(&self.topic.name)
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        loop {
            self.changes.mark_unchanged();
            let end = self.bounds().end;
            let batches = self.read(max_bytes).await?;
            if let Some(last) = batches.last() {
                self.position = last.end();
                return Ok(batches);
            }
            // The topic may end in a hole, which holds nothing to wait for.
            self.position = self.position.max(end);
            if self.changes.changed().await.is_err() {
                return Err(self.error("the log is closed"));
            }
        }
    }

    async fn commit(&mut self, next: u64) -> Result<(), ReadError> {
        match &self.cursor {
            Cursor::StatusOnly(position) => position.store(next, Ordering::Relaxed),
            Cursor::Durable(open) => {
                let (file, topic) = (open.file().clone(), self.topic.name.clone());
                let saved = tokio::task::spawn_blocking(move || file.commit(&topic, next)).await;
                saved.map_err(|e| self.error(e))?.map_err(|e| self.error(format!("cannot write the cursor: {e}")))?;
            }
        }
        Ok(())
    }
}
