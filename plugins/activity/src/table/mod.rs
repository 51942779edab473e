//! The writer of one table: reads the topic, encodes rows, commits files and closes hours.

mod close;
mod commit;
mod fill;
mod refill;
mod repair;
mod stop;
mod unfit;

pub use stop::Stop;

use crate::committer::Committer;
use crate::compact::{Compaction, Compactor};
use crate::encode::{Encoder, Encodings};
use crate::hours::Hours;
use crate::quarantine::Quarantine;
use crate::record::{GAP_TOPIC, Recorder};
use crate::repair_api::{RepairRequest, RunningTables};
use crate::retry::{Drained, Retry};
use crate::roll_policy::{Policy, Span};
use crate::store::Store;
use greyhound_sdk::{Bus, Consumer, Drain, Health, Publisher, Start, UnknownTopic};
use parquet::errors::ParquetError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The consumer whose cursors say what is committed.
pub(crate) const CONSUMER: &str = "activity";
/// The bytes that are read and encoded at a time.
const READ_BYTES: usize = 1 << 20;
/// How often to check whether hours can be closed.
const CLOSE_INTERVAL: Duration = Duration::from_secs(1);

/// What the writers of all tables share.
pub struct Tables {
    /// The bus with their topics.
    pub bus: Bus,
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Compacts them.
    pub compactor: Compactor,
    /// When their files are committed.
    pub policy: Policy,
    /// How they are encoded.
    pub encodings: Encodings,
    /// Where operators' requests reach them.
    pub running: RunningTables,
}

/// The writer of one table.
pub struct Table {
    topic: String,
    store: Arc<dyn Store>,
    consumer: Consumer,
    committer: Committer,
    hours: Hours,
    compaction: Compaction,
    recorder: Option<Recorder>,
    /// Records lost rows; `None` if the bus has no such topic.
    gaps: Option<Publisher>,
    policy: Policy,
    encodings: Encodings,
    health: Health,
    drain: Drain,
    requests: mpsc::Receiver<RepairRequest>,
    open: Option<Open>,
    /// Batches that begin before this row are first encoded one by one, because one of them cannot be encoded.
    sift_before: u64,
    has_logged_unfit: bool,
}

/// The open file.
struct Open {
    span: Span,
    encoder: Encoder,
    /// The first row of the next file that the table already has.
    limit: u64,
}

impl Table {
    /// The writer of `topic`'s table.
    ///
    /// # Errors
    /// If the bus has no such topic.
    pub async fn new(tables: &Tables, topic: &str, health: Health, drain: Drain) -> Result<Self, UnknownTopic> {
        let (store, shard) = (&tables.store, tables.bus.shard());
        Ok(Self {
            topic: topic.to_owned(),
            store: store.clone(),
            consumer: tables.bus.consumer(CONSUMER, topic, Start::Earliest).await?,
            committer: Committer::new(store.clone(), topic, shard.clone()),
            hours: Hours::new(store.clone(), topic, shard.clone()),
            compaction: tables.compactor.of(topic, shard),
            recorder: Recorder::new(&tables.bus, topic)?,
            gaps: tables.bus.publisher(GAP_TOPIC).ok(),
            policy: tables.policy,
            encodings: tables.encodings,
            health,
            drain,
            requests: tables.running.register(topic),
            open: None,
            sift_before: 0,
            has_logged_unfit: false,
        })
    }

    /// Runs until drained, and no longer than the drain's deadline, even if the store does not answer.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn run(self) -> Result<(), Stop> {
        let mut drain = self.drain.clone();
        let deadline = async { sleep_until(drain.requested().await).await };
        tokio::select! {
            biased;
            ended = self.serve() => ended,
            () = deadline => Err(Drained.into()),
        }
    }

    async fn serve(mut self) -> Result<(), Stop> {
        self.start().await?;
        // Not earlier: until the store has answered, it is unknown whether rows can be committed.
        self.health.ready();
        let mut drain = self.drain.clone();
        let mut look = tokio::time::interval(CLOSE_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let deadline = self.open.as_ref().map(|open| self.policy.deadline(&open.span));
            tokio::select! {
                biased;
                _ = drain.requested() => return self.finish().await,
                () = until(deadline) => self.commit().await?,
                _ = look.tick() => {
                    self.close_hours().await?;
                    // Rows get their turn, however long that took.
                    look.reset();
                }
                Some(request) = self.requests.recv() => {
                    let repaired = self.repair().await?;
                    // The client may be gone.
                    let _ = request.send(repaired);
                }
                batches = self.consumer.next(READ_BYTES) => {
                    let batches = batches?;
                    self.take(batches).await?;
                }
            }
        }
    }

    async fn start(&mut self) -> Result<(), Stop> {
        let mut retry = self.retry("resume");
        while let Err(e) = self.compaction.recover().await {
            retry.wait(e).await?;
        }
        let uncompacted = loop {
            match self.hours.resume(self.consumer.position()).await {
                Ok(hours) => break hours,
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        // The table has rows that this journal never had: this data directory is an old copy. Once it has as many rows
        // of its own, `begin` and the digests notice it.
        if let Some(newest) = self.hours.newest().filter(|newest| newest.next > self.consumer.bounds().end) {
            return Err(self.stranger(newest.path.clone()));
        }
        self.compaction.closed(uncompacted);
        Ok(())
    }

    /// Reads all durable rows and commits them, and waits until the records of the commits are durable.
    async fn finish(mut self) -> Result<(), Stop> {
        loop {
            while self.consumer.position() < self.consumer.bounds().end {
                let batches = self.consumer.next(READ_BYTES).await?;
                self.take(batches).await?;
            }
            self.commit().await?;
            // A commit may find a shorter file of an earlier run; then the remaining rows must be read again.
            if self.consumer.position() >= self.consumer.bounds().end {
                break;
            }
        }
        if let Some(recorder) = &self.recorder {
            recorder.flush().await;
        }
        Ok(())
    }

    fn retry(&self, operation: &'static str) -> Retry {
        Retry::new(operation, &self.topic, self.health.clone(), self.drain.clone(), self.quarantine())
    }

    fn quarantine(&self) -> Quarantine {
        Quarantine::new(self.store.clone(), &self.topic, self.committer.shard())
    }

    fn unfit(&self, source: ParquetError) -> Stop {
        Stop::Encode { topic: self.topic.clone(), source }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
