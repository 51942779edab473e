//! The read side of a topic.

use super::codec;
use super::core::Core;
use super::cursors::Held;
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
    /// The columns of older schemas, by fingerprint.
    older: HashMap<u64, SchemaRef>,
}

/// What becomes of a commit.
pub(super) enum Cursor {
    /// It is durable, and retention waits for it.
    Durable(Held),
    /// It is only shown.
    Shown(Arc<AtomicU64>),
}

/// Those who watch a topic, for the status.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Vec<Watcher>>);

struct Watcher {
    name: String,
    topic: Arc<str>,
    /// Gone with the watcher's reader.
    position: Weak<AtomicU64>,
}

// === impl Watchers ===

impl Watchers {
    pub(super) fn add(&self, name: &str, topic: &Arc<str>, position: u64) -> Arc<AtomicU64> {
        let shown = Arc::new(AtomicU64::new(position));
        let mut all = self.0.lock();
        all.retain(|watcher| watcher.position.strong_count() > 0);
        all.push(Watcher { name: name.to_owned(), topic: topic.clone(), position: Arc::downgrade(&shown) });
        shown
    }

    /// Of each: name, topic, position.
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

    /// What the log has from the position on; nothing where that is yet to come.
    async fn read(&mut self, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        let from = self.position.max(self.bounds().earliest);
        let stored = self.core.log.read(&self.topic.name, from, max_bytes).await.map_err(|e| self.error(e))?;
        stored.into_iter().filter_map(|stored| self.batch(stored, from).transpose()).collect()
    }

    /// The stored rows from `from` on.
    fn batch(&mut self, stored: Stored, from: u64) -> Result<Option<Batch>, ReadError> {
        let Stored { frame, crc } = stored;
        let Body::Rows { schema, batch } = &frame.body else { return Ok(None) };
        let columns = self.columns(*schema)?;
        let rows = codec::decode(batch, columns)
            .map_err(|e| self.error(format!("the rows from {} on cannot be decoded: {e}", frame.first)))?;
        let skip = usize::try_from(from.saturating_sub(frame.first)).unwrap_or(usize::MAX).min(rows.num_rows());
        let rows = rows.slice(skip, rows.num_rows() - skip);
        let first = frame.first + skip as u64;
        Ok((rows.num_rows() > 0).then_some(Batch { first, time: frame.time, digest: crc, rows }))
    }

    /// The columns of the schema with this fingerprint: old rows keep the schema that they were written in.
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
            // A hole at the end: there is nothing to wait for in it.
            self.position = self.position.max(end);
            if self.changes.changed().await.is_err() {
                return Err(self.error("the log is closed"));
            }
        }
    }

    async fn commit(&mut self, next: u64) -> Result<(), ReadError> {
        match &self.cursor {
            Cursor::Shown(position) => position.store(next, Ordering::Relaxed),
            Cursor::Durable(held) => {
                let (file, topic) = (held.file().clone(), self.topic.name.clone());
                let saved = tokio::task::spawn_blocking(move || file.commit(&topic, next)).await;
                saved
                    .map_err(|e| self.error(e))?
                    .map_err(|e| self.error(format!("the cursor could not be written: {e}")))?;
            }
        }
        Ok(())
    }
}
