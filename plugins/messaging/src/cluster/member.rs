//! Keeps this node in the cluster: connects, subscribes, proves that messages arrive, and begins anew when they do not.

use super::answer::{Answering, Asking, WAITING};
use super::inbox::{Complaint, Counters, Inbox};
use super::{Cluster, State};
use crate::metrics as names;
use crate::redis::{Messages, Redis, RedisError, Subscription, connect};
use greyhound_sdk::Health;
use metrics::{counter, gauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, unconstrained};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How often it is proved that messages arrive.
const PROBE: Duration = Duration::from_secs(1);
/// How long a proof may take in which nothing else arrives.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before connecting again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long what has arrived may take to be handled after the connection is lost.
const REST: Duration = Duration::from_secs(5);

/// This node's membership.
pub(crate) struct Member {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) answering: Answering,
    pub(crate) health: Health,
}

/// One connection, subscribed.
struct Connected {
    redis: Arc<dyn Redis>,
    inbox: JoinHandle<()>,
    /// Tells the inbox that nothing more will come.
    over: Option<oneshot::Sender<()>>,
    probes: mpsc::Receiver<u64>,
    handled: Arc<AtomicU64>,
    /// A channel on each server that messages come from.
    probed: Vec<String>,
    next_number: u64,
    /// Everything that was published before has arrived.
    proved: SystemTime,
}

impl Member {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        self.health.not_ready("Redis is being connected to");
        let (requests, asked) = mpsc::channel(WAITING);
        let cluster = self.cluster.clone();
        let mut connected = None;
        // Nothing is missing before: nobody was connected.
        let mut proved = SystemTime::now();
        tokio::select! {
            () = stop => {}
            () = self.answering.clone().run(cluster.clone(), asked) => {}
            () = cluster.outbox.run(|| cluster.connection()) => {}
            () = self.keep(requests, &mut connected, &mut proved) => {}
        }
        if let State::Down(_) = cluster.state.send_replace(State::Down("the gateway is closing".into())) {
            self.answering.outlet.topics.missed("redis", None, proved, SystemTime::now());
        }
        *cluster.connection.write() = None;
        if let Some(connected) = connected {
            connected.end().await;
        }
    }

    async fn keep(&self, requests: mpsc::Sender<Asking>, connected: &mut Option<Connected>, proved: &mut SystemTime) {
        let mut pause = PAUSES.0;
        loop {
            let why = match self.connect(&requests).await {
                Err(why) => why,
                Ok(new) => {
                    self.up(*proved);
                    pause = PAUSES.0;
                    let now = connected.insert(new);
                    let why = now.serve(&self.cluster).await;
                    *proved = now.proved;
                    why
                }
            };
            // Down first, so that nothing more is published over it.
            self.down(&why);
            if let Some(old) = connected.take() {
                old.end().await;
            }
            sleep(pause).await;
            pause = (2 * pause).min(PAUSES.1);
        }
    }

    async fn connect(&self, requests: &mpsc::Sender<Asking>) -> Result<Connected, RedisError> {
        let (redis, messages) = connect(&self.cluster.url).await?;
        let mut connected = self.take(redis.into(), messages, requests.clone());
        match connected.subscribe(&self.cluster).await {
            Ok(()) => {
                *self.cluster.connection.write() = Some(connected.redis.clone());
                Ok(connected)
            }
            Err(why) => {
                connected.end().await;
                Err(why)
            }
        }
    }

    fn take(&self, redis: Arc<dyn Redis>, messages: Box<dyn Messages>, requests: mpsc::Sender<Asking>) -> Connected {
        let handled = Arc::<AtomicU64>::default();
        let (probed, probes) = mpsc::channel(64);
        let inbox = Inbox {
            cluster: self.cluster.clone(),
            outlet: self.answering.outlet.clone(),
            requests,
            probes: probed,
            handled: handled.clone(),
            last: SystemTime::now(),
            counters: Counters::default(),
            complaint: Complaint::default(),
        };
        let probed = redis.one_on_each_server(&self.cluster.protocol.probe_prefix());
        // It says itself when others get their turn.
        let (over, is_over) = oneshot::channel();
        let inbox = tokio::spawn(unconstrained(inbox.run(messages, is_over)));
        Connected { redis, inbox, over: Some(over), probes, handled, probed, next_number: 0, proved: SystemTime::now() }
    }

    fn up(&self, proved: SystemTime) {
        let before = self.cluster.state.send_replace(State::Up);
        gauge!(names::REDIS_UP).set(1.0);
        self.health.ready();
        if let State::Down(_) = before {
            let now = SystemTime::now();
            let lost = now.duration_since(proved).unwrap_or_default();
            tracing::info!(lost = ?lost, "Redis is back; greyhound.gap says from when to when messages may be missing");
            self.answering.outlet.topics.missed("redis", None, proved, now);
        } else {
            tracing::info!("this node is a member of the cluster");
        }
    }

    fn down(&self, why: &RedisError) {
        let before = self.cluster.state.send_replace(State::Down(why.0.clone()));
        *self.cluster.connection.write() = None;
        if matches!(before, State::Down(_)) {
            tracing::debug!(error = %why, "Redis cannot be reached");
            return;
        }
        gauge!(names::REDIS_UP).set(0.0);
        counter!(names::REDIS_OUTAGES).increment(1);
        self.health.not_ready(format!("Redis cannot be reached ({why}): clients of this node get only what is published on this node"));
        tracing::error!(error = %why, "Redis cannot be reached; trying again until it is");
    }
}

impl Connected {
    /// Subscribes to everything, and proves it.
    async fn subscribe(&mut self, cluster: &Cluster) -> Result<(), RedisError> {
        let protocol = &cluster.protocol;
        let probes = self.probed.iter().map(|channel| protocol.probed(channel.clone()));
        let mut all: Vec<Subscription> =
            cluster.namespaces.names().iter().flat_map(|name| protocol.subscriptions(name)).chain(probes).collect();
        let rooms = cluster.interest.all(&cluster.namespaces);
        all.extend(rooms.iter().filter_map(|(namespace, room)| protocol.room(namespace, room)));
        self.redis.subscribe(&all).await?;
        cluster.interest.confirm(rooms);
        self.prove(cluster).await
    }

    /// Serves until the connection breaks, and says why.
    async fn serve(&mut self, cluster: &Cluster) -> RedisError {
        let redis = self.redis.clone();
        let mut broken = redis.broken();
        let mut due = Instant::now() + PROBE;
        loop {
            let done = tokio::select! {
                why = &mut broken => return why,
                () = sleep_until(due) => {
                    due = Instant::now() + PROBE;
                    self.prove(cluster).await
                }
                () = cluster.interest.touched() => self.follow(cluster).await,
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    /// Subscribes to the rooms that were made, and unsubscribes from those that nobody is in any more.
    async fn follow(&self, cluster: &Cluster) -> Result<(), RedisError> {
        let (made, left) = cluster.interest.due(&cluster.namespaces);
        let channels =
            |rooms: &[(String, String)]| -> Vec<_> { rooms.iter().filter_map(|(ns, room)| cluster.protocol.room(ns, room)).collect() };
        if !left.is_empty() {
            self.redis.unsubscribe(&channels(&left)).await?;
        }
        if !made.is_empty() {
            self.redis.subscribe(&channels(&made)).await?;
            cluster.interest.confirm(made);
        }
        Ok(())
    }

    /// Publishes to itself and waits until it arrives: what was published before has arrived as well, then.
    async fn prove(&mut self, cluster: &Cluster) -> Result<(), RedisError> {
        let begun = SystemTime::now();
        let first = self.next_number;
        self.next_number += self.probed.len() as u64;
        let numbered = self.probed.iter().zip(first..);
        let publications: Vec<_> = numbered.map(|(channel, number)| cluster.protocol.probe(channel.clone(), number)).collect();
        self.redis.publish(&publications).await.into_iter().collect::<Result<(), _>>()?;
        let mut missing = publications.len();
        while missing > 0 {
            match self.next_probe().await? {
                number if number >= first => missing -= 1,
                _ => {}
            }
        }
        self.redis.check().await?;
        self.proved = begun;
        Ok(())
    }

    /// The next probe that comes back. It may take long, but something must arrive meanwhile.
    async fn next_probe(&mut self) -> Result<u64, RedisError> {
        loop {
            let handled = self.handled.load(Relaxed);
            match timeout(PATIENCE, self.probes.recv()).await {
                Ok(number) => return number.ok_or_else(|| "the connection ended".into()),
                Err(_) if self.handled.load(Relaxed) > handled => {}
                Err(_) => return Err("it does not answer".into()),
            }
        }
    }

    /// Closes the connection, and lets what has arrived be handled.
    async fn end(mut self) {
        self.redis.close().await;
        self.over.take();
        let _ = timeout(REST, &mut self.inbox).await;
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.inbox.abort();
    }
}
