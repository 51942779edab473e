//! The one way of a message, wherever it comes from, to sockets and rows.

use crate::cluster::protocol::Target;
use crate::event::Event;
use crate::fanout::{Acks, Fanout, Namespaces, Roster, Sent};
use crate::gateway::{Links, Moment, Session};
use crate::metrics as names;
use crate::rows::{DeliveryRow, MessageRow, Topics, column, delivery_outcome};
use arrow_array::{ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch};
use futures_util::StreamExt;
use greyhound_sdk::{NotDurable, Refused, Shard};
use metrics::Counter;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The way from a message to sockets and rows.
pub(crate) struct Outlet {
    pub(crate) shard: Shard,
    pub(crate) namespaces: Namespaces,
    pub(crate) links: Arc<Links>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) record_deliveries: bool,
    pub(crate) record_data: bool,
    pub(crate) counters: Counters,
}

/// Where a message comes from, as its row says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Source<'a> {
    pub(crate) source: &'a str,
    pub(crate) publisher: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) digest: Option<i64>,
    pub(crate) copies: Option<i64>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number of its row in `messaging.message`; none where the bus is closed.
    pub seq: Option<u64>,
    /// To how many sockets of this node it was meant to go.
    pub recipients: usize,
}

/// A client's acknowledgement: its arguments, `[arg,...]`, and their attachments; none where it failed.
pub(crate) type Acknowledged = Option<socketioxide_core::Value>;

/// Counters of the hot path, looked up once.
pub(crate) struct Counters {
    messages: Counter,
    queued: Counter,
    dropped: Counter,
    acked: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        use metrics::counter;
        let deliveries = |outcome| counter!(names::DELIVERIES, "outcome" => outcome);
        Self {
            messages: counter!(names::MESSAGES),
            queued: deliveries("queued"),
            dropped: deliveries("dropped"),
            acked: deliveries("acked"),
        }
    }

    fn of(&self, outcome: i8) -> &Counter {
        match outcome {
            delivery_outcome::QUEUED => &self.queued,
            delivery_outcome::ACKED => &self.acked,
            _ => &self.dropped,
        }
    }
}

impl Outlet {
    /// The id of the message whose row has this number.
    pub(crate) fn id(&self, seq: u64) -> String {
        format!("{}:{seq}", self.shard)
    }

    /// Sends an event to the members of `target` and records it. `numbered` is told the number of its row before it is
    /// sent.
    pub(crate) fn deliver(
        &self,
        namespace: &Fanout,
        name: &str,
        event: Event,
        target: &Target,
        source: Source<'_>,
        numbered: impl FnOnce(Option<u64>, &Event),
    ) -> Receipt {
        let received = Instant::now();
        self.counters.messages.increment(1);
        // Nobody joins or leaves until it is sent: the rows name just those who got it.
        let rooms = namespace.rooms.read();
        let roster = rooms.roster(&target.rooms, &target.except);
        let seq = self.record_message(name, &event, target, source, roster.len());
        numbered(seq, &event);
        let receipt = Receipt { seq, recipients: roster.len() };
        if roster.len() == 0 {
            return receipt;
        }
        let sent =
            namespace.send(&event, &roster, target.volatile, (self.recorded(seq), Moment::of(received)), &self.links);
        drop(rooms);
        let latency = micros(received);
        self.settle(&sent, &roster, target.volatile);
        if let (true, Some(seq)) = (self.record_deliveries, seq) {
            self.record_deliveries(column(seq), &roster, sent, latency);
        }
        receipt
    }

    /// Records a message that nobody here gets.
    pub(crate) fn record_undelivered(&self, name: &str, event: &Event, target: &Target, source: Source<'_>) {
        self.counters.messages.increment(1);
        self.record_message(name, event, target, source, 0);
    }

    /// Sends an event, records it, and tells what clients acknowledge within `timeout`.
    pub(crate) fn deliver_with_ack(
        self: &Arc<Self>,
        namespace: &Fanout,
        name: &str,
        event: Event,
        target: &Target,
        source: Source<'_>,
        timeout: Duration,
    ) -> (Receipt, mpsc::Receiver<Acknowledged>) {
        let received = Instant::now();
        self.counters.messages.increment(1);
        let rooms = namespace.rooms.read();
        let roster = rooms.roster(&target.rooms, &target.except);
        let seq = self.record_message(name, &event, target, source, roster.len());
        let (sent, acks) =
            namespace.send_with_ack(&event, &roster, (self.recorded(seq), Moment::of(received)), timeout);
        drop(rooms);
        self.settle(&sent, &roster, false);
        if let (true, Some(seq)) = (self.record_deliveries, seq) {
            self.record_deliveries(column(seq), &roster, sent, micros(received));
        }
        let receipt = Receipt { seq, recipients: roster.len() };
        let (acknowledged, receiver) = mpsc::channel(roster.len().max(1));
        tokio::spawn(self.clone().collect(acks, seq, roster, received, acknowledged));
        (receipt, receiver)
    }

    /// The number of a message's row as its deliveries name it; negative where they are not recorded.
    fn recorded(&self, seq: Option<u64>) -> i64 {
        seq.filter(|_| self.record_deliveries).map_or(-1, column)
    }

    async fn collect(
        self: Arc<Self>,
        mut acks: Acks,
        seq: Option<u64>,
        roster: Arc<Roster>,
        received: Instant,
        to: mpsc::Sender<Acknowledged>,
    ) {
        let places: HashMap<_, _> =
            roster.sessions().iter().enumerate().map(|(place, session)| (session.sid, place)).collect();
        while let Some((sid, acknowledged)) = acks.next().await {
            if acknowledged.is_ok() {
                self.counters.acked.increment(1);
            }
            if let (Ok(_), Some(seq), Some(place)) =
                (&acknowledged, seq.filter(|_| self.record_deliveries), places.get(&sid))
            {
                self.record_one(column(seq), &roster, *place, delivery_outcome::ACKED, micros(received));
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

    /// Counts outcomes, and closes those whose queue is full: they read too slowly, unless they may do without.
    fn settle(&self, sent: &Sent, roster: &Roster, volatile: bool) {
        let slow = |session: &Session, outcome: i8| {
            if outcome == delivery_outcome::DROPPED && !volatile {
                session.link().too_slow();
            }
        };
        match sent {
            Sent::Alike(outcome) => {
                self.counters.of(*outcome).increment(roster.len() as u64);
                if *outcome == delivery_outcome::DROPPED {
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
            // To nobody, or to one.
            if let (Sent::Alike(outcome), 1) = (sent, roster.len()) {
                self.record_one(message, roster, 0, outcome, latency_us);
            }
            return;
        };
        let count = roster.len();
        let outcomes: ArrayRef = match sent {
            Sent::Alike(outcome) => Arc::new(Int8Array::from_value(outcome, count)),
            Sent::Each(outcomes) => Arc::new(Int8Array::from(outcomes)),
        };
        let messages: ArrayRef = Arc::new(Int64Array::from_value(message, count));
        let latencies: ArrayRef = Arc::new(Int32Array::from_value(latency_us, count));
        let columns = vec![messages, connections, users, outcomes, latencies];
        let rows = RecordBatch::try_new(self.topics.delivery.schema().columns().clone(), columns)
            .expect("the columns of messaging.delivery");
        numbered(self.topics.delivery.offer_batch(rows));
    }

    fn record_one(&self, message_seq: i64, roster: &Roster, place: usize, outcome: i8, latency_us: i32) {
        let connection_seq = roster.sessions()[place].connection;
        let row = DeliveryRow { message_seq, connection_seq, user_id: roster.user(place), outcome, latency_us };
        numbered(self.topics.delivery.offer(&row));
    }
}

fn micros(since: Instant) -> i32 {
    i32::try_from(since.elapsed().as_micros()).unwrap_or(i32::MAX)
}

/// The number that a row got, recorded or shed.
pub(crate) fn numbered(offered: Result<u64, Refused>) -> Option<u64> {
    match offered {
        Ok(seq) => Some(seq),
        Err(Refused::Shed { first, .. }) => first,
        Err(unfit @ Refused::Schema { .. }) => {
            tracing::error!(error = %unfit, "a row of the gateway does not fit its schema");
            None
        }
    }
}
