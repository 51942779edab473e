//! Shares revocations with the other Greyhound nodes.
//!
//! A sorted set in Redis keeps them for nodes that are down, by the time at which they were made; a publication tells the
//! others at once. A node that connects adds to the set what it knows better, so that a Redis without data, or one that
//! was restored, has all of them again.

use super::core::Cluster;
use super::reach::NotReached;
use crate::redis::{Redis, RedisError};
use crate::revocation::{Change, Full, Revocation};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::sleep;

/// Pause before the next attempt, if Redis refuses a command or revocations may have been missed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of revocations in a publication.
const PER_PUBLICATION_MAX: usize = 512;
/// Maximum number of members to read: more than the nodes remember, because some may be outdated.
const MEMBERS_MAX: usize = 200_000;

impl Cluster {
    /// Stores a change in Redis and publishes it to the other nodes. If that fails, it is retried.
    pub(crate) async fn share(&self, change: &Change) -> Result<(), NotReached> {
        let lost = || NotReached::Down("the connection is lost".into());
        // Without a connection, the next one exchanges all.
        let redis = self.connection().ok_or_else(lost)?;
        let old: Vec<_> = change.replaced.iter().cloned().collect();
        let shared = self.push(&*redis, std::slice::from_ref(&change.revocation), &old).await;
        shared.map_err(|e| {
            self.revocations_due.notify_one();
            NotReached::Refused(e.why)
        })
    }

    /// Learns what Redis has, and adds what it lacks. Redis may refuse that, for example to a user without the
    /// permission; then the node is a member all the same.
    pub(super) async fn exchange_revocations(&self, redis: &dyn Redis) -> Result<(), RedisError> {
        match self.exchange(redis).await {
            Err(e) if e.refused => {
                self.revocations_due.notify_one();
                self.revocation_log.log(|more| {
                    tracing::warn!(error = %e, more, "revocations are not shared with nodes that are down; retrying");
                });
                Ok(())
            }
            other => other,
        }
    }

    async fn exchange(&self, redis: &dyn Redis) -> Result<(), RedisError> {
        let (key, min) = (self.protocol.revocations(), self.revocations.forgotten_before());
        let members = redis.members(key, min, MEMBERS_MAX).await?;
        let theirs: Vec<Revocation> = members.iter().filter_map(|member| serde_json::from_slice(member).ok()).collect();
        self.learn(&theirs);
        let (lacking, old) = self.revocations.difference(&theirs);
        if lacking.is_empty() && old.is_empty() {
            return Ok(());
        }
        self.push(redis, &lacking, &old).await
    }

    /// Learns what another node has published.
    pub(super) fn learn(&self, revocations: &[Revocation]) {
        if let Err(full @ Full) = self.revocations.learn(revocations) {
            self.revocation_log.log(|more| tracing::error!(more, "revocations of other nodes are ignored: {full}"));
        }
    }

    async fn push(&self, redis: &dyn Redis, added: &[Revocation], old: &[Revocation]) -> Result<(), RedisError> {
        let scored = added.iter().map(|it| (it.revoked_at(), json(it))).collect();
        let (removed, min) = (old.iter().map(json).collect(), self.revocations.forgotten_before());
        // Stored first: a node that connects subscribes before it reads.
        let stored = redis.replace_members(self.protocol.revocations(), scored, removed, min).await;
        let bodies = added.chunks(PER_PUBLICATION_MAX).map(|some| json(&some));
        let publications: Vec<_> = bodies.map(|body| self.protocol.revoked(body)).collect();
        let published = redis.publish(&publications).await.into_iter().collect();
        stored.and(published)
    }

    /// Repeats the exchange if a revocation may have been missed, here or in Redis.
    pub(super) async fn follow_revocations(&self, redis: &dyn Redis) -> RedisError {
        loop {
            self.revocations_due.notified().await;
            sleep(RETRY_PAUSE).await;
            if let Err(why) = self.exchange_revocations(redis).await {
                return why;
            }
        }
    }
}

fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("texts and numbers are JSON").into()
}
