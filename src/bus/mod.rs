//! The bus: takes rows from publishers, makes them durable in a [`Log`], hands them to consumers.
//!
//! A row's way: [`queue`] numbers it under one short lock and joins it with its neighbours · [`committer`], a
//! thread of its own, takes all that is queued at once, [`group`] forms frames of it, and one append makes them
//! durable · [`topic`] tells those who wait · [`consume`] reads it back. What cannot be recorded is recorded as
//! a [`gap`].

mod clock;
mod codec;
mod committer;
mod consume;
mod consumers;
mod core;
mod cursors;
mod gap;
mod group;
pub mod metrics;
mod open_rows;
mod publish;
mod queue;
mod shares;
mod start;
#[cfg(test)]
mod tests;
mod topic;

pub use self::clock::Clock;
pub use self::consumers::Position;
pub use self::core::End;
pub use self::cursors::{BadCursors, CursorError, look as look_at_cursors};
pub use self::gap::{GAP_TOPIC, gap_schema};
pub use self::start::StartError;

use self::consume::{Cursor, TopicReader, Watchers};
use self::core::Core;
use self::cursors::Cursors;
use self::gap::Reason;
use self::publish::TopicWriter;
use self::queue::Phase;
use crate::log::{Log, LogError, Retention};
use async_trait::async_trait;
use greyhound_sdk::bus::Backend;
use greyhound_sdk::consumer::Reader;
use greyhound_sdk::fs::SharedFs;
use greyhound_sdk::publisher::Writer;
use greyhound_sdk::{Bus, Health, Shard, Start, TopicSchema, UnknownTopic};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

/// What the bus needs to know; see [`BusOptions::new`] for the defaults.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// Rows that are not yet durable may take this much memory; above it they are shed, with a gap.
    pub queue_bytes: usize,
    /// How long rows that nobody waits for may wait for others to ride with.
    pub linger: Duration,
    /// How often the floor is told while nothing is published.
    pub floor_interval: Duration,
    /// When rows may be deleted.
    pub retention: Retention,
    /// How often that is looked at.
    pub retention_interval: Duration,
    /// The file layer for the cursors.
    pub fs: SharedFs,
    /// Where the cursors are kept; made where it is missing.
    pub cursors_dir: PathBuf,
    /// What the times of append come from.
    pub clock: Clock,
    /// The bus's voice on `/readyz`; its parts are `log` and `clock`.
    pub health: Health,
}

impl BusOptions {
    /// The defaults.
    #[must_use]
    pub fn new(fs: SharedFs, cursors_dir: PathBuf, retention: Retention, health: Health) -> Self {
        Self {
            queue_bytes: 64 << 20,
            linger: Duration::from_millis(10),
            floor_interval: Duration::from_secs(5),
            retention,
            retention_interval: Duration::from_secs(10),
            fs,
            cursors_dir,
            clock: Clock::system(),
            health,
        }
    }
}

/// How much longer than its limit closing may take before the log counts as hung.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The bus. Dropped without [`EventBus::close`], it stops where it stands, as if the process were killed.
pub struct EventBus {
    inner: Arc<Inner>,
    keeper: JoinHandle<()>,
}

/// What the handles of the bus share.
struct Inner {
    core: Arc<Core>,
    schemas: Vec<Arc<TopicSchema>>,
    cursors: Arc<Cursors>,
    watchers: Watchers,
    retention: Retention,
}

/// How a topic stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// Its name.
    pub topic: String,
    /// The oldest row that is kept.
    pub earliest: u64,
    /// The number after the newest durable row.
    pub end: u64,
    /// The bytes that the log holds of it.
    pub bytes: u64,
    /// Who reads it.
    pub consumers: Vec<ConsumerStatus>,
}

/// How a consumer of a topic stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// The first row that it has not committed.
    pub position: u64,
    /// How many numbers that is behind the end.
    pub lag: u64,
    /// Whether retention waits for it.
    pub required: bool,
    /// Whether it reads now.
    pub active: bool,
}

// === impl EventBus ===

impl EventBus {
    /// Starts the bus on `log`. The topics stand in the order in which rows may name each other;
    /// `greyhound.gap` is added as the last. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: a topic given twice, a schema that the log's rows do not fit, damaged cursors, or a log that
    /// takes no writer.
    pub async fn start(log: Arc<dyn Log>, topics: Vec<TopicSchema>, options: BusOptions) -> Result<Self, StartError> {
        let interval = options.retention_interval;
        let inner = Arc::new(start::start(log, topics, options).await?);
        let keeper = tokio::spawn(keep_always(inner.clone(), interval));
        Ok(Self { inner, keeper })
    }

    /// The handle that plugins get.
    #[must_use]
    pub fn handle(&self) -> Bus {
        Bus::new(self.inner.clone())
    }

    /// How each topic stands, in the order of declaration.
    #[must_use]
    pub fn status(&self) -> Vec<TopicStatus> {
        self.inner.status()
    }

    /// The bytes that the log holds.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.inner.core.log.size()
    }

    /// Deletes what retention lets go, now.
    ///
    /// # Errors
    /// Where the log could not.
    pub async fn retain(&self) -> Result<(), LogError> {
        self.inner.retain().await
    }

    /// Waits until the bus can take no more rows, and says why: the process should then end, unless it closed the bus
    /// itself.
    pub async fn ended(&self) -> End {
        ended(&self.inner.core).await
    }

    /// Waits, for `limit` at most, until everything that was published before is durable, or known to be lost.
    pub async fn flush(&self, limit: Duration) {
        let core = &self.inner.core;
        let published: Vec<_> =
            (0..core.topics.len()).filter_map(|at| Some((at, core.queue().next(at).checked_sub(1)?))).collect();
        let durable = async {
            for (at, last) in published {
                core.hurry(at, last);
                // What is lost is told in greyhound.gap.
                let _ = core.topics[at].durable(last).await;
            }
        };
        let _ = tokio::time::timeout(limit, durable).await;
    }

    /// Makes durable what was published, records as gaps what the log does not take within `limit`, and closes the log.
    /// What is published meanwhile is recorded as a gap.
    pub async fn close(&self, limit: Duration) -> End {
        self.keeper.abort();
        self.inner.core.enter(Phase::Closing(Instant::now() + limit));
        let ended = tokio::time::timeout(limit + CLOSE_GRACE, ended(&self.inner.core)).await;
        ended.unwrap_or_else(|_| End::Failed("it does not answer".into()))
    }
}

impl Drop for EventBus {
    fn drop(&mut self) {
        self.keeper.abort();
        self.inner.core.enter(Phase::Abandoned);
    }
}

async fn ended(core: &Core) -> End {
    let end = core.ended().wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
    end.unwrap_or(End::Abandoned)
}

/// A panic in it must not end retention for good, and unnoticed.
async fn keep_always(inner: Arc<Inner>, interval: Duration) {
    loop {
        let mut task = JoinSet::new();
        task.spawn(keep(inner.clone(), interval));
        if let Some(Err(error)) = task.join_next().await {
            tracing::error!(%error, "retention failed; it goes on");
        }
    }
}

/// Looks after retention and tells the consumers' lag, until the bus is gone.
async fn keep(inner: Arc<Inner>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(e) = inner.retain().await {
            tracing::warn!(error = %e, "old rows could not be deleted");
        }
        for topic in inner.status() {
            topic.consumers.iter().for_each(|c| metrics::lag(&c.name, &topic.topic, c.lag));
        }
    }
}

// === impl Inner ===

impl Inner {
    fn find(&self, topic: &str) -> Result<usize, UnknownTopic> {
        let known = || self.schemas.iter().map(|s| s.name().to_owned()).collect();
        let at = self.schemas.iter().position(|s| s.name() == topic);
        at.ok_or_else(|| UnknownTopic { topic: topic.to_owned(), known: known() })
    }

    async fn retain(&self) -> Result<(), LogError> {
        let core = &self.core;
        core.record_lost(&core.log.damage(), Reason::Damage);
        let lost = core.log.retain(&self.retention, &self.cursors.required(), core.clock.now()).await?;
        core.record_lost(&lost, Reason::Retention);
        Ok(())
    }

    fn status(&self) -> Vec<TopicStatus> {
        let consumers = self.consumers();
        let of_topic = |topic: &Arc<topic::Topic>| {
            let bounds = self.core.log.bounds(&topic.name);
            let consumers =
                consumers.iter().filter(|(of, _)| **of == *topic.name).map(|(_, status)| status.clone()).collect();
            TopicStatus {
                topic: topic.name.to_string(),
                earliest: bounds.earliest,
                end: bounds.end,
                bytes: self.core.log.size_of(&topic.name),
                consumers,
            }
        };
        self.core.topics.iter().map(of_topic).collect()
    }
}

#[async_trait]
impl Backend for Inner {
    fn shard(&self) -> &Shard {
        self.core.log.shard()
    }

    fn topics(&self) -> Vec<Arc<TopicSchema>> {
        self.schemas.clone()
    }

    fn writer(&self, topic: &str) -> Result<Arc<dyn Writer>, UnknownTopic> {
        Ok(Arc::new(TopicWriter { core: self.core.clone(), at: self.find(topic)? }))
    }

    async fn reader(&self, name: &str, topic: &str, start: Start) -> Result<Box<dyn Reader>, UnknownTopic> {
        let topic = self.core.topics[self.find(topic)?].clone();
        let bounds = self.core.log.bounds(&topic.name);
        let (cursor, position) = match start {
            Start::Earliest => {
                let (held, position) = self.cursors.of(name, &topic.name, bounds.earliest);
                (Cursor::Durable(held), position)
            }
            Start::Latest => (Cursor::Shown(self.watchers.add(name, &topic.name, bounds.end)), bounds.end),
        };
        Ok(Box::new(TopicReader::new(self.core.clone(), topic, position, cursor)))
    }
}
