//! The bus, as a plugin holds it.

use crate::consumer::{Consumer, Reader, Start};
use crate::publisher::{Publisher, Writer};
use crate::{Shard, TopicSchema};
use async_trait::async_trait;
use std::sync::Arc;

/// A handle on the bus: where publishers and consumers come from. Cheap to clone.
#[derive(Clone)]
pub struct Bus(Arc<dyn Backend>);

/// What stands behind a [`Bus`]: the real one in the host, or the one in memory in `testing`.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// This node's shard.
    fn shard(&self) -> &Shard;
    /// The schemas of all topics, in the order of their declaration.
    fn topics(&self) -> Vec<Arc<TopicSchema>>;
    /// The write side of a topic.
    fn writer(&self, topic: &str) -> Result<Arc<dyn Writer>, UnknownTopic>;
    /// The read side of a topic for the consumer `name`.
    async fn reader(&self, name: &str, topic: &str, start: Start) -> Result<Box<dyn Reader>, UnknownTopic>;
}

/// No plugin declared this topic.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no topic `{topic}`; there are: {}", known.join(", "))]
pub struct UnknownTopic {
    /// The name that was asked for.
    pub topic: String,
    /// The names that there are.
    pub known: Vec<String>,
}

impl Bus {
    /// A handle on `backend`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }

    /// This node's shard.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        self.0.shard()
    }

    /// The schemas of all topics, in the order of their declaration.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<TopicSchema>> {
        self.0.topics()
    }

    /// A publisher to `topic`.
    ///
    /// # Errors
    /// [`UnknownTopic`] where no plugin declared it.
    pub fn publisher(&self, topic: &str) -> Result<Publisher, UnknownTopic> {
        Ok(Publisher::new(self.0.writer(topic)?))
    }

    /// The consumer `name` of `topic`: it resumes at its durable cursor, or at `start` where it has none yet.
    ///
    /// # Errors
    /// [`UnknownTopic`] where no plugin declared it.
    pub async fn consumer(&self, name: &str, topic: &str, start: Start) -> Result<Consumer, UnknownTopic> {
        Ok(Consumer::new(self.0.reader(name, topic, start).await?))
    }
}
