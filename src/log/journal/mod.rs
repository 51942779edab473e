//! The embedded journal: one sequence of frames for all topics, in segment files on the local disk.
//!
//! The [`writer`] writes a group of frames after the last acknowledged byte of the [`active`] segment and syncs once.
//! Only then does it update the [`view`], which defines what readers see. [`read`] walks from frame to frame. If a
//! write or a sync fails, the segment is abandoned, and the next group begins a new one at the last acknowledged byte:
//! bytes after that offset in the old segment are ignored.
//!
//! ```text
//! <dir>/00000000000000000000.log   frames (see `frame`); the name is the journal offset of the first byte
//! <dir>/shard                      the shard's name, generated with the journal
//! <dir>/schemas/000001.shop.order.0123456789abcdef.avsc
//! <dir>/damage                     damaged ranges that were reported
//! <dir>/next                       the file of the next segment, opened in advance; always empty
//! <dir>/lock                       the process that has the journal open
//! ```

mod active;
mod damage;
mod error;
mod frame;
mod hints;
mod identity;
mod interval_sync;
pub mod metrics;
mod options;
mod read;
mod recover;
mod retain;
mod schemas;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod view;
mod walk;
mod window;
mod writer;

pub use self::error::OpenError;
pub use self::options::{Options, SyncPolicy};

use self::active::Active;
use self::damage::Damage;
use self::schemas::Schemas;
use self::shared::{Shared, Tail};
use self::writer::JournalWriter;
use super::{Log, LogError, LogWriter, Lost, Recovery, Retention, Stored};
use async_trait::async_trait;
use greyhound_sdk::fs::{FileSystem, Lock, LockError, SharedFs};
use greyhound_sdk::{Bounds, Durability, Shard};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// The journal in one directory.
pub struct Journal {
    shared: Arc<Shared>,
    shard: Shard,
    recovery: Recovery,
    _lock: Lock,
}

// === impl Journal ===

impl Journal {
    /// Checks, without opening it, that the journal in `dir` has a valid shard.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn check(fs: &dyn FileSystem, dir: &Path) -> Result<(), OpenError> {
        match fs.exists(dir) {
            Ok(true) => identity::find(fs, dir).map(drop),
            _ => Ok(()),
        }
    }

    /// Opens the journal in `dir`, or creates it. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]. Damaged rows are not an error: [`Recovery::damage`] lists them.
    pub fn open(fs: SharedFs, dir: &Path, options: Options) -> Result<Arc<Self>, OpenError> {
        metrics::describe();
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        fs.create_dir_all(dir).map_err(io)?;
        let lock = lock(&fs, dir)?;
        let directory = fs.open_dir(dir).map_err(io)?;
        let shard = identity::find_or_create(&*fs, dir, &options.node)?;
        let schemas = Schemas::open(&fs, dir)?;
        let mut damage = Damage::open(fs.clone(), dir).map_err(io)?;
        let recovered = recover::recover(&*fs, dir, &schemas.topics(), &mut damage).map_err(io)?;
        let active =
            if recovered.begin_segment { None } else { Active::reopen(&*fs, dir, &recovered.view).map_err(io)? };
        let new = recovered.view.segments.is_empty();
        let recovery = Recovery { clean: recovered.clean, new, floor: recovered.view.floor, damage: damage.take() };
        let shared = Arc::new(Shared {
            fs,
            dir: dir.to_owned(),
            directory,
            sync: options.sync,
            segment_size: options.segment_size,
            view: RwLock::new(recovered.view),
            tail: Mutex::new(Tail { epoch: 0, active, next: None }),
            schemas: RwLock::new(schemas),
            damage: Mutex::new(damage),
            hints: Mutex::default(),
            changes: watch::channel(0).0,
        });
        if let SyncPolicy::Interval(interval) = options.sync {
            interval_sync::start(&shared, interval).map_err(io)?;
        }
        shared.measure();
        Ok(Arc::new(Self { shared, shard, recovery, _lock: lock }))
    }
}

fn lock(fs: &SharedFs, dir: &Path) -> Result<Lock, OpenError> {
    let me = format!("process {}", std::process::id());
    fs.try_lock(&dir.join("lock"), &me).map_err(|e| match e {
        LockError::Held(holder) if holder.is_empty() => {
            OpenError::Held { dir: dir.to_owned(), holder: "another process".to_owned() }
        }
        LockError::Held(holder) => OpenError::Held { dir: dir.to_owned(), holder },
        LockError::Io(source) => OpenError::Io { dir: dir.to_owned(), source },
    })
}

#[async_trait]
impl Log for Journal {
    fn durability(&self) -> Durability {
        match self.shared.sync {
            SyncPolicy::Fsync => Durability::Host,
            SyncPolicy::Interval(_) | SyncPolicy::Memory => Durability::Process,
        }
    }

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    async fn writer(&self) -> Result<Box<dyn LogWriter>, LogError> {
        Ok(Box::new(JournalWriter::take_over(&self.shared)?))
    }

    async fn read(&self, topic: &str, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        let id = {
            let view = self.shared.view.read();
            view.id(topic).filter(|id| view.topic(*id).is_some_and(|t| t.next > from))
        };
        let Some(id) = id else { return Ok(Vec::new()) };
        let shared = self.shared.clone();
        let read = tokio::task::spawn_blocking(move || read::read(&shared, id, from, max_bytes)).await;
        let failed = |why: &dyn ToString| LogError::Retry { reason: why.to_string(), full: false };
        read.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }

    fn bounds(&self, topic: &str) -> Bounds {
        self.shared.view.read().bounds(topic)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    async fn retain(
        &self,
        policy: &Retention,
        required: &HashMap<Arc<str>, u64>,
        now: i64,
    ) -> Result<Vec<Lost>, LogError> {
        let (shared, policy, required) = (self.shared.clone(), policy.clone(), required.clone());
        let retained = tokio::task::spawn_blocking(move || retain::retain(&shared, &policy, &required, now)).await;
        retained.map_err(|e| LogError::Retry { reason: format!("cannot delete old segments: {e}"), full: false })
    }

    fn damage(&self) -> Vec<Lost> {
        self.shared.damage.lock().take()
    }

    fn schema(&self, topic: &str, fingerprint: u64) -> Option<Arc<str>> {
        self.shared.schemas.read().get(topic, fingerprint)
    }

    fn schemas(&self, topic: &str) -> Vec<Arc<str>> {
        self.shared.schemas.read().of(topic)
    }

    fn size(&self) -> u64 {
        self.shared.view.read().size()
    }

    fn size_of(&self, topic: &str) -> u64 {
        self.shared.view.read().size_of(topic)
    }
}
