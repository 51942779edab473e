//! A client's socket in one namespace.

use super::event_order::EventOrder;
use super::room_rules::RoomRules;
use super::session_user::{Grant, Membership, SessionUser};
use crate::connection::{Connection, ConnectionObserver, Handover, LastMark, MessageRef, Offered, QueuedDelivery};
use crate::metrics as names;
use crate::rows::{
    ConnectionEvent, ConnectionRow, DeliveryOutcome, DeliveryRow, MembershipCause, MembershipEvent, MembershipRow,
    Topics, numbered,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use greyhound_sdk::Share;
use metrics::{counter, gauge};
use serde_json::value::RawValue;
use socketioxide::socket::Sid;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Sends one acknowledgement. Returns whether it was queued.
pub(crate) type SendAck = Box<dyn FnOnce() -> bool + Send>;

/// What an acknowledgement waits for.
pub(crate) enum AckAfter {
    /// The row of a push, by its number, is durable.
    Durable(u64),
    Done(BoxFuture<'static, ()>),
}

/// A socket of the gateway. Its `closed` row is written when it is closed or dropped, whichever comes first.
pub(crate) struct Session {
    pub(crate) sid: Sid,
    /// The number of its `opened` row.
    pub(crate) connection_seq: i64,
    pub(crate) namespace: Box<str>,
    pub(crate) protocol: i32,
    /// The handshake's auth payload without the token: a JSON object.
    pub(crate) auth: Option<Box<RawValue>>,
    connection: Arc<Connection>,
    last_mark: LastMark,
    opened_at: Instant,
    user: SessionUser,
    /// The acknowledgements to send, in this order.
    pub(crate) acks: OnceLock<mpsc::Sender<(AckAfter, SendAck)>>,
    pub(crate) event_order: EventOrder,
    /// Why the server closed the socket.
    close_reason: OnceLock<&'static str>,
    closed: AtomicBool,
    topics: Arc<Topics>,
    open: Arc<AtomicUsize>,
}

/// The parts of a new session.
pub(crate) struct SessionParts {
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
    pub(crate) fn new(parts: SessionParts) -> Self {
        let SessionParts { sid, connection_seq, namespace, protocol, auth, connection, topics, open } = parts;
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
            acks: OnceLock::new(),
            event_order: EventOrder::default(),
            close_reason: OnceLock::new(),
            closed: AtomicBool::new(false),
            topics,
            open,
        }
    }

    /// Notifies the session when its connection ends.
    pub(crate) fn observe_connection(self: &Arc<Self>) {
        self.connection.add_observer(self.clone());
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Queues a frame for the client. If the writers must be told, the connection is added to `due`.
    pub(super) fn offer(
        &self,
        frame: &Bytes,
        volatile: bool,
        message: MessageRef,
        due: &mut Vec<Arc<Connection>>,
    ) -> Offered {
        self.connection.offer(frame, &self.last_mark, volatile, message.to(self.connection_seq), due)
    }

    /// Sends an event through the library. `send` returns whether the event was queued; `marked` says whether it ends
    /// with a mark.
    pub(super) fn send_through_library(&self, marked: bool, message: MessageRef, send: impl FnOnce() -> bool) {
        self.connection.send_through_library(&self.last_mark, message.to(self.connection_seq), || match send() {
            false => Handover::Refused,
            true if marked => Handover::Marked,
            true => Handover::Unmarked,
        });
    }

    /// An event without a mark went through the library. Later events will not overtake it.
    pub(crate) fn sent_unmarked(&self) {
        self.connection.send_through_library(&self.last_mark, QueuedDelivery::NONE, || Handover::Unmarked);
    }

    /// The socket's user and rooms.
    pub(crate) fn user(&self) -> &SessionUser {
        &self.user
    }

    /// Sets the user and the rooms that come with it. Returns the rooms that the socket leaves.
    pub(super) fn set_user(&self, grant: Grant, rules: &RoomRules) -> Vec<String> {
        self.connection.authenticated(grant.user.clone());
        let before = self.user.name();
        let changes = self.user.set(grant, rules);
        let record = |membership: &Membership, event, user| {
            if membership.cause.is_some() {
                self.record_membership(&membership.room, event, MembershipCause::Authentication, user, None);
            }
        };
        changes.left.iter().for_each(|it| record(it, MembershipEvent::Left, before.as_deref()));
        let after = self.user.name();
        changes.joined.iter().for_each(|it| record(it, MembershipEvent::Joined, after.as_deref()));
        changes.left.into_iter().map(|membership| membership.room).collect()
    }

    /// Records that the socket joined or left `rooms`. The caller keeps the rooms locked, so that the rows are in the
    /// order of the changes and of the messages.
    pub(super) fn record_memberships(&self, rooms: &[String], event: MembershipEvent, cause: MembershipCause) {
        let user = self.user.name();
        rooms.iter().for_each(|room| self.record_membership(room, event, cause, user.as_deref(), None));
    }

    /// Records that the client may not join or leave a room.
    pub(crate) fn record_refused_room(&self, room: &str, why: &str) {
        let user = self.user.name();
        self.record_membership(room, MembershipEvent::Refused, MembershipCause::Client, user.as_deref(), Some(why));
    }

    fn record_membership(
        &self,
        room: &str,
        event: MembershipEvent,
        cause: MembershipCause,
        user_id: Option<&str>,
        reason: Option<&str>,
    ) {
        counter!(names::MEMBERSHIPS, "event" => event.name(), "cause" => cause.name()).increment(1);
        let row = MembershipRow {
            connection_seq: self.connection_seq,
            user_id,
            namespace: &self.namespace,
            room,
            event,
            cause,
            reason,
        };
        let share = match (cause, user_id) {
            (MembershipCause::Server, _) | (_, None) => Share::Program,
            (_, Some(user)) => Share::User(user),
        };
        numbered(self.topics.offer_membership(share, &row));
    }

    /// Sets the reason why the server closes the socket. The first call wins.
    pub(crate) fn set_close_reason(&self, reason: &'static str) {
        let _ = self.close_reason.set(reason);
    }

    /// The time since the socket was opened.
    pub(crate) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// The address of the client.
    pub(crate) fn address(&self) -> IpAddr {
        self.connection.client.address
    }

    /// Whether the socket is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Closes the session and writes its `closed` row. Only the first call has an effect.
    pub(crate) fn close(&self, reason: &str) {
        if self.closed.swap(true, SeqCst) {
            return;
        }
        self.open.fetch_sub(1, Relaxed);
        gauge!(names::CONNECTIONS).decrement(1);
        self.user.closed();
        let reason = self.close_reason.get().copied().or(self.connection.close_reason()).unwrap_or(reason);
        let (user, (received, sent)) = (self.user.name(), self.connection.bytes());
        let row = ConnectionRow {
            connection_seq: Some(self.connection_seq),
            namespace: &self.namespace,
            transport: self.connection.transport(),
            protocol: self.protocol,
            user_id: user.as_deref(),
            reason: Some(reason),
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
    pub(crate) fn authenticated_for_tests(number: usize, token: crate::auth::AcceptedToken) -> Self {
        let session = Self::for_tests(number);
        let grant = Grant {
            user: "somebody".into(),
            token: token.boxed(),
            own_rooms: Vec::new(),
            claims: crate::auth::RoomClaims::default(),
        };
        session.set_user(grant, &RoomRules::default());
        session
    }

    #[cfg(test)]
    pub(super) fn for_tests(number: usize) -> Self {
        use crate::connection::{Protocol, Settings};
        use crate::proxies::ClientEnd;
        static TOPICS: std::sync::LazyLock<Arc<Topics>> = std::sync::LazyLock::new(|| Arc::new(Topics::for_tests()));
        let client = ClientEnd { address: std::net::Ipv4Addr::LOCALHOST.into(), secure: false };
        let settings = Arc::new(Settings::new(&crate::Config::default(), crate::limits::QueueMemory::new(usize::MAX)));
        Self::new(SessionParts {
            sid: Sid::new(),
            connection_seq: number as i64,
            namespace: "/".into(),
            protocol: 4,
            auth: None,
            connection: Arc::new(Connection::new((client, Protocol::V4), None, None, None, settings)),
            topics: TOPICS.clone(),
            open: Arc::default(),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The library calls no disconnect handler for a client that goes away between its admission and its connection.
        self.close("transport close");
    }
}

impl ConnectionObserver for Session {
    fn is_finished(&self) -> bool {
        self.is_closed()
    }

    fn is_authenticated(&self) -> bool {
        !self.is_closed() && self.user.name().is_some()
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
