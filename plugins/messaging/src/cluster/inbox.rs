//! Handles what comes from Redis, in its order.

use super::Cluster;
use super::answer::Asking;
use super::protocol::{Malformed, Message, Received};
use crate::metrics as names;
use crate::outlet::{Outlet, Source};
use crate::redis::{Incoming, Messages};
use bytes::Bytes;
use metrics::{Counter, counter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};
use twox_hash::XxHash3_64;

/// How often complaints are logged.
const COMPLAINTS: Duration = Duration::from_secs(10);
/// After so many messages, or so many deliveries, those who write to clients get their turn. Until then messages to the same
/// client join: they are written by one call. Fewer than a client's buffer holds.
const TURN: Turn = Turn { messages: 256, deliveries: 16_384 };

/// How much is done at a time.
#[derive(Default)]
struct Turn {
    messages: usize,
    deliveries: usize,
}

/// What handles the messages of one connection.
pub(super) struct Inbox {
    pub(super) cluster: Arc<Cluster>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) requests: mpsc::Sender<Asking>,
    /// The numbers of probes that came back.
    pub(super) probes: mpsc::Sender<u64>,
    /// How many messages were handled.
    pub(super) handled: Arc<AtomicU64>,
    /// When the last one was.
    pub(super) last: SystemTime,
    pub(super) counters: Counters,
    pub(super) complaint: Complaint,
}

/// Counters, looked up once.
pub(super) struct Counters {
    messages: Counter,
    requests: Counter,
    malformed: Counter,
    refused: Counter,
    lost: Counter,
}

/// A log line that may be due often, and is written seldom.
#[derive(Default)]
pub(super) struct Complaint {
    last: Option<Instant>,
    unsaid: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            messages: counter!(names::REDIS_RECEIVED, "kind" => "message"),
            requests: counter!(names::REDIS_RECEIVED, "kind" => "request"),
            malformed: counter!(names::REDIS_RECEIVED, "kind" => "malformed"),
            refused: counter!(names::REDIS_REFUSED),
            lost: counter!(names::REDIS_LOST),
        }
    }
}

impl Inbox {
    /// Handles messages until the connection is over, and then those that have arrived.
    pub(super) async fn run(mut self, mut messages: Box<dyn Messages>, mut over: oneshot::Receiver<()>) {
        let mut turn = Turn::default();
        loop {
            let incoming = match messages.arrived() {
                Some(incoming) => incoming,
                None => tokio::select! {
                    Some(incoming) = messages.next() => incoming,
                    _ = &mut over => return,
                },
            };
            turn.messages += 1;
            turn.deliveries += self.handle(incoming);
            if turn.messages >= TURN.messages || turn.deliveries >= TURN.deliveries {
                turn = Turn::default();
                tokio::task::yield_now().await;
            }
        }
    }

    /// Returns to how many sockets something was sent.
    fn handle(&mut self, incoming: Incoming) -> usize {
        match incoming {
            Incoming::Message { channel, body } => {
                let recipients = self.message(&channel, &body);
                self.handled.fetch_add(1, Relaxed);
                self.last = SystemTime::now();
                recipients
            }
            Incoming::Lost(count) => {
                self.counters.lost.increment(count);
                tracing::error!(count, "messages came from Redis faster than they could be handled, and are lost");
                self.outlet.topics.missed("overrun", Some(count), self.last, SystemTime::now());
                0
            }
        }
    }

    /// Handles a message; returns how many it was sent to.
    fn message(&mut self, channel: &str, body: &Bytes) -> usize {
        match self.cluster.protocol.read(channel, body) {
            Ok(Received::Message(message)) => {
                self.counters.messages.increment(1);
                return self.deliver(message, body);
            }
            Ok(Received::Request { namespace, request, reply_to }) => {
                self.counters.requests.increment(1);
                if self.requests.try_send(Asking { namespace, request, reply_to }).is_err() {
                    self.counters.refused.increment(1);
                    self.complaint.say(|more| tracing::warn!(more, "requests come faster than they can be answered; some are not"));
                }
            }
            Ok(Received::Answer { id, answer }) => self.cluster.pending.answered(&id, answer),
            Ok(Received::Probe(number)) => drop(self.probes.try_send(number)),
            Ok(Received::NotForUs) => {}
            Err(malformed) => self.malformed(channel, body, &malformed),
        }
        0
    }

    fn deliver(&self, message: Message, body: &Bytes) -> usize {
        let Message { source, publisher, namespace, channel_room, event, target, origin } = message;
        let Some(fanout) = self.cluster.namespaces.get(&namespace) else { return 0 };
        // A message from a Greyhound node has an id of its own.
        let digest = origin.is_none().then(|| XxHash3_64::oneshot(body).cast_signed());
        let source = Source { source, publisher: publisher.as_deref(), origin: origin.as_deref(), digest };
        // Old emitters publish a copy to each room: who has no member there leaves it to the others, as Node does.
        let copy = channel_room.filter(|room| target.rooms != [room.as_str()]);
        if copy.is_some_and(|room| !fanout.rooms.read().has(&room)) {
            self.outlet.record_undelivered(&namespace, &event, &target, source);
            return 0;
        }
        self.outlet.deliver(&fanout, &namespace, event, &target, source, |_, _| ()).recipients
    }

    fn malformed(&mut self, channel: &str, body: &Bytes, why: &Malformed) {
        self.counters.malformed.increment(1);
        let channel: String = channel.chars().take(100).collect();
        self.complaint.say(|more| {
            tracing::warn!(channel, bytes = body.len(), error = %why, more, "something was published that is no message of socket.io");
        });
    }
}

impl Complaint {
    /// Logs, if it is due; `log` is told how many times it was not.
    fn say(&mut self, log: impl FnOnce(u64)) {
        if self.last.is_some_and(|last| last.elapsed() < COMPLAINTS) {
            self.unsaid += 1;
            return;
        }
        self.last = Some(Instant::now());
        log(std::mem::take(&mut self.unsaid));
    }
}
