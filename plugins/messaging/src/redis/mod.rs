//! The parts of Redis that the gateway needs: publish, subscribe, count, and keep a sorted set.
//!
//! A [`Redis`] is one connection (in a Redis Cluster, one to each server), up to its first failure. It does not
//! reconnect by itself: after a failure, the caller connects and subscribes again.

mod client;
mod error;
mod open;
mod sentinel;

use async_trait::async_trait;
use bytes::Bytes;
pub(crate) use client::{check_url, connect, is_over_tls, servers};
use std::sync::Arc;

/// A channel, or channels, to receive messages from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subscription {
    /// A channel.
    Channel(String),
    /// All channels that match a glob.
    Pattern(String),
    /// A channel of sharded pub/sub (Redis 7).
    Shard(String),
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) channel: String,
    pub(crate) body: Bytes,
    /// Whether to publish it by sharded pub/sub.
    pub(crate) sharded: bool,
}

/// A message from Redis, or lost ones.
pub(crate) enum Incoming {
    /// A message on a channel.
    Message { channel: Text, body: Bytes },
    /// This many messages were lost, because they arrived faster than they were handled.
    Lost(u64),
}

/// A channel's name, shared with the receive buffer.
pub(crate) type Text = fred::bytes_utils::Str;

/// Why a command failed, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct RedisError {
    pub(crate) why: Arc<str>,
    /// Whether Redis itself replied with the error. Only an operator can fix that.
    pub(crate) refused: bool,
}

impl RedisError {
    /// Prepends the servers.
    pub(crate) fn at(self, servers: &str) -> Self {
        Self { why: format!("{servers}: {}", self.why).into(), ..self }
    }
}

impl From<&str> for RedisError {
    fn from(text: &str) -> Self {
        Self { why: text.into(), refused: false }
    }
}

/// A connection to Redis.
#[async_trait]
pub(crate) trait Redis: Send + Sync + 'static {
    /// Subscribes. Returns once Redis has confirmed it.
    async fn subscribe(&self, to: &[Subscription]) -> Result<(), RedisError>;
    /// Unsubscribes.
    async fn unsubscribe(&self, from: &[Subscription]) -> Result<(), RedisError>;
    /// Publishes in this order, and returns a result for each.
    async fn publish(&self, publications: &[Publication]) -> Vec<Result<(), RedisError>>;
    /// Counts the subscribers of a channel; in a Redis Cluster, on all servers.
    async fn subscribers(&self, channel: &str, sharded: bool) -> Result<usize, RedisError>;
    /// Lists the channels that match a glob and have subscribers; in a Redis Cluster, on all servers.
    async fn channels(&self, pattern: &str) -> Result<Vec<String>, RedisError>;
    /// The members of a sorted set with at least the score `min`, the highest first, at most `max`.
    async fn members(&self, key: &str, min: u64, max: usize) -> Result<Vec<Bytes>, RedisError>;
    /// Adds members with their scores to a sorted set. Removes others, and those with a score below `min`.
    async fn replace_members(
        &self,
        key: &str,
        added: Vec<(u64, Bytes)>,
        removed: Vec<Bytes>,
        min: u64,
    ) -> Result<(), RedisError>;
    /// Channel names that begin with `prefix`, one for each server that messages come from.
    fn one_on_each_server(&self, prefix: &str) -> Vec<String>;
    /// Checks that this connection still reaches what the other nodes publish. It fails if slots of a Redis Cluster
    /// have moved, or if the sentinels name another primary.
    async fn check(&self) -> Result<(), RedisError>;
    /// Waits until the connection breaks.
    async fn broken(&self) -> RedisError;
    /// Closes the connection.
    async fn close(&self);
}

/// The messages of a connection.
#[async_trait]
pub(crate) trait Messages: Send + 'static {
    /// Waits for the next message. Returns `None` once the connection is closed.
    async fn next(&mut self) -> Option<Incoming>;
    /// Returns the next message if it has already arrived.
    fn arrived(&mut self) -> Option<Incoming>;
}
