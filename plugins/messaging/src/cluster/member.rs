//! Keeps this node in the cluster: connects, subscribes, proves that messages arrive, and begins anew when they do not.

use super::answer::{ANSWERS_DUE_MAX, Answering, Due};
use super::complaint::Complaint;
use super::core::{Cluster, State};
use super::inbox::{Counters, Inbox};
use super::proof::Proof;
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

/// How long to wait before connecting again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long what has arrived, or what is to be published, may take when the connection is over.
const REST: Duration = Duration::from_secs(3);

/// This node's membership.
pub(crate) struct Member {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) answering: Answering,
    pub(crate) health: Health,
    /// Packets that a client's buffer holds.
    pub(crate) buffer: usize,
}

/// One connection, subscribed.
struct Connected {
    redis: Arc<dyn Redis>,
    inbox: JoinHandle<()>,
    /// Tells the inbox that nothing more will come.
    over: Option<oneshot::Sender<()>>,
    proof: Proof,
}

impl Member {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        self.health.not_ready("Redis is being connected to");
        let (due, answers) = mpsc::channel(ANSWERS_DUE_MAX);
        let cluster = self.cluster.clone();
        // Aborted where they are not waited for.
        let (mut publishing, mut answering) = (JoinSet::new(), JoinSet::new());
        let publisher = cluster.clone();
        publishing.spawn(async move { publisher.publish_queue.run(|| publisher.connection()).await });
        answering.spawn(self.answering.clone().run(cluster.clone(), answers));
        let mut connected = None;
        // Nothing is missing before: nobody was connected.
        let proved = Arc::new(Mutex::new(SystemTime::now()));
        tokio::select! {
            () = stop => {}
            () = self.keep(due, &mut connected, &proved) => {}
        }
        if let State::Down(_) = &*cluster.state.borrow() {
            self.answering.deliveries.topics.missed("redis", None, *proved.lock(), SystemTime::now());
        }
        if let Some(mut connected) = connected {
            connected.leave(&cluster).await;
            connected.finish().await;
            // Whoever asked before that has counted this node.
            let _ = timeout(REST, async {
                answering.join_next().await;
                cluster.publish_queue.empty().await;
            })
            .await;
            connected.redis.close().await;
        }
        cluster.state.send_replace(State::Down("the gateway is closing".into()));
        *cluster.connection.write() = None;
    }

    async fn keep(&self, due: mpsc::Sender<Due>, connected: &mut Option<Connected>, proved: &Arc<Mutex<SystemTime>>) {
        let mut pause = PAUSES.0;
        loop {
            let since = *proved.lock();
            let why = match self.connect(&due, proved).await {
                Err(why) => {
                    // What it may have proved did not last.
                    *proved.lock() = since;
                    why
                }
                Ok(new) => {
                    self.up(since);
                    pause = PAUSES.0;
                    connected.insert(new).serve(&self.cluster).await
                }
            };
            // Down first, so that nothing more is published over it.
            self.down(why);
            if let Some(mut old) = connected.take() {
                old.redis.close().await;
                old.finish().await;
            }
            sleep(pause).await;
            pause = (2 * pause).min(PAUSES.1);
        }
    }

    async fn connect(&self, due: &mpsc::Sender<Due>, proved: &Arc<Mutex<SystemTime>>) -> Result<Connected, RedisError> {
        let (redis, messages) = connect(&self.cluster.url).await?;
        let mut connected = self.take(redis.into(), messages, due.clone(), proved.clone());
        let subscribed = connected.subscribe(&self.cluster).await;
        if let Err(why) = subscribed {
            *self.cluster.connection.write() = None;
            connected.redis.close().await;
            return Err(why);
        }
        Ok(connected)
    }

    fn take(
        &self,
        redis: Arc<dyn Redis>,
        messages: Box<dyn Messages>,
        due: mpsc::Sender<Due>,
        proved: Arc<Mutex<SystemTime>>,
    ) -> Connected {
        let handled = Arc::<AtomicU64>::default();
        let (probes, returned) = mpsc::channel(64);
        let inbox = Inbox {
            cluster: self.cluster.clone(),
            answering: self.answering.clone(),
            due,
            buffer: self.buffer,
            probes,
            handled: handled.clone(),
            proved: proved.clone(),
            lost: 0,
            counters: Counters::default(),
            complaint: Complaint::default(),
        };
        let proof = Proof::new(redis.clone(), &self.cluster.protocol, returned, handled, proved);
        let (over, is_over) = oneshot::channel();
        // It says itself when others get their turn.
        let inbox = tokio::spawn(unconstrained(inbox.run(messages, is_over)));
        Connected { redis, inbox, over: Some(over), proof }
    }

    fn up(&self, proved: SystemTime) {
        let before = self.cluster.state.send_replace(State::Up);
        gauge!(names::REDIS_UP).set(1.0);
        self.health.ready();
        if let State::Down(_) = before {
            let now = SystemTime::now();
            let lost = now.duration_since(proved).unwrap_or_default();
            tracing::info!(lost = ?lost, "Redis is back; greyhound.gap says from when to when messages may be missing");
            self.answering.deliveries.topics.missed("redis", None, proved, now);
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
            // What Redis itself says goes to the log as well, though the outage has been told.
            State::Down(before) if refused && before != why => tracing::error!(error = %why, "Redis refuses this node"),
            State::Down(_) => tracing::debug!(error = %why, "Redis cannot be reached"),
            State::Connecting | State::Up => {
                gauge!(names::REDIS_UP).set(0.0);
                counter!(names::REDIS_OUTAGES).increment(1);
                tracing::error!(error = %why, "Redis cannot be reached; trying again until it is");
            }
        }
    }
}

impl Connected {
    /// Subscribes to everything and proves it; last to the channels by which members are counted: whoever is counted
    /// answers.
    async fn subscribe(&mut self, cluster: &Cluster) -> Result<(), RedisError> {
        let protocol = &cluster.protocol;
        let counted = counted(cluster);
        let mut all: Vec<Subscription> =
            cluster.namespaces.names().iter().flat_map(|name| protocol.subscriptions(name)).collect();
        all.retain(|subscription| !counted.contains(subscription));
        all.extend(self.proof.subscriptions(protocol));
        let rooms = cluster.interest.renew(|| cluster.namespaces.rooms());
        all.extend(rooms.iter().filter_map(|(namespace, room)| protocol.room(namespace, room)));
        self.redis.subscribe(&all).await?;
        self.proof.prove(protocol).await?;
        *cluster.connection.write() = Some(self.redis.clone());
        self.redis.subscribe(&counted).await?;
        cluster.interest.confirm(rooms);
        Ok(())
    }

    /// Serves until the connection breaks, and says why.
    async fn serve(&mut self, cluster: &Cluster) -> RedisError {
        let redis = self.redis.clone();
        tokio::select! {
            why = redis.broken() => why,
            why = self.proof.keep(&cluster.protocol) => why,
            why = follow(&*redis, cluster) => why,
        }
    }

    /// Is no member any more.
    async fn leave(&self, cluster: &Cluster) {
        let _ = self.redis.unsubscribe(&counted(cluster)).await;
    }

    /// Lets what has arrived be handled.
    async fn finish(&mut self) {
        self.over.take();
        let _ = timeout(REST, &mut self.inbox).await;
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

/// Subscribes to the rooms that are made, and unsubscribes from those that nobody is in any more.
async fn follow(redis: &dyn Redis, cluster: &Cluster) -> RedisError {
    let channels = |rooms: &[(String, String)]| -> Vec<_> {
        rooms.iter().filter_map(|(ns, room)| cluster.protocol.room(ns, room)).collect()
    };
    loop {
        cluster.interest.touched().await;
        let (made, left) = cluster.interest.due(|(namespace, room)| cluster.namespaces.has(namespace, room));
        let (making, leaving) = (channels(&made), channels(&left));
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
        cluster.interest.confirm(made);
    }
}
