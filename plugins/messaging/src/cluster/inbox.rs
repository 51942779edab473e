//! Handles what comes from Redis, in its order.

use super::answer::{Answering, Due};
use super::complaint::Complaint;
use super::core::Cluster;
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

/// After so many messages, but not more than half of what a client's buffer holds, or so many deliveries, those who
/// write to clients get their turn. Until then messages to the same client join: they are written by one call.
const TURN: (usize, usize) = (256, 16_384);

/// What handles the messages of one connection.
pub(super) struct Inbox {
    pub(super) cluster: Arc<Cluster>,
    pub(super) answering: Answering,
    pub(super) due: mpsc::Sender<Due>,
    /// Packets that a client's buffer holds.
    pub(super) buffer: usize,
    /// The numbers of probes that came back.
    pub(super) probes: mpsc::Sender<u64>,
    /// How many messages were handled.
    pub(super) handled: Arc<AtomicU64>,
    /// Everything that was published before has been handled.
    pub(super) proved: Arc<Mutex<SystemTime>>,
    /// How many were lost, not yet recorded.
    pub(super) lost: u64,
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
        let (mut handled, mut sent) = (0, 0);
        let most = TURN.0.min(self.buffer / 2).max(1);
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
            if handled >= most || sent >= TURN.1 {
                (handled, sent) = (0, 0);
                tokio::task::yield_now().await;
            }
        }
        self.tell_lost();
    }

    /// Returns to how many sockets something was sent.
    fn handle(&mut self, incoming: Incoming) -> usize {
        match incoming {
            Incoming::Message { channel, body } => {
                self.handled.fetch_add(1, Relaxed);
                self.message(&channel, &body)
            }
            Incoming::Lost(count) => {
                self.counters.lost.increment(count);
                self.lost += count;
                self.complaint.say(|more| {
                    tracing::error!(
                        count,
                        more,
                        "messages came from Redis faster than they could be handled, and are lost"
                    );
                });
                0
            }
        }
    }

    /// Records what was lost since the last proof: it is the oldest of what waited.
    fn tell_lost(&mut self) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.answering.deliveries.topics.missed("overrun", Some(lost), *self.proved.lock(), SystemTime::now());
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
                let due = self.answering.act(&self.cluster, namespace, request, reply_to, digest(body));
                if due.is_some_and(|due| self.due.try_send(due).is_err()) {
                    self.counters.refused.increment(1);
                    self.complaint.say(|more| {
                        tracing::warn!(more, "requests come faster than they can be answered; some are not")
                    });
                }
            }
            Ok(Received::Answer { id, answer }) => self.cluster.pending.answered(&id, answer),
            Ok(Received::Probe(number)) => {
                self.tell_lost();
                let _ = self.probes.try_send(number);
            }
            Ok(Received::NotForUs) => {}
            Err(malformed) => self.malformed(channel, body, &malformed),
        }
        0
    }

    fn deliver(&self, message: Message, body: &Bytes) -> usize {
        let Message { source, publisher, namespace, channel_room, event, target, origin } = message;
        let Some(namespace) = self.cluster.namespaces.get(&namespace) else { return 0 };
        // A message from a Greyhound node has an id of its own.
        let digest = origin.is_none().then(|| digest(body));
        // Old emitters publish a copy to each room: who has no member there leaves it to the others, as Node does.
        let copy = channel_room.filter(|room| target.rooms != [room.as_str()]);
        let copies = copy.is_some().then_some(target.rooms.len() as i64);
        let source = Source { source, publisher: publisher.as_deref(), origin: origin.as_deref(), digest, copies };
        if copy.is_some_and(|room| !namespace.rooms.read().has(&room)) {
            self.answering.deliveries.record_undelivered(&namespace, &event, &target, source);
            return 0;
        }
        self.answering.deliveries.prepare(&namespace, event, &target, source).send().recipients
    }

    fn malformed(&mut self, channel: &str, body: &Bytes, why: &Malformed) {
        self.counters.malformed.increment(1);
        let channel: String = channel.chars().take(100).collect();
        self.complaint.say(|more| {
            tracing::warn!(channel, bytes = body.len(), error = %why, more, "something was published that is no message of socket.io");
        });
    }
}

/// What is the same on every node for the same bytes.
fn digest(body: &Bytes) -> i64 {
    XxHash3_64::oneshot(body).cast_signed()
}
