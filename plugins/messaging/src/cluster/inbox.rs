//! Handles the messages from Redis in order.

use super::answer::{QueuedAnswer, RequestHandler};
use super::core::Cluster;
use super::log_limit::LogLimit;
use super::protocol::{Malformed, Message, Received};
use crate::delivery::Source;
use crate::metrics as names;
use crate::redis::{Incoming, Messages};
use bytes::Bytes;
use metrics::{Counter, counter};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};
use twox_hash::XxHash3_64;

/// Messages after which the inbox yields to the writers, but at most half a client's buffer. Until then messages to the
/// same client accumulate and are written with one call.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// Deliveries after which the inbox yields to the writers.
const DELIVERIES_PER_TURN_MAX: usize = 16_384;

/// Handles the messages of one Redis connection.
pub(super) struct Inbox {
    pub(super) cluster: Arc<Cluster>,
    pub(super) handler: RequestHandler,
    pub(super) due: mpsc::Sender<QueuedAnswer>,
    /// Size of a client's buffer, in packets.
    pub(super) buffer: usize,
    /// Receives the numbers of returned probes.
    pub(super) probes: mpsc::Sender<u64>,
    /// Number of handled messages.
    pub(super) handled: Arc<AtomicU64>,
    /// All messages published before this time have been handled.
    pub(super) verified_until: Arc<Mutex<SystemTime>>,
    /// Number of lost messages that are not yet recorded.
    pub(super) lost: u64,
    pub(super) counters: Counters,
    pub(super) log_limit: LogLimit,
}

/// The inbox's counters, looked up once.
pub(super) struct Counters {
    messages: Counter,
    requests: Counter,
    malformed: Counter,
    refused: Counter,
    lost: Counter,
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
    /// Handles messages until `over`, and then those that have already arrived.
    pub(super) async fn run(mut self, mut messages: Box<dyn Messages>, mut over: oneshot::Receiver<()>) {
        let (mut handled, mut sent) = (0, 0);
        let messages_max = MESSAGES_PER_TURN_MAX.min(self.buffer / 2).max(1);
        loop {
            let incoming = match messages.arrived() {
                Some(incoming) => incoming,
                None => tokio::select! {
                    Some(incoming) = messages.next() => incoming,
                    _ = &mut over => break,
                },
            };
            handled += 1;
            sent += self.handle(incoming);
            if handled >= messages_max || sent >= DELIVERIES_PER_TURN_MAX {
                (handled, sent) = (0, 0);
                tokio::task::yield_now().await;
            }
        }
        self.record_lost();
    }

    /// Returns the number of sockets that a message was sent to.
    fn handle(&mut self, incoming: Incoming) -> usize {
        match incoming {
            Incoming::Message { channel, body } => {
                self.handled.fetch_add(1, Relaxed);
                self.message(&channel, &body)
            }
            Incoming::Lost(count) => {
                self.counters.lost.increment(count);
                self.lost += count;
                self.cluster.revocations_due.notify_one();
                self.log_limit.log(|more| {
                    tracing::error!(
                        count,
                        more,
                        "messages are lost because they came from Redis faster than they could be handled"
                    );
                });
                0
            }
        }
    }

    /// Records the messages lost since the last probe. The oldest waiting messages are lost first.
    fn record_lost(&mut self) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.handler.deliveries.topics.missed(
                "overrun",
                Some(lost),
                *self.verified_until.lock(),
                SystemTime::now(),
            );
        }
    }

    /// Handles a message. Returns the number of sockets that it was sent to.
    fn message(&mut self, channel: &str, body: &Bytes) -> usize {
        match self.cluster.protocol.read(channel, body) {
            Ok(Received::Message(message)) => {
                self.counters.messages.increment(1);
                return self.deliver(message, body);
            }
            Ok(Received::Request { namespace, request, reply_to }) => {
                self.counters.requests.increment(1);
                let due = self.handler.handle(&self.cluster, namespace, request, reply_to, digest(body));
                if due.is_some_and(|due| self.due.try_send(due).is_err()) {
                    self.counters.refused.increment(1);
                    self.log_limit.log(|more| {
                        tracing::warn!(more, "requests of other members are not answered because too many are queued")
                    });
                }
            }
            Ok(Received::Answer { id, answer }) => self.cluster.pending.answered(&id, answer),
            Ok(Received::Probe(number)) => {
                self.record_lost();
                let _ = self.probes.try_send(number);
            }
            Ok(Received::Revocations(revocations)) => self.cluster.learn(&revocations),
            Ok(Received::NotForUs) => {}
            Err(malformed) => self.malformed(channel, body, &malformed),
        }
        0
    }

    fn deliver(&self, message: Message, body: &Bytes) -> usize {
        let Message { source, publisher, namespace, channel_room, event, target, origin } = message;
        let Some(namespace) = self.cluster.namespaces.get(&namespace) else { return 0 };
        // A message from a Greyhound node has an id instead.
        let digest = origin.is_none().then(|| digest(body));
        // Old emitters publish a copy to each room. A node without members in the room ignores the copy, as Node does.
        let copy = channel_room.filter(|room| target.rooms != [room.as_str()]);
        let copies = copy.is_some().then_some(target.rooms.len() as i64);
        let source = Source { source, publisher: publisher.as_deref(), origin: origin.as_deref(), digest, copies };
        if copy.is_some_and(|room| !namespace.rooms.read().has(&room)) {
            self.handler.deliveries.record_undelivered(&namespace, &event, &target, source);
            return 0;
        }
        self.handler.deliveries.prepare(&namespace, event, &target, source).send().recipients
    }

    fn malformed(&mut self, channel: &str, body: &Bytes, why: &Malformed) {
        self.counters.malformed.increment(1);
        let channel: String = channel.chars().take(100).collect();
        self.log_limit.log(|more| {
            tracing::warn!(channel, bytes = body.len(), error = %why, more, "ignored a malformed message on a channel of socket.io");
        });
    }
}

/// A digest of a message. The same on every node.
fn digest(body: &Bytes) -> i64 {
    XxHash3_64::oneshot(body).cast_signed()
}
