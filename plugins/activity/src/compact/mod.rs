//! Compaction: rewrites a closed hour's files into as few as possible, in the background.
//!
//! The rewriting runs on its own thread at the lowest priority, one at a time in the process. The table's writer swaps
//! the result in between its commits, because both remove temporary files from staging.

pub(crate) mod attempts;
pub(crate) mod swap;

mod rewrite;

use crate::encode::Encodings;
use crate::layout::{Hour, directory};
use crate::metrics as names;
use crate::read::{Blocking, ReadFailure};
use crate::retention::Retention;
use crate::store::{Failure, Store, StoreError, Transient};
use crate::success::Success;
use attempts::{Attempt, Attempts};
use greyhound_sdk::Shard;
use metrics::counter;
use rewrite::{Rewrite, RewriteError};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use swap::{Settled, Swaps};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// How often to look for leftovers, and how long to wait after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 });
/// So many hours are checked in one step: meanwhile, the table's writer cannot commit.
const HOURS_PER_STEP: usize = 10;
/// The lowest priority.
const LOWEST_NICE: i32 = 19;

/// Shared by all compactions of a process.
#[derive(Clone)]
pub struct Compactor {
    store: Arc<dyn Store>,
    file_size: u64,
    encodings: Encodings,
    retention: Option<Duration>,
    /// How long an hour waits after its rewriting was refused, or killed the process; twice as long after each further
    /// time.
    pause: Duration,
    /// One compaction at a time, because it takes memory.
    turn: Arc<Semaphore>,
}

/// The compaction of one shard's closed hours in one table.
pub struct Compaction {
    compactor: Compactor,
    topic: String,
    shard: Shard,
    swaps: Swaps,
    attempts: Attempts,
    retention: Retention,
    /// Closed hours that were not checked yet.
    waiting: BTreeSet<Hour>,
    /// Closed hours that failed; they are checked again after the others.
    later: BTreeSet<Hour>,
    /// How often hours were refused, and when they are tried again: an operator may restore a damaged file.
    refused: BTreeMap<Hour, (usize, Instant)>,
    job: Option<Job>,
    rests_until: Instant,
    /// What only an operator can fix and was logged, to log it only once.
    logged: HashSet<String>,
}

/// The rewriting of an hour.
struct Job {
    hour: Hour,
    target: String,
    /// The thread stops when this is dropped.
    done: oneshot::Receiver<Result<(), RewriteError>>,
}

// === impl Compactor ===

impl Compactor {
    /// Compacts into files of about `file_size` bytes, and removes days that ended more than `retention` ago.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, file_size: u64, retention: Option<Duration>) -> Self {
        Self {
            store,
            file_size,
            encodings: Encodings::default(),
            retention,
            pause: attempts::RETRY_PAUSE_MIN,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Sets the encodings of the files.
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

    /// One that retries hours at once in which a process died.
    #[cfg(test)]
    pub(crate) fn impatient(self) -> Self {
        Self { pause: Duration::ZERO, ..self }
    }

    /// Waits until no thread rewrites anything. A thread whose [`Compaction`] is dropped stops after its current call
    /// of the store.
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
            attempts: Attempts::new(self.store.clone(), topic, shard, self.pause),
            retention: Retention::new(self.store.clone(), topic, self.retention),
            waiting: BTreeSet::new(),
            later: BTreeSet::new(),
            refused: BTreeMap::new(),
            job: None,
            rests_until: Instant::now(),
            logged: HashSet::new(),
        }
    }

    /// Rewrites an hour's directory into `target`; blocks.
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
            let why = "its files are not those that _SUCCESS lists: see `greyhound tables verify`".to_owned();
            return Err(ReadFailure::Damaged { path: source.to_owned(), why }.into());
        }
        Rewrite { store, source, success, target, file_size: self.file_size, encodings: self.encodings, is_cancelled }
            .run()
    }
}

// === impl Compaction ===

impl Compaction {
    /// Finishes what an earlier run left half-done, before anything is written.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn recover(&mut self) -> Result<(), StoreError> {
        self.settle().await?;
        for (hour, deaths) in self.attempts.recover().await? {
            let hour = directory(&self.topic, hour, &self.shard);
            tracing::warn!(
                hour,
                deaths,
                "a process died while it compacted this hour; it is tried again later, after a longer pause each time"
            );
        }
        Ok(())
    }

    /// Stops the rewriting, so that the files of closed hours can be changed; it is done again later.
    ///
    /// # Errors
    /// If the store cannot remove the unfinished files.
    pub async fn rest(&mut self) -> Result<(), StoreError> {
        if let Some(job) = self.job.take() {
            self.later.insert(job.hour);
        }
        self.compactor.idle().await;
        self.settle().await
    }

    /// Notes that these hours are closed.
    pub fn closed(&mut self, hours: impl IntoIterator<Item = Hour>) {
        for hour in hours {
            // It may have other files than the refused ones.
            self.refused.remove(&hour);
            self.waiting.insert(hour);
        }
    }

    /// The oldest closed hour that was not checked yet, or failed.
    #[must_use]
    pub fn oldest(&self) -> Option<Hour> {
        self.waiting.iter().chain(&self.later).min().copied()
    }

    /// Takes one step, if it is time, in the hour `now`. Failures are retried later: nobody waits for compaction.
    pub async fn turn(&mut self, now: Hour) {
        if Instant::now() < self.rests_until {
            return;
        }
        if let Err(error) = self.step(now).await {
            // Without the path, which differs for each attempt in staging.
            if !error.is_refused() || self.logged.insert(format!("{} {}", error.operation, error.failure.cause())) {
                tracing::warn!(topic = self.topic, %error, "compaction failed; it is tried again later");
            }
            self.rests_until = Instant::now() + RETRY_PAUSE;
        }
    }

    /// Whether all closed hours were checked.
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
            let Job { hour, target, .. } = self.job.take().expect("the job was matched above");
            let finished = self.finish(hour, &target, done).await;
            return self.checked(hour, finished);
        }
        for _ in 0..HOURS_PER_STEP {
            // The newest first, because people query it most.
            let Some(hour) = self.waiting.last().copied() else { return self.tidy(now).await };
            if self.attempts.waits(hour) || self.refused.get(&hour).is_some_and(|(_, until)| Instant::now() < *until) {
                self.waiting.remove(&hour);
                self.later.insert(hour);
                continue;
            }
            let success =
                Success::read(self.compactor.store.as_ref(), &directory(&self.topic, hour, &self.shard)).await;
            match success.map(|found| found.filter(|success| success.files.len() > 1 && !success.compacted)) {
                Ok(Some(success)) => return self.begin(hour, success),
                other => self.checked(hour, other.map(|_| ()))?,
            }
        }
        Ok(())
    }

    /// An hour that fails does not delay the others.
    fn checked(&mut self, hour: Hour, done: Result<(), StoreError>) -> Result<(), StoreError> {
        self.waiting.remove(&hour);
        done.inspect_err(|_| {
            self.later.insert(hour);
        })
    }

    /// Runs what is due now and then; a failure of one part does not keep the others from running.
    async fn tidy(&mut self, now: Hour) -> Result<(), StoreError> {
        self.rests_until = Instant::now() + RETRY_PAUSE;
        self.waiting.append(&mut self.later);
        let settled = self.settle().await;
        self.retention.enforce(now).await.and(settled)
    }

    /// Starts to rewrite an hour, unless another rewriting is running.
    fn begin(&mut self, hour: Hour, success: Success) -> Result<(), StoreError> {
        let Ok(turn) = self.compactor.turn.clone().try_acquire_owned() else { return Ok(()) };
        let source = directory(&self.topic, hour, &self.shard);
        let (target, attempt) = (self.swaps.replacement(hour), self.attempts.begin(hour));
        let done = self
            .spawn(turn, attempt, source.clone(), success, target.clone())
            .map_err(|e| Failure::transient(Transient::Other, e).at("compact", source))?;
        self.job = Some(Job { hour, target, done });
        Ok(())
    }

    fn spawn(
        &self,
        turn: OwnedSemaphorePermit,
        attempt: Attempt,
        source: String,
        success: Success,
        target: String,
    ) -> std::io::Result<oneshot::Receiver<Result<(), RewriteError>>> {
        let (compactor, store) = (self.compactor.clone(), Blocking::new(self.compactor.store.clone()));
        let (answer, done) = oneshot::channel();
        std::thread::Builder::new().name("compaction".into()).spawn(move || {
            // On Linux, this sets only the thread's priority. If it is not permitted, the priority stays.
            let _ = rustix::process::nice(LOWEST_NICE);
            let outcome = match attempt.set(&store) {
                Ok(()) => compactor.rewrite(&store, &source, &success, &target, &|| answer.is_closed()),
                Err(error) => Err(ReadFailure::from(error).into()),
            };
            attempt.clear(&store);
            // The answer first, so that whoever sees the turn free finds it.
            let _ = answer.send(outcome);
            drop(turn);
        })?;
        Ok(done)
    }

    async fn finish(&mut self, hour: Hour, target: &str, done: Result<(), RewriteError>) -> Result<(), StoreError> {
        match done {
            Ok(()) => {
                self.swaps.swap(hour, target).await?;
                self.refused.remove(&hour);
                counter!(names::HOURS_COMPACTED, "topic" => self.topic.clone()).increment(1);
                tracing::debug!(topic = self.topic, hour = directory(&self.topic, hour, &self.shard), "compacted");
            }
            Err(RewriteError::Read(ReadFailure::Store(error))) => return Err(error),
            Err(error) => self.refuse(hour, &error),
        }
        Ok(())
    }

    /// Keeps an hour for later, so that it is not forgotten once later hours are closed.
    fn refuse(&mut self, hour: Hour, error: &RewriteError) {
        self.later.insert(hour);
        let (times, until) = self.refused.entry(hour).or_insert((0, Instant::now()));
        *times += 1;
        *until = Instant::now() + attempts::pause(self.compactor.pause, *times);
        let hour = directory(&self.topic, hour, &self.shard);
        if self.logged.insert(format!("{hour} {error}")) {
            tracing::error!(topic = self.topic, hour, %error, "an hour is not compacted; it is tried again later");
        }
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        for settled in self.swaps.settle(Duration::ZERO).await? {
            match settled {
                Settled::Incomplete(_) | Settled::Obstructed(_) => {
                    if self.logged.insert(settled.to_string()) {
                        tracing::error!(topic = self.topic, "{settled}");
                    }
                }
                _ => tracing::info!(topic = self.topic, "{settled}"),
            }
        }
        Ok(())
    }
}
