//! The one way of a message, wherever it comes from, to sockets and rows.

use crate::fanout::{Namespaces, Roster, Sent};
use crate::gateway::Links;
use crate::metrics as names;
use crate::rows::{DeliveryRow, MessageRow, Topics, column, delivery_outcome};
use arrow_array::{ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch};
use greyhound_sdk::{NotDurable, Refused};
use metrics::Counter;
use parking_lot::RwLock;
use serde_json::value::RawValue;
use socketioxide_core::{Value, packet::Packet};
use std::sync::Arc;
use std::time::Instant;

/// Events that are socket.io's own.
pub(crate) const RESERVED: [&str; 6] = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A message to be published.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The namespace, such as `/`.
    pub namespace: &'a str,
    /// The rooms it is for; empty: everybody in the namespace.
    pub rooms: &'a [String],
    /// The rooms whose members are left out.
    pub except: &'a [String],
    /// The event's name.
    pub event: &'a str,
    /// The event's arguments, each JSON.
    pub args: &'a [Box<RawValue>],
    /// How it came, as in the column `source`.
    pub source: &'static str,
    /// Who published it, where known.
    pub publisher: Option<&'a str>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number of its row in `messaging.message`; none where the bus is closed.
    pub seq: Option<u64>,
    /// To how many sockets it was meant to go.
    pub recipients: usize,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The gateway is not running (yet, or any more).
    #[error("the gateway is not running")]
    NotRunning,
    /// The namespace is not configured.
    #[error("no namespace `{0}`; plugins.messaging.namespaces names those there are")]
    UnknownNamespace(String),
    /// The event is one of socket.io's own.
    #[error("the event `{0}` is socket.io's own; choose another name")]
    Reserved(String),
}

/// Publishes messages. Cheap to clone; usable as soon as the gateway runs.
#[derive(Clone, Default)]
pub struct Emitter(Arc<RwLock<Option<Arc<Outlet>>>>);

/// The way from a message to sockets and rows.
pub(crate) struct Outlet {
    pub(crate) namespaces: Namespaces,
    pub(crate) links: Arc<Links>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) record_deliveries: bool,
    pub(crate) record_data: bool,
    pub(crate) counters: Counters,
}

/// Counters of the hot path, looked up once.
pub(crate) struct Counters {
    messages: Counter,
    queued: Counter,
    dropped: Counter,
    unknown: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        use metrics::counter;
        let deliveries = |outcome| counter!(names::DELIVERIES, "outcome" => outcome);
        Self {
            messages: counter!(names::MESSAGES),
            queued: deliveries("queued"),
            dropped: deliveries("dropped"),
            unknown: deliveries("unknown"),
        }
    }

    fn of(&self, outcome: i8) -> &Counter {
        match outcome {
            delivery_outcome::QUEUED => &self.queued,
            delivery_outcome::DROPPED => &self.dropped,
            _ => &self.unknown,
        }
    }
}

// === impl Emitter ===

impl Emitter {
    pub(crate) fn open(&self, outlet: Outlet) {
        *self.0.write() = Some(Arc::new(outlet));
    }

    pub(crate) fn close(&self) {
        *self.0.write() = None;
    }

    fn outlet(&self) -> Result<Arc<Outlet>, EmitError> {
        self.0.read().clone().ok_or(EmitError::NotRunning)
    }

    /// Sends a message to the sockets of this node and records it.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then.
    pub fn emit(&self, message: &Message<'_>) -> Result<Receipt, EmitError> {
        self.outlet()?.emit(message)
    }

    /// Waits until the message's row is durable.
    ///
    /// # Errors
    /// [`NotDurable`] where it was lost; a gap is recorded.
    pub async fn durable(&self, receipt: Receipt) -> Result<(), NotDurable> {
        let lost = || NotDurable { topic: "messaging.message".into(), seq: receipt.seq.unwrap_or(0), reason: "the bus is closed".into() };
        let outlet = self.outlet().map_err(|_| lost())?;
        outlet.topics.message.durable(receipt.seq.ok_or_else(lost)?).await
    }

    /// The message's id: its shard and the number of its row.
    #[must_use]
    pub fn id(&self, shard: &greyhound_sdk::Shard, receipt: Receipt) -> Option<String> {
        Some(format!("{shard}:{}", receipt.seq?))
    }
}

// === impl Outlet ===

impl Outlet {
    fn emit(&self, message: &Message<'_>) -> Result<Receipt, EmitError> {
        let received = Instant::now();
        if RESERVED.contains(&message.event) {
            return Err(EmitError::Reserved(message.event.to_owned()));
        }
        let namespace = self.namespaces.get(message.namespace).ok_or_else(|| EmitError::UnknownNamespace(message.namespace.to_owned()))?;
        let (text, args_at) = event_text(message.event, message.args);
        self.counters.messages.increment(1);
        // Nobody joins or leaves until it is sent: the rows name just those who got it.
        let rooms = namespace.rooms.read();
        let roster = rooms.roster(message.rooms, message.except);
        let seq = self.record_message(message, &text, args_at, roster.len());
        if roster.len() == 0 {
            return Ok(Receipt { seq, recipients: 0 });
        }
        let packet = Packet::event(message.namespace.to_owned(), Value::Str(text.into(), None));
        let sent = namespace.send(packet, message.rooms, message.except, &roster, self.links.anybody_behind());
        drop(rooms);
        let latency = i32::try_from(received.elapsed().as_micros()).unwrap_or(i32::MAX);
        self.settle(&sent, &roster);
        if let (true, Some(seq)) = (self.record_deliveries, seq) {
            self.record_deliveries(column(seq), &roster, sent, latency);
        }
        Ok(Receipt { seq, recipients: roster.len() })
    }

    fn record_message(&self, message: &Message<'_>, text: &str, args_at: usize, recipients: usize) -> Option<u64> {
        // The arguments and the bracket behind them; the one before them stands before the event's name.
        let args = &text[args_at..];
        let data = self.record_data.then(|| format!("[{args}"));
        let row = MessageRow {
            source: message.source,
            publisher: message.publisher,
            namespace: message.namespace,
            rooms: message.rooms,
            excluded: message.except,
            event: message.event,
            size_bytes: args.len() as i64 + 1,
            recipients: recipients as i64,
            data: data.as_deref(),
        };
        numbered(self.topics.message.offer(&row))
    }

    /// Counts outcomes, and closes those whose queue is full: they read too slowly.
    fn settle(&self, sent: &Sent, roster: &Roster) {
        match sent {
            Sent::Alike(outcome) => {
                self.counters.of(*outcome).increment(roster.len() as u64);
                if *outcome == delivery_outcome::DROPPED {
                    roster.sessions().iter().for_each(|session| session.too_slow());
                }
            }
            Sent::Each(outcomes) => {
                for (outcome, session) in outcomes.iter().zip(roster.sessions()) {
                    self.counters.of(*outcome).increment(1);
                    if *outcome == delivery_outcome::DROPPED {
                        session.too_slow();
                    }
                }
            }
        }
    }

    fn record_deliveries(&self, message: i64, roster: &Roster, sent: Sent, latency_us: i32) {
        let Some((connections, users)) = roster.columns() else {
            let (Sent::Alike(outcome), session) = (&sent, roster.session(0)) else {
                return self.record_single(message, roster, &sent, latency_us);
            };
            return self.record_one(message, session, *outcome, latency_us);
        };
        let count = roster.len();
        let outcomes: ArrayRef = match sent {
            Sent::Alike(outcome) => Arc::new(Int8Array::from_value(outcome, count)),
            Sent::Each(outcomes) => Arc::new(Int8Array::from(outcomes)),
        };
        let messages: ArrayRef = Arc::new(Int64Array::from_value(message, count));
        let latencies: ArrayRef = Arc::new(Int32Array::from_value(latency_us, count));
        let columns = vec![messages, connections, users, outcomes, latencies];
        let rows =
            RecordBatch::try_new(self.topics.delivery.schema().columns().clone(), columns).expect("the columns of messaging.delivery");
        numbered(self.topics.delivery.offer_batch(rows));
    }

    fn record_single(&self, message: i64, roster: &Roster, sent: &Sent, latency_us: i32) {
        if let Sent::Each(outcomes) = sent {
            outcomes.iter().zip(roster.sessions()).for_each(|(outcome, session)| self.record_one(message, session, *outcome, latency_us));
        }
    }

    fn record_one(&self, message_seq: i64, session: &crate::gateway::Session, outcome: i8, latency_us: i32) {
        let user = session.user();
        let row = DeliveryRow { message_seq, connection_seq: session.connection, user_id: user.as_deref(), outcome, latency_us };
        numbered(self.topics.delivery.offer(&row));
    }
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

/// `["event",arg,...]` and where the arguments begin.
fn event_text(event: &str, args: &[Box<RawValue>]) -> (String, usize) {
    let name = serde_json::to_string(event).expect("a text is JSON");
    let mut text = String::with_capacity(name.len() + 2 + args.iter().map(|a| a.get().len() + 1).sum::<usize>());
    text.push('[');
    text.push_str(&name);
    let args_at = text.len() + usize::from(!args.is_empty());
    for arg in args {
        text.push(',');
        text.push_str(arg.get());
    }
    text.push(']');
    let args_at = args_at.min(text.len() - 1);
    (text, args_at)
}
