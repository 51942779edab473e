//! Verifies that messages arrive: the node publishes probes to itself.

use super::protocol::Protocol;
use crate::redis::{Redis, RedisError, Subscription};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Pause between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Time for a probe to return while no other message arrives.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Publishes probes and waits for their return.
pub(super) struct Prober {
    redis: Arc<dyn Redis>,
    /// One channel on each server.
    channels: Vec<String>,
    /// The numbers of returned probes.
    returned: mpsc::Receiver<u64>,
    /// Number of handled messages.
    handled: Arc<AtomicU64>,
    next: u64,
    /// All messages published before this time have been handled.
    verified_until: Arc<Mutex<SystemTime>>,
}

impl Prober {
    pub(super) fn new(
        redis: Arc<dyn Redis>,
        protocol: &Protocol,
        returned: mpsc::Receiver<u64>,
        handled: Arc<AtomicU64>,
        verified_until: Arc<Mutex<SystemTime>>,
    ) -> Self {
        let channels = redis.one_on_each_server(protocol.probe_prefix());
        Self { redis, channels, returned, handled, next: 0, verified_until }
    }

    /// The subscriptions that probes need.
    pub(super) fn subscriptions(&self, protocol: &Protocol) -> Vec<Subscription> {
        self.channels.iter().map(|channel| protocol.subscription(channel.clone())).collect()
    }

    /// Probes every second until a probe fails.
    pub(super) async fn run(&mut self, protocol: &Protocol) -> RedisError {
        loop {
            sleep(PROBE_INTERVAL).await;
            if let Err(why) = self.probe(protocol).await {
                return why;
            }
        }
    }

    /// Publishes a probe on each server and waits for their return: then all earlier messages have been handled.
    pub(super) async fn probe(&mut self, protocol: &Protocol) -> Result<(), RedisError> {
        loop {
            let begun = SystemTime::now();
            if self.round(protocol).await? {
                self.redis.check().await?;
                *self.verified_until.lock() = begun;
                return Ok(());
            }
        }
    }

    /// Returns false if a probe has not returned but other messages were handled: the probe may be lost among them, and
    /// another round is needed.
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
            match timeout(PROBE_TIMEOUT, self.returned.recv()).await {
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
