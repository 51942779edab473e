//! The state of topics and consumers, as operators see it.

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// The name of the topic.
    pub topic: String,
    /// The number of the oldest row that is kept.
    pub earliest: u64,
    /// The number after the newest durable row.
    pub end: u64,
    /// The size of the topic in the log, in bytes.
    pub bytes: u64,
    /// The topic's consumers.
    pub consumers: Vec<ConsumerStatus>,
}

/// The state of one consumer of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// The name of the consumer.
    pub name: String,
    /// The number of the first row that it has not committed.
    pub position: u64,
    /// How far its position is behind the end of the topic.
    pub lag: u64,
    /// Whether retention waits for it.
    pub required: bool,
    /// Whether it is reading now.
    pub active: bool,
}
