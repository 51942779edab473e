//! The embedded journal: one sequence of frames for all topics, in segment files on the local disk.
//!
//! What goes in: [`writer`] lays a group of frames behind the last acknowledged byte of the [`active`] segment,
//! syncs once, and only then tells the [`view`], which is all that readers go by. What comes out: [`read`] walks
//! from frame to frame. Whatever fails in a write or a sync, the segment is left behind for good and the next
//! group begins a new one at the last acknowledged byte: what lies behind that place in the old one never counts.
//!
//! ```text
//! <dir>/00000000000000000000.log   frames (see `frame`); named by the journal offset of its first byte
//! <dir>/shard                      the shard's name, made with the journal
//! <dir>/schemas/000001.shop.order.0123456789abcdef.avsc
//! <dir>/damage                     what was found damaged and told
//! <dir>/next                       the file of the next segment, opened ahead; always empty
//! <dir>/lock                       who has the journal open
//! ```

mod active;
mod damage;
mod frame;
mod identity;
pub mod metrics;
mod read;
mod recover;
mod retain;
mod schemas;
mod segment;
mod sync;
#[cfg(test)]
mod tests;
mod view;
mod walk;
mod window;
mod writer;

use self::active::{Active, Ahead};
use self::damage::Damage;
use self::read::Hints;
use self::schemas::Schemas;
use self::view::View;
use self::writer::JournalWriter;
use super::{Log, LogError, LogWriter, Lost, Recovery, Retention, Stored};
use async_trait::async_trait;
use greyhound_sdk::fs::{Directory, FileSystem, Lock, LockError, SharedFs};
use greyhound_sdk::{Bounds, Durability, Shard};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How the journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's name, the first part of the shard of a new journal.
    pub node: String,
    /// When an append counts as durable.
    pub level: Level,
    /// A segment is followed by the next one when it has grown to this many bytes.
    pub segment_size: u64,
}

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// When it is on disk: it survives the end of the machine.
    Fsync,
    /// When it is written, to be synced within this time: it survives the end of the process.
    Interval(Duration),
    /// When it is written: it survives the end of the process, and of the machine where the operating system has
    /// written it by then.
    Memory,
}

/// The journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another one has it open.
    #[error(
        "the journal in {} is in use by {holder}: a data directory belongs to one process; stop that one, or set node.data_dir to another directory",
        dir.display()
    )]
    Held {
        /// The journal's directory.
        dir: PathBuf,
        /// What the holder says of itself.
        holder: String,
    },
    /// The segments are there, but not the file that says whose they are.
    #[error(
        "the journal in {} has lost its file `shard`: its rows can no longer be named; put the file back, or move the directory away to begin anew",
        dir.display()
    )]
    NoShard {
        /// The journal's directory.
        dir: PathBuf,
    },
    /// A file of the journal is not what it should be.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The disk does not do what it should.
    #[error("the journal in {} cannot be opened: {source}", dir.display())]
    Io {
        /// The journal's directory.
        dir: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// The journal in one directory.
pub struct Journal {
    shared: Arc<Shared>,
    shard: Shard,
    recovery: Recovery,
    _lock: Lock,
}

/// What readers, the writer and the syncing thread share.
struct Shared {
    fs: SharedFs,
    dir: PathBuf,
    /// The same, open: a segment must begin also when nothing more can be opened.
    directory: Box<dyn Directory>,
    level: Level,
    segment_size: u64,
    view: RwLock<View>,
    tail: Mutex<Tail>,
    schemas: RwLock<Schemas>,
    damage: Mutex<Damage>,
    hints: Mutex<Hints>,
    changes: watch::Sender<u64>,
}

/// The end of the journal, where it grows.
#[derive(Default)]
struct Tail {
    /// The writer that may append; those before it are fenced.
    epoch: u64,
    /// The segment being written; `None`: the next append begins one.
    active: Option<Active>,
    /// The file of the segment after it, opened ahead.
    ahead: Option<Ahead>,
}

// === impl Journal ===

impl Journal {
    /// Looks, without opening it, whether it is known whose rows the journal in `dir` holds.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn look(fs: &dyn FileSystem, dir: &Path) -> Result<(), OpenError> {
        match fs.exists(dir) {
            Ok(true) => identity::find(fs, dir).map(drop),
            _ => Ok(()),
        }
    }

    /// Opens the journal in `dir`, or makes one. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is none: it is told in [`Recovery::damage`].
    pub fn open(fs: SharedFs, dir: &Path, options: Options) -> Result<Arc<Self>, OpenError> {
        metrics::describe();
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        fs.create_dir_all(dir).map_err(io)?;
        let lock = lock(&fs, dir)?;
        let directory = fs.open_dir(dir).map_err(io)?;
        let shard = identity::find_or_make(&*fs, dir, &options.node)?;
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
            level: options.level,
            segment_size: options.segment_size,
            view: RwLock::new(recovered.view),
            tail: Mutex::new(Tail { epoch: 0, active, ahead: None }),
            schemas: RwLock::new(schemas),
            damage: Mutex::new(damage),
            hints: Mutex::default(),
            changes: watch::channel(0).0,
        });
        if let Level::Interval(interval) = options.level {
            sync::start(&shared, interval).map_err(io)?;
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
        match self.shared.level {
            Level::Fsync => Durability::Host,
            Level::Interval(_) | Level::Memory => Durability::Process,
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
        retained.map_err(|e| LogError::Retry { reason: format!("old segments cannot be deleted: {e}"), full: false })
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

// === impl Shared ===

impl Shared {
    /// Tells the journal's size to the metrics.
    fn measure(&self) {
        let view = self.view.read();
        ::metrics::gauge!(metrics::SIZE_BYTES).set(view.size() as f64);
        ::metrics::gauge!(metrics::SEGMENTS).set(view.segments.len() as f64);
    }
}
