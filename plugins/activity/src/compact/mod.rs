//! Compaction: a closed hour's files are rewritten into as few as possible, in the background.
//!
//! The rewriting is done on a thread of its own, of the lowest priority, one in the whole process. What it made is
//! swapped in by the table's writer, between its commits: both remove what is on its way out of staging.

pub(crate) mod marks;
pub mod swap;

mod rewrite;

use crate::commit::directory;
use crate::encode::Encodings;
use crate::hours::Success;
use crate::metrics as names;
use crate::read::{Blocking, ReadFailure};
use crate::retention::Retention;
use crate::roll::Hour;
use crate::store::{Passing, Store, StoreError, Trouble};
use greyhound_sdk::Shard;
use marks::{Mark, Marks};
use metrics::counter;
use rewrite::{Rewrite, RewriteError};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use swap::{Settled, Swaps};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// How often it is looked whether something was left behind, and how long it takes until what failed is tried again.
const REST: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 });
/// So many hours are looked at in one step, which keeps the table's writer from commits.
const LOOKS: usize = 10;
/// The lowest priority that there is.
const NICE: i32 = 19;

/// What the compactions of a process share.
#[derive(Clone)]
pub struct Compactor {
    store: Arc<dyn Store>,
    file_size: u64,
    encodings: Encodings,
    retention: Option<Duration>,
    /// How long an hour waits that a process died in.
    pause: Duration,
    /// One at a time: it takes memory.
    turn: Arc<Semaphore>,
}

/// The compaction of one shard's closed hours in one table.
pub struct Compaction {
    compactor: Compactor,
    topic: String,
    shard: Shard,
    swaps: Swaps,
    marks: Marks,
    retention: Retention,
    /// Closed hours that were not looked at.
    waiting: BTreeSet<Hour>,
    /// Closed hours that failed: they are looked at again after the others.
    later: BTreeSet<Hour>,
    job: Option<Job>,
    rests_until: Instant,
    /// What only an operator can mend, and was logged: once is enough.
    told: HashSet<String>,
}

/// An hour that is being rewritten.
struct Job {
    hour: Hour,
    target: String,
    /// Dropped, it tells the thread to stop.
    done: oneshot::Receiver<Result<(), RewriteError>>,
}

// === impl Compactor ===

impl Compactor {
    /// Compacts into files of about `file_size` bytes, and removes days that have been over for `retention`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, file_size: u64, retention: Option<Duration>) -> Self {
        Self {
            store,
            file_size,
            encodings: Encodings::default(),
            retention,
            pause: marks::FIRST_PAUSE,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// With files of these encodings.
    #[must_use]
    pub fn encoding(self, encodings: Encodings) -> Self {
        Self { encodings, ..self }
    }

    /// One that compacts nothing.
    #[cfg(test)]
    pub(crate) fn resting(self) -> Self {
        self.turn.close();
        self
    }

    /// One that tries hours again at once that somebody died in.
    #[cfg(test)]
    pub(crate) fn impatient(self) -> Self {
        Self { pause: Duration::ZERO, ..self }
    }

    /// Waits until no thread rewrites anything. One whose [`Compaction`] is gone stops after the call of the store that
    /// it is at.
    pub async fn idle(&self) {
        let _ = self.turn.acquire().await;
    }

    /// The compaction of `shard`'s hours in `topic`'s table.
    #[must_use]
    pub fn of(&self, topic: &str, shard: &Shard) -> Compaction {
        Compaction {
            compactor: self.clone(),
            topic: topic.to_owned(),
            shard: shard.clone(),
            swaps: Swaps::new(self.store.clone(), topic, shard.clone()),
            marks: Marks::new(self.store.clone(), topic, shard, self.pause),
            retention: Retention::new(self.store.clone(), topic, self.retention),
            waiting: BTreeSet::new(),
            later: BTreeSet::new(),
            job: None,
            rests_until: Instant::now(),
            told: HashSet::new(),
        }
    }

    /// Rewrites an hour's directory into `target`. Blocks.
    fn rewrite(
        &self,
        store: &Blocking,
        source: &str,
        success: &Success,
        target: &str,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), RewriteError> {
        let mut names = store.ask(async |store| store.list(source).await).map_err(ReadFailure::from)?;
        names.retain(|name| name.ends_with(".parquet"));
        if !success.names().eq(names) {
            let why = "its files are not those that _SUCCESS names: see `greyhound tables verify`".to_owned();
            return Err(ReadFailure::Damaged { path: source.to_owned(), why }.into());
        }
        Rewrite { store, source, success, target, file_size: self.file_size, encodings: self.encodings, is_cancelled }
            .run()
    }
}

// === impl Compaction ===

impl Compaction {
    /// Finishes what an earlier run left in the midst, before anything is written.
    ///
    /// # Errors
    /// Where the store cannot.
    pub async fn recover(&mut self) -> Result<(), StoreError> {
        self.settle().await?;
        for (hour, deaths) in self.marks.recover().await? {
            let hour = directory(&self.topic, hour, &self.shard);
            tracing::warn!(
                hour,
                deaths,
                "a process died while it compacted this hour; it is tried again later, less often each time"
            );
        }
        Ok(())
    }

    /// Stops what is being rewritten, so that the files of closed hours can be changed; it is done again later.
    ///
    /// # Errors
    /// If the store cannot remove what was made so far.
    pub async fn rest(&mut self) -> Result<(), StoreError> {
        if let Some(job) = self.job.take() {
            self.later.insert(job.hour);
        }
        self.compactor.idle().await;
        self.settle().await
    }

    /// Takes note that these hours are closed.
    pub fn closed(&mut self, hours: impl IntoIterator<Item = Hour>) {
        self.waiting.extend(hours);
    }

    /// The oldest closed hour that was not looked at, or failed.
    #[must_use]
    pub fn oldest(&self) -> Option<Hour> {
        self.waiting.iter().chain(&self.later).min().copied()
    }

    /// Goes on by one step, if it is time, in the hour `now`. What fails is tried again later: nobody waits for it.
    pub async fn turn(&mut self, now: Hour) {
        if Instant::now() < self.rests_until {
            return;
        }
        if let Err(error) = self.step(now).await {
            // Not by its path: that of each attempt in staging is another one.
            if !error.is_refused() || self.told.insert(format!("{} {}", error.operation, error.trouble.cause())) {
                tracing::warn!(topic = self.topic, %error, "compaction fails; it is tried again later");
            }
            self.rests_until = Instant::now() + REST;
        }
    }

    /// Whether all closed hours were looked at.
    #[cfg(test)]
    pub(crate) fn is_done(&self) -> bool {
        self.job.is_none() && self.waiting.is_empty() && self.later.is_empty()
    }

    async fn step(&mut self, now: Hour) -> Result<(), StoreError> {
        if let Some(job) = &mut self.job {
            let done = match job.done.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Closed) => Err(RewriteError::Cancelled),
                Ok(done) => done,
            };
            let Job { hour, target, .. } = self.job.take().expect("it was there");
            let finished = self.finish(hour, &target, done).await;
            return self.looked_at(hour, finished);
        }
        for _ in 0..LOOKS {
            // The newest first: that is what people look at.
            let Some(hour) = self.waiting.last().copied() else { return self.tidy(now).await };
            let success =
                Success::read(self.compactor.store.as_ref(), &directory(&self.topic, hour, &self.shard)).await;
            match success.map(|found| found.filter(|success| success.files.len() > 1 && !success.compacted)) {
                Ok(Some(_)) if self.marks.waits(hour) => {
                    self.waiting.remove(&hour);
                    self.later.insert(hour);
                }
                Ok(Some(success)) => return self.begin(hour, success),
                other => self.looked_at(hour, other.map(|_| ()))?,
            }
        }
        Ok(())
    }

    /// An hour that fails does not hold up the others.
    fn looked_at(&mut self, hour: Hour, done: Result<(), StoreError>) -> Result<(), StoreError> {
        self.waiting.remove(&hour);
        done.inspect_err(|_| {
            self.later.insert(hour);
        })
    }

    /// What is to be done now and then, each whatever comes of the other.
    async fn tidy(&mut self, now: Hour) -> Result<(), StoreError> {
        self.rests_until = Instant::now() + REST;
        self.waiting.append(&mut self.later);
        let settled = self.settle().await;
        self.retention.enforce(now).await.and(settled)
    }

    /// Starts to rewrite an hour, unless another one is being rewritten.
    fn begin(&mut self, hour: Hour, success: Success) -> Result<(), StoreError> {
        let Ok(turn) = self.compactor.turn.clone().try_acquire_owned() else { return Ok(()) };
        let source = directory(&self.topic, hour, &self.shard);
        let (target, mark) = (self.swaps.replacement(hour), self.marks.mark(hour));
        let done = self
            .spawn(turn, mark, source.clone(), success, target.clone())
            .map_err(|e| Trouble::passing(Passing::Other, e).at("compact", source))?;
        self.job = Some(Job { hour, target, done });
        Ok(())
    }

    fn spawn(
        &self,
        turn: OwnedSemaphorePermit,
        mark: Mark,
        source: String,
        success: Success,
        target: String,
    ) -> std::io::Result<oneshot::Receiver<Result<(), RewriteError>>> {
        let (compactor, store) = (self.compactor.clone(), Blocking::new(self.compactor.store.clone()));
        let (answer, done) = oneshot::channel();
        std::thread::Builder::new().name("compaction".into()).spawn(move || {
            // On Linux of this thread alone. Where it may not, it goes on as it is.
            let _ = rustix::process::nice(NICE);
            let outcome = match mark.set(&store) {
                Ok(()) => compactor.rewrite(&store, &source, &success, &target, &|| answer.is_closed()),
                Err(error) => Err(ReadFailure::from(error).into()),
            };
            mark.clear(&store);
            // The answer first: who sees that nobody has the turn finds it.
            let _ = answer.send(outcome);
            drop(turn);
        })?;
        Ok(done)
    }

    async fn finish(&mut self, hour: Hour, target: &str, done: Result<(), RewriteError>) -> Result<(), StoreError> {
        match done {
            Ok(()) => {
                self.swaps.swap(hour, target).await?;
                counter!(names::HOURS_COMPACTED, "topic" => self.topic.clone()).increment(1);
                tracing::debug!(topic = self.topic, hour = directory(&self.topic, hour, &self.shard), "compacted");
            }
            Err(RewriteError::Read(ReadFailure::Store(error))) => return Err(error),
            Err(error) => {
                let hour = directory(&self.topic, hour, &self.shard);
                tracing::error!(topic = self.topic, hour, %error, "an hour stays as it is, not compacted");
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        for settled in self.swaps.settle(Duration::ZERO).await? {
            match settled {
                Settled::Incomplete(_) | Settled::Obstructed(_) => {
                    if self.told.insert(settled.to_string()) {
                        tracing::error!(topic = self.topic, "{settled}");
                    }
                }
                _ => tracing::info!(topic = self.topic, "{settled}"),
            }
        }
        Ok(())
    }
}
