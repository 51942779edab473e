//! Redis, as far as the gateway needs it: publish, subscribe, count.
//!
//! A [`Redis`] is one connection (to each of the servers of a Redis Cluster) from its success to its first failure.
//! Whoever uses it connects again afterwards and subscribes again: nothing is repaired behind one's back.

mod client;
mod error;
mod sentinel;

use async_trait::async_trait;
use bytes::Bytes;
pub(crate) use client::{check_url, connect, is_over_tls, servers};
use std::sync::Arc;

/// What to receive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subscription {
    /// A channel.
    Channel(String),
    /// All channels that a glob fits.
    Pattern(String),
    /// A channel of sharded pub/sub (Redis 7).
    Shard(String),
}

/// Something to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) channel: String,
    pub(crate) body: Bytes,
    /// By sharded pub/sub.
    pub(crate) sharded: bool,
}

/// What comes from Redis.
pub(crate) enum Incoming {
    /// What was published on a channel.
    Message { channel: Text, body: Bytes },
    /// So many messages came faster than they were taken, and are lost.
    Lost(u64),
}

/// A channel's name; not a copy of it.
pub(crate) type Text = fred::bytes_utils::Str;

/// Why Redis did not do what was asked, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct RedisError {
    pub(crate) why: Arc<str>,
    /// Whether Redis itself said so: then only an operator can help.
    pub(crate) refused: bool,
}

impl RedisError {
    /// The same, with the servers that it is about.
    pub(crate) fn at(self, servers: &str) -> Self {
        Self { why: format!("{servers}: {}", self.why).into(), ..self }
    }
}

impl From<&str> for RedisError {
    fn from(text: &str) -> Self {
        Self { why: text.into(), refused: false }
    }
}

/// A connection that works, until it does not.
#[async_trait]
pub(crate) trait Redis: Send + Sync + 'static {
    /// Subscribes; it is confirmed by Redis when this returns.
    async fn subscribe(&self, to: &[Subscription]) -> Result<(), RedisError>;
    /// Ends subscriptions.
    async fn unsubscribe(&self, from: &[Subscription]) -> Result<(), RedisError>;
    /// Publishes in this order, and returns how each went.
    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), RedisError>>;
    /// How many have subscribed to a channel, in all of a Redis Cluster.
    async fn subscribers(&self, channel: &str, sharded: bool) -> Result<usize, RedisError>;
    /// The channels that a glob fits and that somebody has subscribed to, in all of a Redis Cluster.
    async fn channels(&self, pattern: &str) -> Result<Vec<String>, RedisError>;
    /// Channels that begin with `prefix`, one on each server that messages come from.
    fn one_on_each_server(&self, prefix: &str) -> Vec<String>;
    /// Whether this is still the way to what the others publish: it is not where slots of a Redis Cluster, or the
    /// primary that a sentinel names, have moved.
    async fn check(&self) -> Result<(), RedisError>;
    /// Waits until the connection breaks.
    async fn broken(&self) -> RedisError;
    /// Closes it.
    async fn close(&self);
}

/// The messages of a connection.
#[async_trait]
pub(crate) trait Messages: Send + 'static {
    /// The next one; none when the connection is closed.
    async fn next(&mut self) -> Option<Incoming>;
    /// The next one that has arrived already.
    fn arrived(&mut self) -> Option<Incoming>;
}
