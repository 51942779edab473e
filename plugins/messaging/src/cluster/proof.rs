//! The proof that messages arrive: what this node publishes to itself.

use super::protocol::Protocol;
use crate::redis::{Redis, RedisError, Subscription};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How often it is proved.
const EVERY: Duration = Duration::from_secs(1);
/// How long it may take while nothing else arrives.
const PATIENCE: Duration = Duration::from_secs(3);

/// Proves it again and again.
pub(super) struct Proof {
    redis: Arc<dyn Redis>,
    /// A channel on each server that messages come from.
    channels: Vec<String>,
    /// Numbers that came back.
    returned: mpsc::Receiver<u64>,
    /// How many messages were handled.
    handled: Arc<AtomicU64>,
    next: u64,
    /// Everything that was published before has been handled.
    proved: Arc<Mutex<SystemTime>>,
}

impl Proof {
    pub(super) fn new(
        redis: Arc<dyn Redis>,
        protocol: &Protocol,
        returned: mpsc::Receiver<u64>,
        handled: Arc<AtomicU64>,
        proved: Arc<Mutex<SystemTime>>,
    ) -> Self {
        let channels = redis.one_on_each_server(protocol.probe_prefix());
        Self { redis, channels, returned, handled, next: 0, proved }
    }

    /// What it takes for probes to come back.
    pub(super) fn subscriptions(&self, protocol: &Protocol) -> Vec<Subscription> {
        self.channels.iter().map(|channel| protocol.subscription(channel.clone())).collect()
    }

    /// Proves it every second, until it cannot be proved.
    pub(super) async fn keep(&mut self, protocol: &Protocol) -> RedisError {
        loop {
            sleep(EVERY).await;
            if let Err(why) = self.prove(protocol).await {
                return why;
            }
        }
    }

    /// Publishes to itself and waits until it arrives: what was published before has been handled, then.
    pub(super) async fn prove(&mut self, protocol: &Protocol) -> Result<(), RedisError> {
        loop {
            let begun = SystemTime::now();
            if self.round(protocol).await? {
                self.redis.check().await?;
                *self.proved.lock() = begun;
                return Ok(());
            }
        }
    }

    /// False where the probe may be lost among others that are handled meanwhile: then it takes another one.
    async fn round(&mut self, protocol: &Protocol) -> Result<bool, RedisError> {
        let first = self.next;
        self.next += self.channels.len() as u64;
        let probes: Vec<_> = self
            .channels
            .iter()
            .zip(first..)
            .map(|(channel, number)| protocol.probe(channel.clone(), number))
            .collect();
        self.redis.publish(&probes).await.into_iter().collect::<Result<(), _>>()?;
        let mut missing = probes.len();
        while missing > 0 {
            let handled = self.handled.load(Relaxed);
            match timeout(PATIENCE, self.returned.recv()).await {
                Ok(Some(number)) if number >= first => missing -= 1,
                Ok(Some(_)) => {}
                Ok(None) => return Err("the connection ended".into()),
                Err(_) if self.handled.load(Relaxed) > handled => return Ok(false),
                Err(_) => return Err("it does not answer".into()),
            }
        }
        Ok(true)
    }
}
