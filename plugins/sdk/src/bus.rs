//! The plugin's handle on the bus.

use crate::consumer::{Consumer, Reader, Start};
use crate::publisher::{Publisher, Writer};
use crate::{Shard, TopicSchema};
use async_trait::async_trait;
use std::sync::Arc;

/// A handle on the bus, which creates publishers and consumers. Cheap to clone.
#[derive(Clone)]
pub struct Bus(Arc<dyn Backend>);

/// The implementation behind a [`Bus`]: the bus of the host, or the one in memory in `testing`.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Returns this node's shard.
    fn shard(&self) -> &Shard;
    /// Returns the schemas of all topics, in the order of declaration.
    fn topics(&self) -> Vec<Arc<TopicSchema>>;
    /// Returns the write side of a topic.
    fn writer(&self, topic: &str) -> Result<Arc<dyn Writer>, UnknownTopic>;
    /// Returns the read side of a topic for the consumer `name`.
    async fn reader(&self, name: &str, topic: &str, start: Start) -> Result<Box<dyn Reader>, UnknownTopic>;
}

/// No plugin declares this topic.
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown topic `{topic}`; expected one of: {}", known.join(", "))]
pub struct UnknownTopic {
    /// The requested name.
    pub topic: String,
    /// The names of all topics.
    pub known: Vec<String>,
}

impl Bus {
    /// Creates a handle on `backend`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }

    /// Returns this node's shard.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        self.0.shard()
    }

    /// Returns the schemas of all topics, in the order of declaration.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<TopicSchema>> {
        self.0.topics()
    }

    /// Returns a publisher to `topic`.
    ///
    /// # Errors
    /// [`UnknownTopic`] if no plugin declares it.
    pub fn publisher(&self, topic: &str) -> Result<Publisher, UnknownTopic> {
        Ok(Publisher::new(self.0.writer(topic)?))
    }

    /// Returns the consumer `name` of `topic`. It resumes at its durable cursor, or starts at `start` if it has none.
    ///
    /// # Errors
    /// [`UnknownTopic`] if no plugin declares the topic.
    pub async fn consumer(&self, name: &str, topic: &str, start: Start) -> Result<Consumer, UnknownTopic> {
        Ok(Consumer::new(self.0.reader(name, topic, start).await?))
    }
}
