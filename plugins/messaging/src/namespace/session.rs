//! A client's socket in one namespace.

use super::session_user::SessionUser;
use crate::connection::{Connection, LastMark, MessageRef, Offered, Passage, Passenger, QueuedDelivery};
use crate::metrics as names;
use crate::rows::{ConnectionEvent, ConnectionRow, DeliveryOutcome, DeliveryRow, Topics, numbered};
use bytes::Bytes;
use greyhound_sdk::Share;
use metrics::{counter, gauge};
use serde_json::value::RawValue;
use socketioxide::socket::Sid;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Sends one acknowledgement; returns whether there was room for it.
pub(crate) type SendAck = Box<dyn FnOnce() -> bool + Send>;

/// What the gateway knows of a socket. Its `closed` row is written when it is closed, or forgotten, whichever is first.
pub(crate) struct Session {
    pub(crate) sid: Sid,
    /// The number of its opened row.
    pub(crate) connection_seq: i64,
    pub(crate) namespace: Box<str>,
    pub(crate) protocol: i32,
    /// What it said of itself in the handshake, but for the token: a JSON object.
    pub(crate) auth: Option<Box<RawValue>>,
    connection: Arc<Connection>,
    last_mark: LastMark,
    opened_at: Instant,
    user: SessionUser,
    /// Its pushes that wait to be acknowledged: the number of each one's row, and what sends the acknowledgement.
    pub(crate) push_acks: OnceLock<mpsc::Sender<(u64, SendAck)>>,
    /// Why the server closed it.
    close_reason: OnceLock<&'static str>,
    closed: AtomicBool,
    topics: Arc<Topics>,
    open: Arc<AtomicUsize>,
}

/// What a session is made of.
pub(crate) struct Opened {
    pub(crate) sid: Sid,
    pub(crate) connection_seq: i64,
    pub(crate) namespace: Box<str>,
    pub(crate) protocol: i32,
    pub(crate) auth: Option<Box<RawValue>>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) open: Arc<AtomicUsize>,
}

impl Session {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { sid, connection_seq, namespace, protocol, auth, connection, topics, open } = opened;
        open.fetch_add(1, Relaxed);
        gauge!(names::CONNECTIONS).increment(1);
        Self {
            sid,
            connection_seq,
            namespace,
            protocol,
            auth,
            connection,
            last_mark: LastMark::default(),
            opened_at: Instant::now(),
            user: SessionUser::default(),
            push_acks: OnceLock::new(),
            close_reason: OnceLock::new(),
            closed: AtomicBool::new(false),
            topics,
            open,
        }
    }

    /// Has the session told when its client's connection is over.
    pub(crate) fn ride(self: &Arc<Self>) {
        self.connection.carry(self.clone());
    }

    /// Its client's connection.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Offers a frame to its client; if the writers have to be told, its connection is added to `due`.
    pub(crate) fn offer(
        &self,
        frame: &Bytes,
        volatile: bool,
        message: MessageRef,
        due: &mut Vec<Arc<Connection>>,
    ) -> Offered {
        self.connection.offer(frame, &self.last_mark, volatile, message.to(self.connection_seq), due)
    }

    /// Sends an event through the library: `send` returns whether there was room. `marked`: it ends with a mark.
    pub(crate) fn send_through_library(&self, marked: bool, message: MessageRef, send: impl FnOnce() -> bool) {
        self.connection.send_through_library(&self.last_mark, message.to(self.connection_seq), || match send() {
            false => Passage::Refused,
            true if marked => Passage::Marked,
            true => Passage::Unmarked,
        });
    }

    /// Something went through the library without a mark; nothing that is sent from now on overtakes it.
    pub(crate) fn sent_unmarked(&self) {
        self.connection.send_through_library(&self.last_mark, QueuedDelivery::NONE, || Passage::Unmarked);
    }

    /// Who it is, and which rooms it is in.
    pub(crate) fn user(&self) -> &SessionUser {
        &self.user
    }

    /// Its user is known, and which rooms come with that. Returns the rooms that it leaves.
    pub(crate) fn authenticated(&self, user: Arc<str>, rooms: Vec<String>) -> Vec<String> {
        self.connection.proven();
        self.user.set(user, rooms)
    }

    /// Says why the server is about to close it; the first word counts.
    pub(crate) fn set_close_reason(&self, reason: &'static str) {
        let _ = self.close_reason.set(reason);
    }

    /// How long it has been open.
    pub(crate) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// The client's address as this server sees it.
    pub(crate) fn address(&self) -> IpAddr {
        self.connection.peer.ip().to_canonical()
    }

    /// Whether its closed row is written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Writes the closed row, once.
    pub(crate) fn close(&self, reason: &str) {
        if self.closed.swap(true, SeqCst) {
            return;
        }
        self.open.fetch_sub(1, Relaxed);
        gauge!(names::CONNECTIONS).decrement(1);
        self.user.stop_waiting();
        let why = self.close_reason.get().copied().or(self.connection.reason()).unwrap_or(reason);
        let (user, (received, sent)) = (self.user.name(), self.connection.bytes());
        let row = ConnectionRow {
            connection_seq: Some(self.connection_seq),
            namespace: &self.namespace,
            transport: self.connection.transport(),
            protocol: self.protocol,
            user_id: user.as_deref(),
            reason: Some(why),
            duration_ms: Some(self.opened_at.elapsed().as_millis() as i64),
            received_bytes: Some(received as i64),
            sent_bytes: Some(sent as i64),
            ..ConnectionRow::of(ConnectionEvent::Closed)
        };
        let address = self.address().to_string();
        let share = user.as_deref().map_or(Share::Anonymous(&address), Share::User);
        numbered(self.topics.offer_connection(share, &row));
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: usize) -> Self {
        use crate::connection::{Protocol, Settings};
        static TOPICS: std::sync::LazyLock<Arc<Topics>> = std::sync::LazyLock::new(|| Arc::new(Topics::for_tests()));
        let peer = (([127, 0, 0, 1], 1).into(), Protocol::V4);
        let settings = Arc::new(Settings::new(1, Duration::ZERO));
        Self::new(Opened {
            sid: Sid::new(),
            connection_seq: number as i64,
            namespace: "/".into(),
            protocol: 4,
            auth: None,
            connection: Arc::new(Connection::new(peer, None, None, None, settings)),
            topics: TOPICS.clone(),
            open: Arc::default(),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A client that went away between its admission and its connection has no disconnect handler.
        self.close("transport close");
    }
}

impl Passenger for Session {
    fn has_left(&self) -> bool {
        self.is_closed()
    }

    fn connection_ended(&self, unsent: &[QueuedDelivery]) {
        for delivery in unsent.iter().filter(|delivery| delivery.connection_seq == self.connection_seq) {
            let user = self.user.name_at(delivery.received);
            let row = DeliveryRow {
                message_seq: delivery.message_seq,
                connection_seq: self.connection_seq,
                user_id: user.as_deref(),
                outcome: DeliveryOutcome::Unsent,
                latency_us: i32::try_from(delivery.received.elapsed().as_micros()).unwrap_or(i32::MAX),
            };
            numbered(self.topics.delivery.offer(&row));
            counter!(names::DELIVERIES, "outcome" => DeliveryOutcome::Unsent.name()).increment(1);
        }
    }
}
