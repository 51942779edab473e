//! Keeps this node in the cluster: connects, subscribes, verifies that messages arrive, and reconnects if they do not.

use super::answer::{QUEUED_ANSWERS_MAX, QueuedAnswer, RequestHandler};
use super::core::{Cluster, State};
use super::inbox::{Counters, Inbox};
use super::log_limit::LogLimit;
use super::probe::Prober;
use crate::metrics as names;
use crate::redis::{Messages, Redis, RedisError, Subscription, connect, servers};
use greyhound_sdk::Health;
use metrics::{counter, gauge};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet, unconstrained};
use tokio::time::{sleep, timeout};

/// Pause before the first attempt to reconnect. Doubled with each attempt.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(100);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Time to handle received messages, or to publish queued ones, when a connection ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// This node's membership.
pub(crate) struct Member {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) handler: RequestHandler,
    pub(crate) health: Health,
    /// Size of a client's buffer, in packets.
    pub(crate) buffer: usize,
}

/// A connection to Redis, with its inbox.
struct Connected {
    redis: Arc<dyn Redis>,
    inbox: JoinHandle<()>,
    /// Tells the inbox to stop; dropped for this.
    over: Option<oneshot::Sender<()>>,
    prober: Prober,
}

impl Member {
    /// Runs until `stop`. Reports itself as ready once it is connected.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let (due, answers) = mpsc::channel(QUEUED_ANSWERS_MAX);
        let cluster = self.cluster.clone();
        // A dropped set aborts its tasks.
        let (mut publishing, mut answering) = (JoinSet::new(), JoinSet::new());
        let publisher = cluster.clone();
        publishing.spawn(async move { publisher.publish_queue.run(|| publisher.connection()).await });
        answering.spawn(self.handler.clone().run(cluster.clone(), answers));
        let mut connected = None;
        // No message was missed before, because no client was connected.
        let verified_until = Arc::new(Mutex::new(SystemTime::now()));
        tokio::select! {
            () = stop => {}
            () = self.stay_connected(due, &mut connected, &verified_until) => {}
        }
        if let State::Down(_) = &*cluster.state.borrow() {
            self.handler.deliveries.topics.missed("redis", None, *verified_until.lock(), SystemTime::now());
        }
        if let Some(mut connected) = connected {
            connected.leave(&cluster).await;
            connected.finish().await;
            // Members whose requests arrived before that have counted this node.
            let _ = timeout(DRAIN_TIMEOUT, async {
                answering.join_next().await;
                cluster.publish_queue.empty().await;
            })
            .await;
            connected.redis.close().await;
        }
        cluster.state.send_replace(State::Down("the gateway is closing".into()));
        *cluster.connection.write() = None;
    }

    async fn stay_connected(
        &self,
        due: mpsc::Sender<QueuedAnswer>,
        connected: &mut Option<Connected>,
        verified_until: &Arc<Mutex<SystemTime>>,
    ) {
        let mut pause = RECONNECT_PAUSE_MIN;
        loop {
            let since = *verified_until.lock();
            let why = match self.connect(&due, verified_until).await {
                Err(why) => {
                    // Discards what this attempt verified.
                    *verified_until.lock() = since;
                    why
                }
                Ok(new) => {
                    self.up(since);
                    pause = RECONNECT_PAUSE_MIN;
                    connected.insert(new).serve(&self.cluster).await
                }
            };
            // Before the close, so that nothing more is published.
            self.down(why);
            if let Some(mut old) = connected.take() {
                old.redis.close().await;
                old.finish().await;
            }
            sleep(pause).await;
            pause = (2 * pause).min(RECONNECT_PAUSE_MAX);
        }
    }

    async fn connect(
        &self,
        due: &mpsc::Sender<QueuedAnswer>,
        verified_until: &Arc<Mutex<SystemTime>>,
    ) -> Result<Connected, RedisError> {
        let (redis, messages) = connect(&self.cluster.url).await?;
        let mut connected = self.start(redis.into(), messages, due.clone(), verified_until.clone());
        let subscribed = connected.subscribe(&self.cluster).await;
        if let Err(why) = subscribed {
            *self.cluster.connection.write() = None;
            connected.redis.close().await;
            return Err(why);
        }
        Ok(connected)
    }

    fn start(
        &self,
        redis: Arc<dyn Redis>,
        messages: Box<dyn Messages>,
        due: mpsc::Sender<QueuedAnswer>,
        verified_until: Arc<Mutex<SystemTime>>,
    ) -> Connected {
        let handled = Arc::<AtomicU64>::default();
        let (probes, returned) = mpsc::channel(64);
        let inbox = Inbox {
            cluster: self.cluster.clone(),
            handler: self.handler.clone(),
            due,
            buffer: self.buffer,
            probes,
            handled: handled.clone(),
            verified_until: verified_until.clone(),
            lost: 0,
            counters: Counters::default(),
            log_limit: LogLimit::default(),
        };
        let prober = Prober::new(redis.clone(), &self.cluster.protocol, returned, handled, verified_until);
        let (over, is_over) = oneshot::channel();
        // The inbox yields by itself.
        let inbox = tokio::spawn(unconstrained(inbox.run(messages, is_over)));
        Connected { redis, inbox, over: Some(over), prober }
    }

    fn up(&self, verified_until: SystemTime) {
        let before = self.cluster.state.send_replace(State::Up);
        gauge!(names::REDIS_UP).set(1.0);
        self.health.ready();
        if let State::Down(_) = before {
            let now = SystemTime::now();
            let lost = now.duration_since(verified_until).unwrap_or_default();
            tracing::info!(lost = ?lost, "Redis is back; greyhound.gap has the time range in which messages may be missing");
            self.handler.deliveries.topics.missed("redis", None, verified_until, now);
        } else {
            tracing::info!("this node is a member of the cluster");
        }
    }

    fn down(&self, why: RedisError) {
        let servers = servers(&self.cluster.url);
        let RedisError { why, refused } = if why.why.contains(&servers) { why } else { why.at(&servers) };
        let before = self.cluster.state.send_replace(State::Down(why.clone()));
        *self.cluster.connection.write() = None;
        self.health.not_ready(format!(
            "Redis cannot be reached ({why}): clients of this node get only what is published on this node"
        ));
        match before {
            // A new refusal by Redis is logged even if the outage has already been logged.
            State::Down(before) if refused && before != why => tracing::error!(error = %why, "Redis refuses this node"),
            State::Down(_) => tracing::debug!(error = %why, "Redis cannot be reached"),
            State::Connecting | State::Up => {
                gauge!(names::REDIS_UP).set(0.0);
                counter!(names::REDIS_OUTAGES).increment(1);
                tracing::error!(error = %why, "Redis cannot be reached; retrying");
            }
        }
    }
}

impl Connected {
    /// Subscribes to all channels and verifies that messages arrive. Subscribes last to the channels by which members
    /// are counted, because counted members must answer.
    async fn subscribe(&mut self, cluster: &Cluster) -> Result<(), RedisError> {
        let protocol = &cluster.protocol;
        let counted = counted(cluster);
        let mut all: Vec<Subscription> =
            cluster.namespaces.names().iter().flat_map(|name| protocol.subscriptions(name)).collect();
        all.retain(|subscription| !counted.contains(subscription));
        all.extend(self.prober.subscriptions(protocol));
        all.push(protocol.subscription(protocol.revocations().to_owned()));
        let rooms = cluster.interest.reset(|| cluster.namespaces.rooms());
        all.extend(rooms.iter().filter_map(|(namespace, room)| protocol.room(namespace, room)));
        self.redis.subscribe(&all).await?;
        self.prober.probe(protocol).await?;
        cluster.exchange_revocations(&*self.redis).await?;
        *cluster.connection.write() = Some(self.redis.clone());
        self.redis.subscribe(&counted).await?;
        cluster.interest.confirm(rooms);
        Ok(())
    }

    /// Serves until the connection breaks. Returns the reason.
    async fn serve(&mut self, cluster: &Cluster) -> RedisError {
        let redis = self.redis.clone();
        tokio::select! {
            why = redis.broken() => why,
            why = self.prober.run(&cluster.protocol) => why,
            why = follow_rooms(&*redis, cluster) => why,
            why = cluster.follow_revocations(&*redis) => why,
        }
    }

    /// Unsubscribes from the channels by which members are counted.
    async fn leave(&self, cluster: &Cluster) {
        let _ = self.redis.unsubscribe(&counted(cluster)).await;
    }

    /// Waits until the received messages are handled.
    async fn finish(&mut self) {
        self.over.take();
        let _ = timeout(DRAIN_TIMEOUT, &mut self.inbox).await;
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.inbox.abort();
    }
}

/// The channels by which members are counted.
fn counted(cluster: &Cluster) -> Vec<Subscription> {
    let counted = |name: &String| cluster.protocol.subscription(cluster.protocol.counted(name));
    cluster.namespaces.names().iter().map(counted).collect()
}

/// Subscribes to rooms with a first member, and unsubscribes from rooms without members.
async fn follow_rooms(redis: &dyn Redis, cluster: &Cluster) -> RedisError {
    let channels = |rooms: &[(String, String)]| -> Vec<_> {
        rooms.iter().filter_map(|(ns, room)| cluster.protocol.room(ns, room)).collect()
    };
    loop {
        cluster.interest.changed().await;
        let (new, left) = cluster.interest.take_changed(|(namespace, room)| cluster.namespaces.has(namespace, room));
        let (making, leaving) = (channels(&new), channels(&left));
        let done = async {
            if !leaving.is_empty() {
                redis.unsubscribe(&leaving).await?;
            }
            if !making.is_empty() {
                redis.subscribe(&making).await?;
            }
            Ok::<(), RedisError>(())
        };
        if let Err(why) = done.await {
            return why;
        }
        cluster.interest.confirm(new);
    }
}
