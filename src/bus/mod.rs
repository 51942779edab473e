//! The bus takes rows from publishers, makes them durable in a [`Log`], and hands them to consumers.
//!
//! The path of a row:
//!
//! 1. [`queue`] numbers it under one short lock and joins it with its neighbours.
//! 2. [`writer_thread`] takes everything that is queued; [`group`] makes frames of it, and one
//!    append makes them durable.
//! 3. [`topic`] wakes the tasks that wait for it.
//! 4. [`consume`] reads it back.
//!
//! Rows that cannot be recorded are recorded as a [`gap`].

mod clock;
mod codec;
mod consume;
mod consumers;
mod core;
mod cursors;
mod gap;
mod group;
mod inner;
pub mod metrics;
mod open_rows;
mod options;
mod publish;
mod queue;
mod shares;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod topic;
mod writer_thread;

pub use self::clock::Clock;
pub use self::consumers::Position;
pub use self::core::End;
pub use self::cursors::{BadCursors, CursorError, check as check_cursors};
pub use self::gap::{GAP_TOPIC, gap_schema};
pub use self::options::BusOptions;
pub use self::start::StartError;
pub use self::status::{ConsumerStatus, TopicStatus};

use self::core::Core;
use self::inner::Inner;
use self::queue::Phase;
use crate::log::{Log, LogError};
use greyhound_sdk::{Bus, TopicSchema};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

/// How long past its limit a close may take before the log counts as hung.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The bus. If it is dropped without [`EventBus::close`], it stops at once, as if the process were killed.
pub struct EventBus {
    inner: Arc<Inner>,
    maintenance: JoinHandle<()>,
}

// === impl EventBus ===

impl EventBus {
    /// Starts the bus on `log`. A topic must follow the topics that its rows refer to; `greyhound.gap` is appended as
    /// the last. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if a topic is declared twice, a schema does not fit the rows in the log, a cursor file is
    /// damaged, or the log accepts no writer.
    pub async fn start(log: Arc<dyn Log>, topics: Vec<TopicSchema>, options: BusOptions) -> Result<Self, StartError> {
        let interval = options.retention_interval;
        let inner = Arc::new(start::start(log, topics, options).await?);
        let maintenance = tokio::spawn(supervise_maintenance(inner.clone(), interval));
        Ok(Self { inner, maintenance })
    }

    /// Returns the handle that plugins use.
    #[must_use]
    pub fn handle(&self) -> Bus {
        Bus::new(self.inner.clone())
    }

    /// Returns the state of every topic, in the order of declaration.
    #[must_use]
    pub fn status(&self) -> Vec<TopicStatus> {
        self.inner.status()
    }

    /// Returns the size of the log in bytes.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.inner.core.log.size()
    }

    /// Runs retention now.
    ///
    /// # Errors
    /// [`LogError`] if the log could not delete old rows.
    pub async fn retain(&self) -> Result<(), LogError> {
        self.inner.retain().await
    }

    /// Moves the cursor of an inactive consumer to `to` and returns the number of that row.
    ///
    /// # Errors
    /// [`CursorError`], in which case nothing was changed.
    pub async fn reset_consumer(&self, name: &str, topic: &str, to: Position) -> Result<u64, CursorError> {
        self.inner.reset_consumer(name, topic, to).await
    }

    /// Deletes an inactive consumer's cursor in `topic`, or all its cursors if `topic` is `None`, so that retention no
    /// longer waits for it. Returns the topics of the deleted cursors.
    ///
    /// # Errors
    /// [`CursorError`], in which case nothing was changed.
    pub async fn delete_consumer(&self, name: &str, topic: Option<&str>) -> Result<Vec<String>, CursorError> {
        self.inner.delete_consumer(name, topic).await
    }

    /// Returns the topic and state of every consumer, including those of topics that no plugin declares any more.
    #[must_use]
    pub fn consumers(&self) -> Vec<(String, ConsumerStatus)> {
        self.inner.consumers()
    }

    /// Waits until the bus accepts no more rows, and returns the reason. Unless the process closed the bus itself, it
    /// should then exit.
    pub async fn ended(&self) -> End {
        ended(&self.inner.core).await
    }

    /// Waits, at most for `limit`, until every row published before this call is durable or known to be lost.
    pub async fn flush(&self, limit: Duration) {
        let core = &self.inner.core;
        let published: Vec<_> =
            (0..core.topics.len()).filter_map(|at| Some((at, core.queue().next(at).checked_sub(1)?))).collect();
        let durable = async {
            for (at, last) in published {
                core.expedite(at, last);
                // Lost rows are recorded in greyhound.gap.
                let _ = core.topics[at].durable(last).await;
            }
        };
        let _ = tokio::time::timeout(limit, durable).await;
    }

    /// Makes all published rows durable and closes the log. Rows that the log does not accept within `limit`, and rows
    /// published during the close, are recorded as gaps.
    pub async fn close(&self, limit: Duration) -> End {
        self.maintenance.abort();
        self.inner.core.enter(Phase::Closing(Instant::now() + limit));
        let ended = tokio::time::timeout(limit + CLOSE_GRACE, ended(&self.inner.core)).await;
        ended.unwrap_or_else(|_| End::Failed("the log did not close in time".into()))
    }
}

impl Drop for EventBus {
    fn drop(&mut self) {
        self.maintenance.abort();
        self.inner.core.enter(Phase::Abandoned);
    }
}

async fn ended(core: &Core) -> End {
    let end = core.ended().wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
    end.unwrap_or(End::Abandoned)
}

/// Runs [`maintain`], and starts it again after a panic: otherwise retention would stop silently.
async fn supervise_maintenance(inner: Arc<Inner>, interval: Duration) {
    loop {
        let mut task = JoinSet::new();
        task.spawn(maintain(inner.clone(), interval));
        if let Some(Err(error)) = task.join_next().await {
            tracing::error!(%error, "retention panicked and is started again");
        }
    }
}

/// Runs retention and reports the consumers' lag at every `interval`.
async fn maintain(inner: Arc<Inner>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(e) = inner.retain().await {
            tracing::warn!(error = %e, "cannot delete old rows");
        }
        for topic in inner.status() {
            topic.consumers.iter().for_each(|c| metrics::lag(&c.name, &topic.topic, c.lag));
        }
    }
}
