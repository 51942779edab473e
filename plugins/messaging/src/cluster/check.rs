//! Checks the cluster's Redis, for `greyhound validate --connect`.

use super::core::uid;
use super::protocol::Protocol;
use crate::config::RedisConfig;
use crate::redis::{Incoming, Messages, Redis, RedisError, Subscription, connect, servers};
use greyhound_sdk::{Check, Verdict};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Time for published messages to come back.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(3);
/// A namespace that every configuration has.
const NAMESPACE: &str = "/";
/// The names of the checks.
const REACHABLE: &str = "redis";
const HEARD: &str = "redis channels";
const KEPT: &str = "redis revocations";

/// Connects and subscribes like a member of the cluster, publishes, and waits until the messages come back.
pub(crate) async fn check(config: &RedisConfig) -> Vec<Check> {
    let Some(url) = &config.url else { return Vec::new() };
    let (servers, begun) = (servers(url), Instant::now());
    let fails = |why: RedisError| Verdict::Fails(format!("plugins.messaging.redis.url: {}", why.at(&servers)));
    let checks = |verdicts: [Verdict; 3]| {
        [REACHABLE, HEARD, KEPT].into_iter().zip(verdicts).map(|(name, verdict)| Check { name, verdict }).collect()
    };
    match connect(url).await {
        Err(why) => checks([fails(why), Verdict::NotTried, Verdict::NotTried]),
        Ok((redis, mut messages)) => {
            let reachable = format!("{servers} answers, after {} ms", begun.elapsed().as_millis());
            let heard = heard(config, &*redis, &mut *messages).await;
            let kept = kept(config, &*redis).await;
            redis.close().await;
            let heard = heard.map_or_else(fails, |()| Verdict::Works("what is published comes back".into()));
            let kept = kept.map_or_else(fails, |()| Verdict::Works("their key can be read and changed".into()));
            checks([Verdict::Works(reachable), heard, kept])
        }
    }
}

/// Reads the revocations, and removes none.
async fn kept(config: &RedisConfig, redis: &dyn Redis) -> Result<(), RedisError> {
    let protocol = Protocol::new(config, uid(config));
    redis.members(protocol.revocations(), 0, 1).await?;
    redis.replace_members(protocol.revocations(), Vec::new(), Vec::new(), 0).await
}

async fn heard(config: &RedisConfig, redis: &dyn Redis, messages: &mut dyn Messages) -> Result<(), RedisError> {
    let protocol = Protocol::new(config, uid(config));
    let channels = redis.one_on_each_server(protocol.probe_prefix());
    // Except for the channels by which members are counted: the others would wait for answers of this process.
    let counted = protocol.subscription(protocol.counted(NAMESPACE));
    let mut all: Vec<Subscription> =
        protocol.subscriptions(NAMESPACE).into_iter().filter(|it| *it != counted).collect();
    all.extend(channels.iter().map(|channel| protocol.subscription(channel.clone())));
    redis.subscribe(&all).await?;
    let published: Vec<_> = channels.iter().map(|channel| protocol.probe(channel.clone(), 0)).collect();
    redis.publish(&published).await.into_iter().collect::<Result<(), _>>()?;
    let mut missing: HashSet<&str> = channels.iter().map(String::as_str).collect();
    let all = async {
        while !missing.is_empty() {
            match messages.next().await {
                Some(Incoming::Message { channel, .. }) => drop(missing.remove(&*channel)),
                Some(Incoming::Lost(_)) => {}
                None => return Err("the connection ended".into()),
            }
        }
        Ok(())
    };
    timeout(ROUND_TRIP_TIMEOUT, all)
        .await
        .unwrap_or_else(|_| Err("what is published does not come back: does the user see all channels?".into()))
}
