//! A log in memory that fails on request and outlives its bus.

use crate::log::{Body, Frame, Log, LogError, LogWriter, Lost, Recovery, Retention, Stored};
use async_trait::async_trait;
use greyhound_sdk::{Bounds, Durability, Shard};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// How the disk treats the next appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskMode {
    /// Appends succeed.
    #[default]
    Healthy,
    /// Appends block the writer thread until the mode changes.
    Busy,
    /// The disk is full except for the reserve.
    Full,
    /// Neither rows nor gaps can be written now.
    Down,
    /// The outcome of one append is unknown: it may have been applied or not. Later appends succeed.
    Unknown { applied: bool },
    /// A sync has failed, so nothing can be written any more.
    Poisoned,
}

/// The log as one bus has opened it.
pub struct MemoryLog {
    shard: Shard,
    recovery: Recovery,
    disk: Disk,
}

/// The content of the log, which outlives the bus. Cheap to clone.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Content>>, Arc<Changes>);

struct Changes(watch::Sender<u64>);

#[derive(Default)]
struct Content {
    mode: DiskMode,
    frames: HashMap<Arc<str>, Vec<Frame>>,
    earliest: HashMap<Arc<str>, u64>,
    groups: Vec<Vec<Frame>>,
    schemas: Vec<(String, u64, Arc<str>)>,
    floor: i64,
    writers: u64,
    opened: bool,
    closed: bool,
    reserved: usize,
    damage: Vec<Lost>,
    doomed: Vec<Lost>,
    required: HashMap<Arc<str>, u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Disk {
    pub fn open(&self) -> Arc<MemoryLog> {
        let mut content = self.0.lock();
        let (new, clean) = (!std::mem::replace(&mut content.opened, true), std::mem::take(&mut content.closed));
        let recovery = Recovery { clean, new, floor: content.floor, damage: std::mem::take(&mut content.damage) };
        Arc::new(MemoryLog { shard: Shard::new("test", 1), recovery, disk: self.clone() })
    }

    pub fn set(&self, mode: DiskMode) {
        self.0.lock().mode = mode;
    }

    /// Returns the appended groups.
    pub fn groups(&self) -> Vec<Vec<Frame>> {
        self.0.lock().groups.clone()
    }

    pub fn frames(&self, topic: &str) -> Vec<Frame> {
        self.0.lock().frames.get(topic).cloned().unwrap_or_default()
    }

    /// Returns how many groups used the reserve.
    pub fn reserved(&self) -> usize {
        self.0.lock().reserved
    }

    pub fn writers(&self) -> u64 {
        self.0.lock().writers
    }

    /// Sets the damage that the next opening finds.
    pub fn damage(&self, lost: Lost) {
        self.0.lock().damage.push(lost);
    }

    /// Sets the rows that the next retention deletes although they are needed.
    pub fn doom(&self, lost: Lost) {
        self.0.lock().doomed.push(lost);
    }

    /// Returns the rows that consumers needed at the last retention.
    pub fn required(&self) -> HashMap<Arc<str>, u64> {
        self.0.lock().required.clone()
    }

    /// Removes the topic's last frame, like a power cut below the level `fsync`.
    pub fn forget_last(&self, topic: &str) {
        self.0.lock().frames.get_mut(topic).unwrap().pop();
    }
}

impl Content {
    fn end(&self, topic: &str) -> u64 {
        self.frames.get(topic).and_then(|f| f.last()).map_or(0, |f| f.first + u64::from(f.rows))
    }

    fn apply(&mut self, group: &[Frame]) {
        for frame in group {
            assert_eq!(frame.first, self.end(&frame.topic), "the numbers of {} are consecutive", frame.topic);
            assert!(frame.time >= self.floor, "times do not decrease");
            self.floor = frame.time;
            self.frames.entry(frame.topic.clone()).or_default().push(frame.clone());
        }
        self.groups.push(group.to_vec());
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn durability(&self) -> Durability {
        Durability::Process
    }

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    async fn writer(&self) -> Result<Box<dyn LogWriter>, LogError> {
        let mut content = self.disk.0.lock();
        content.writers += 1;
        Ok(Box::new(MemoryWriter { disk: self.disk.clone(), epoch: content.writers }))
    }

    async fn read(&self, topic: &str, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        let mut bytes = 0;
        let stored =
            self.disk.frames(topic).into_iter().filter(|f| f.first + u64::from(f.rows) > from).filter_map(|frame| {
                let Body::Rows { batch, .. } = &frame.body else { return None };
                let crc = crc32c::crc32c(batch);
                Some(Stored { crc, frame })
            });
        let fits = |s: &Stored| {
            let fits = bytes == 0 || bytes < max_bytes;
            bytes += if let Body::Rows { batch, .. } = &s.frame.body { batch.len() } else { 0 };
            fits
        };
        Ok(stored.take_while(fits).collect())
    }

    fn bounds(&self, topic: &str) -> Bounds {
        let content = self.disk.0.lock();
        Bounds {
            earliest: content.earliest.get(topic).copied().unwrap_or(0),
            end: content.end(topic),
            floor: content.floor,
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.disk.1.0.subscribe()
    }

    async fn retain(&self, _: &Retention, required: &HashMap<Arc<str>, u64>, _: i64) -> Result<Vec<Lost>, LogError> {
        let mut content = self.disk.0.lock();
        content.required.clone_from(required);
        let doomed = std::mem::take(&mut content.doomed);
        for lost in &doomed {
            let (topic, (_, last)) = (lost.topic.clone().unwrap(), lost.range.unwrap());
            content.frames.get_mut(&topic).unwrap().retain(|f| f.first > last);
            content.earliest.insert(topic, last + 1);
        }
        Ok(doomed)
    }

    fn damage(&self) -> Vec<Lost> {
        Vec::new()
    }

    fn schema(&self, topic: &str, fingerprint: u64) -> Option<Arc<str>> {
        let content = self.disk.0.lock();
        content.schemas.iter().find(|(t, f, _)| t == topic && *f == fingerprint).map(|(.., avro)| avro.clone())
    }

    fn schemas(&self, topic: &str) -> Vec<Arc<str>> {
        let content = self.disk.0.lock();
        content.schemas.iter().filter(|(t, ..)| t == topic).map(|(.., avro)| avro.clone()).collect()
    }

    fn size(&self) -> u64 {
        0
    }

    fn size_of(&self, _: &str) -> u64 {
        0
    }
}

struct MemoryWriter {
    disk: Disk,
    epoch: u64,
}

impl MemoryWriter {
    fn try_append(&self, group: &[Frame], reserved: bool) -> Option<Result<(), LogError>> {
        let mut content = self.disk.0.lock();
        if content.writers != self.epoch {
            return Some(Err(LogError::Fenced));
        }
        let retry = |full| Some(Err(LogError::Retry { reason: "test".to_owned(), full }));
        match content.mode {
            DiskMode::Busy => return None,
            DiskMode::Full if !reserved => return retry(true),
            DiskMode::Down => return retry(false),
            DiskMode::Poisoned => return Some(Err(LogError::Fatal("fdatasync failed".to_owned()))),
            DiskMode::Unknown { applied } => {
                content.mode = DiskMode::Healthy;
                if applied {
                    content.apply(group);
                }
                return Some(Err(LogError::Unknown("the connection was lost".to_owned())));
            }
            DiskMode::Healthy | DiskMode::Full => content.apply(group),
        }
        content.reserved += usize::from(reserved);
        drop(content);
        self.disk.1.0.send_modify(|n| *n += 1);
        Some(Ok(()))
    }

    async fn append(&self, group: &[Frame], reserved: bool) -> Result<(), LogError> {
        loop {
            if let Some(result) = self.try_append(group, reserved) {
                return result;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl LogWriter for MemoryWriter {
    async fn register(&mut self, topic: &str, fingerprint: u64, avro: &str) -> Result<(), LogError> {
        let mut content = self.disk.0.lock();
        if !content.schemas.iter().any(|(t, f, _)| t == topic && *f == fingerprint) {
            content.schemas.push((topic.to_owned(), fingerprint, avro.into()));
        }
        Ok(())
    }

    async fn append(&mut self, group: &[Frame]) -> Result<(), LogError> {
        Self::append(self, group, false).await
    }

    async fn floor(&mut self, time: i64) -> Result<(), LogError> {
        let mut content = self.disk.0.lock();
        assert!(time >= content.floor, "the floor does not decrease");
        content.floor = time;
        drop(content);
        self.disk.1.0.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn append_reserved(&mut self, group: &[Frame]) -> Result<(), LogError> {
        Self::append(self, group, true).await
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        self.disk.0.lock().closed = true;
        Ok(())
    }
}
