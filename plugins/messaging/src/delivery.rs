//! Delivers one message: records it, publishes it to the other nodes, and sends it to the sockets of this node.
//!
//! ```text
//! let prepared = deliveries.prepare(..);     // fixes the recipients, and records the message
//! cluster.publish(.., prepared.id());        // publishes it with its id
//! let receipt = prepared.send();             // queues it for each recipient, and records the deliveries
//! ```

use crate::connection::{MessageRef, Moment, Writers};
use crate::event::Event;
use crate::metrics as names;
use crate::namespace::{AckStream, Namespace, Namespaces, Rooms, Roster, Sent, Session};
use crate::rows::{DeliveryOutcome, DeliveryRow, MessageRow, Topics, column, numbered};
use crate::target::Target;
use arrow_array::{ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch};
use futures_util::StreamExt;
use greyhound_sdk::{NotDurable, Shard};
use metrics::Counter;
use parking_lot::RwLockReadGuard;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Records and sends messages.
pub(crate) struct Deliveries {
    pub(crate) shard: Shard,
    pub(crate) namespaces: Namespaces,
    pub(crate) writers: Arc<Writers>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) record_deliveries: bool,
    pub(crate) record_data: bool,
    pub(crate) counters: Counters,
}

/// The origin of a message: columns of its row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Source<'a> {
    pub(crate) source: &'a str,
    pub(crate) publisher: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) digest: Option<i64>,
    pub(crate) copies: Option<i64>,
}

/// The result of sending a message on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number of its row in `messaging.message`; `None` if the bus is closed.
    pub seq: Option<u64>,
    /// Number of recipients on this node.
    pub recipients: usize,
}

/// A client's acknowledgement: its arguments, `[arg,...]`, and their attachments. `None` if it failed.
pub(crate) type Acknowledged = Option<socketioxide_core::Value>;

/// The counters of deliveries, looked up once.
pub(crate) struct Counters {
    messages: Counter,
    queued: Counter,
    dropped: Counter,
    acked: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        use metrics::counter;
        let deliveries = |outcome: DeliveryOutcome| counter!(names::DELIVERIES, "outcome" => outcome.name());
        Self {
            messages: counter!(names::MESSAGES),
            queued: deliveries(DeliveryOutcome::Queued),
            dropped: deliveries(DeliveryOutcome::Dropped),
            acked: deliveries(DeliveryOutcome::Acked),
        }
    }

    fn of(&self, outcome: DeliveryOutcome) -> &Counter {
        match outcome {
            DeliveryOutcome::Queued => &self.queued,
            DeliveryOutcome::Acked => &self.acked,
            _ => &self.dropped,
        }
    }
}

/// A message that is recorded but not yet sent.
pub(crate) struct Prepared<'a> {
    deliveries: &'a Deliveries,
    namespace: &'a Namespace,
    rooms: RwLockReadGuard<'a, Rooms>,
    roster: Arc<Roster>,
    event: Event,
    /// `None` if the bus is closed.
    seq: Option<u64>,
    volatile: bool,
    received: Instant,
}

impl Prepared<'_> {
    /// The message's id on all nodes; `None` if the bus is closed.
    pub(crate) fn id(&self) -> Option<String> {
        Some(self.deliveries.id(self.seq?))
    }

    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// Sends the message and records its deliveries.
    pub(crate) fn send(self) -> Receipt {
        let receipt = self.receipt();
        if receipt.recipients == 0 {
            return receipt;
        }
        let message = self.message();
        let sent = self.namespace.send(&self.event, &self.roster, self.volatile, message, &self.deliveries.writers);
        drop(self.rooms);
        self.deliveries.record(&self.roster, sent, self.seq, self.volatile, self.received);
        receipt
    }

    /// Sends the message, records its deliveries, and reports the acknowledgements of clients until `timeout`.
    fn send_with_ack(self, all: &Arc<Deliveries>, timeout: Duration) -> (Receipt, mpsc::Receiver<Acknowledged>) {
        let receipt = self.receipt();
        let message = self.message();
        let (sent, acks) = self.namespace.send_with_ack(&self.event, &self.roster, message, timeout);
        drop(self.rooms);
        self.deliveries.record(&self.roster, sent, self.seq, false, self.received);
        let (acknowledged, receiver) = mpsc::channel(self.roster.len().max(1));
        tokio::spawn(all.clone().collect_acks(acks, self.seq, self.roster, self.received, acknowledged));
        (receipt, receiver)
    }

    fn receipt(&self) -> Receipt {
        Receipt { seq: self.seq, recipients: self.roster.len() }
    }

    fn message(&self) -> MessageRef {
        let seq = self.seq.filter(|_| self.deliveries.record_deliveries).map_or(-1, column);
        MessageRef { seq, received: Moment::of(self.received) }
    }
}

impl Deliveries {
    /// The id of the message in row `seq`.
    pub(crate) fn id(&self, seq: u64) -> String {
        format!("{}:{seq}", self.shard)
    }

    /// Fixes the recipients of an event, and records it. The rooms stay locked until it is sent, so that its rows have
    /// exactly its recipients.
    pub(crate) fn prepare<'a>(
        &'a self,
        namespace: &'a Namespace,
        event: Event,
        target: &Target,
        source: Source<'_>,
    ) -> Prepared<'a> {
        let received = Instant::now();
        self.counters.messages.increment(1);
        let rooms = namespace.rooms.read();
        let roster = rooms.roster(&target.rooms, &target.except);
        let seq = self.record_message(namespace.name(), &event, target, source, roster.len());
        Prepared { deliveries: self, namespace, rooms, roster, event, seq, volatile: target.volatile, received }
    }

    /// Prepares and sends an event, and reports the acknowledgements of clients until `timeout`. One step, because a
    /// prepared message holds a lock, and tasks must not hold locks while they wait.
    pub(crate) fn send_with_ack(
        self: &Arc<Self>,
        namespace: &Namespace,
        event: Event,
        target: &Target,
        source: Source<'_>,
        timeout: Duration,
    ) -> (Receipt, mpsc::Receiver<Acknowledged>) {
        self.prepare(namespace, event, target, source).send_with_ack(self, timeout)
    }

    /// Records a message without recipients on this node.
    pub(crate) fn record_undelivered(&self, namespace: &Namespace, event: &Event, target: &Target, source: Source<'_>) {
        self.counters.messages.increment(1);
        self.record_message(namespace.name(), event, target, source, 0);
    }

    /// Counts and records the outcomes of a message.
    fn record(&self, roster: &Roster, sent: Sent, seq: Option<u64>, volatile: bool, received: Instant) {
        let latency_us = micros(received);
        self.count(&sent, roster, volatile);
        if let (true, Some(seq)) = (self.record_deliveries, seq) {
            self.record_deliveries(column(seq), roster, sent, latency_us);
        }
    }

    async fn collect_acks(
        self: Arc<Self>,
        mut acks: AckStream,
        seq: Option<u64>,
        roster: Arc<Roster>,
        received: Instant,
        to: mpsc::Sender<Acknowledged>,
    ) {
        let indices: HashMap<_, _> =
            roster.sessions().iter().enumerate().map(|(index, session)| (session.sid, index)).collect();
        while let Some((sid, acknowledged)) = acks.next().await {
            if acknowledged.is_ok() {
                self.counters.acked.increment(1);
            }
            if let (Ok(_), Some(seq), Some(index)) =
                (&acknowledged, seq.filter(|_| self.record_deliveries), indices.get(&sid))
            {
                self.record_one(column(seq), &roster, *index, DeliveryOutcome::Acked, micros(received));
            }
            let _ = to.send(acknowledged.ok()).await;
        }
    }

    /// Waits until a message's row is durable.
    pub(crate) async fn durable(&self, receipt: Receipt) -> Result<(), NotDurable> {
        let lost = || NotDurable { topic: "messaging.message".into(), seq: 0, reason: "the bus is closed".into() };
        self.topics.message.durable(receipt.seq.ok_or_else(lost)?).await
    }

    fn record_message(
        &self,
        name: &str,
        event: &Event,
        target: &Target,
        source: Source<'_>,
        recipients: usize,
    ) -> Option<u64> {
        let data = self.record_data.then(|| event.args());
        let row = MessageRow {
            source: source.source,
            publisher: source.publisher,
            namespace: name,
            rooms: &target.rooms,
            excluded: &target.except,
            event: &event.name,
            size_bytes: event.size() as i64,
            recipients: recipients as i64,
            data: data.as_deref(),
            origin: source.origin,
            digest: source.digest,
            copies: source.copies,
        };
        numbered(self.topics.message.offer(&row))
    }

    /// Counts the outcomes. Closes the connections whose queues were full, unless the message is volatile.
    fn count(&self, sent: &Sent, roster: &Roster, volatile: bool) {
        let slow = |session: &Session, outcome: DeliveryOutcome| {
            if outcome == DeliveryOutcome::Dropped && !volatile {
                session.connection().abort_slow();
            }
        };
        match sent {
            Sent::Alike(outcome) => {
                self.counters.of(*outcome).increment(roster.len() as u64);
                if *outcome == DeliveryOutcome::Dropped {
                    roster.sessions().iter().for_each(|session| slow(session, *outcome));
                }
            }
            Sent::Each(outcomes) => {
                for (outcome, session) in outcomes.iter().zip(roster.sessions()) {
                    self.counters.of(*outcome).increment(1);
                    slow(session, *outcome);
                }
            }
        }
    }

    fn record_deliveries(&self, message: i64, roster: &Roster, sent: Sent, latency_us: i32) {
        let Some((connections, users)) = roster.columns() else {
            // Fewer than two recipients.
            if let (Sent::Alike(outcome), 1) = (sent, roster.len()) {
                self.record_one(message, roster, 0, outcome, latency_us);
            }
            return;
        };
        let count = roster.len();
        let outcomes: ArrayRef = match sent {
            Sent::Alike(outcome) => Arc::new(Int8Array::from_value(outcome as i8, count)),
            Sent::Each(outcomes) => Arc::new(Int8Array::from_iter_values(outcomes.into_iter().map(|it| it as i8))),
        };
        let messages: ArrayRef = Arc::new(Int64Array::from_value(message, count));
        let latencies: ArrayRef = Arc::new(Int32Array::from_value(latency_us, count));
        let columns = vec![messages, connections, users, outcomes, latencies];
        let rows = RecordBatch::try_new(self.topics.delivery.schema().columns().clone(), columns)
            .expect("the columns of messaging.delivery");
        numbered(self.topics.delivery.offer_batch(rows));
    }

    fn record_one(&self, message_seq: i64, roster: &Roster, index: usize, outcome: DeliveryOutcome, latency_us: i32) {
        let connection_seq = roster.sessions()[index].connection_seq;
        let row = DeliveryRow { message_seq, connection_seq, user_id: roster.user(index), outcome, latency_us };
        numbered(self.topics.delivery.offer(&row));
    }
}

fn micros(since: Instant) -> i32 {
    i32::try_from(since.elapsed().as_micros()).unwrap_or(i32::MAX)
}
