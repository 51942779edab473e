//! A client's socket in one namespace.

use super::acks::Acks;
use super::link::{Link, Passage, Passenger};
use super::moment::Moment;
use super::outbox::Delivery;
use crate::metrics as names;
use crate::rows::{ConnectionRow, DeliveryRow, Topics, connection_event, delivery_outcome};
use bytes::Bytes;
use greyhound_sdk::Share;
use metrics::{counter, gauge};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use socketioxide::socket::Sid;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// What the gateway knows of a socket. Its `closed` row is written when it is closed, or forgotten, whichever is first.
pub(crate) struct Session {
    pub(crate) sid: Sid,
    /// The number of its opened row.
    pub(crate) connection: i64,
    pub(crate) namespace: Box<str>,
    pub(crate) protocol: i32,
    /// What it said of itself in the handshake, but for the token: a JSON object.
    pub(crate) auth: Option<Box<RawValue>>,
    link: Arc<Link>,
    /// The number of the last mark that went through the library; 0 where an event without one came later.
    mark: AtomicU64,
    opened: Instant,
    who: Mutex<Who>,
    pub(super) acks: Acks,
    /// Disconnects it, unless it authenticates in time.
    timer: Mutex<Option<AbortHandle>>,
    /// Why the server closed it.
    reason: OnceLock<&'static str>,
    closed: AtomicBool,
    topics: Option<Arc<Topics>>,
    open: Arc<AtomicUsize>,
}

/// Who is on the other side.
#[derive(Default)]
struct Who {
    user: Option<Arc<str>>,
    /// Who it was before, and until when.
    earlier: Option<(Moment, Arc<str>)>,
    /// The rooms that came with the user.
    rooms: Vec<String>,
    /// The rooms that it was put into otherwise.
    joined: Vec<String>,
}

/// What a session is made of.
pub(super) struct Opened {
    pub(super) sid: Sid,
    pub(super) connection: i64,
    pub(super) namespace: Box<str>,
    pub(super) protocol: i32,
    pub(super) auth: Option<Box<RawValue>>,
    pub(super) link: Arc<Link>,
    pub(super) topics: Arc<Topics>,
    pub(super) open: Arc<AtomicUsize>,
}

impl Session {
    pub(super) fn new(opened: Opened) -> Self {
        let Opened { sid, connection, namespace, protocol, auth, link, topics, open } = opened;
        open.fetch_add(1, Relaxed);
        gauge!(names::CONNECTIONS).increment(1);
        Self {
            sid,
            connection,
            namespace,
            protocol,
            auth,
            link,
            mark: AtomicU64::new(0),
            opened: Instant::now(),
            who: Mutex::default(),
            acks: Acks::default(),
            timer: Mutex::default(),
            reason: OnceLock::new(),
            closed: AtomicBool::new(false),
            topics: Some(topics),
            open,
        }
    }

    /// Lets the session know when its client's connection is over.
    pub(super) fn ride(self: &Arc<Self>) {
        self.link.carry(self.clone());
    }

    /// Its client's connection.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Lets a frame be written to its client; to `due` goes whom the writers are to be told of. Returns whether there
    /// was room; none where the event has to go through the library.
    pub(crate) fn send(
        &self,
        frame: &Bytes,
        volatile: bool,
        (message, received): (i64, Moment),
        due: &mut Vec<Arc<Link>>,
    ) -> Option<bool> {
        let delivery = Delivery { message, connection: self.connection, received };
        self.link.send(frame, &self.mark, volatile, delivery, due)
    }

    /// Sends an event through the library: `send` returns whether there was room. `marked`: it has a mark at its end.
    pub(crate) fn send_through_library(
        &self,
        marked: bool,
        (message, received): (i64, Moment),
        send: impl FnOnce() -> bool,
    ) {
        let delivery = Delivery { message, connection: self.connection, received };
        self.link.send_through_library(&self.mark, delivery, || match send() {
            false => Passage::Refused,
            true if marked => Passage::Marked,
            true => Passage::Unmarked,
        });
    }

    /// Something went through the library without a mark; nothing that is sent from now on overtakes it.
    pub(crate) fn sent_unmarked(&self) {
        self.link.send_through_library(&self.mark, Delivery::NONE, || Passage::Unmarked);
    }

    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.who.lock().user.clone()
    }

    /// Who it was then.
    fn user_at(&self, moment: Moment) -> Option<Arc<str>> {
        let who = self.who.lock();
        let earlier = who.earlier.as_ref().filter(|(until, _)| moment.elapsed() > until.elapsed());
        earlier.map(|(_, user)| user.clone()).or_else(|| who.user.clone())
    }

    /// All rooms that it is in, but for its own.
    pub(crate) fn rooms(&self) -> Vec<String> {
        let who = self.who.lock();
        who.rooms.iter().chain(&who.joined).cloned().collect()
    }

    /// It was put into `rooms`.
    pub(crate) fn joined(&self, rooms: &[String]) {
        let mut who = self.who.lock();
        for room in rooms {
            if !who.rooms.contains(room) && !who.joined.contains(room) {
                who.joined.push(room.clone());
            }
        }
    }

    /// It was put out of `rooms`.
    pub(crate) fn left(&self, rooms: &[String]) {
        let mut who = self.who.lock();
        who.rooms.retain(|room| !rooms.contains(room));
        who.joined.retain(|room| !rooms.contains(room));
    }

    /// Ends `timer` when it is known who it is.
    pub(super) fn until_authenticated(&self, timer: AbortHandle) {
        *self.timer.lock() = Some(timer);
    }

    /// It is known who it is, and which rooms come with that. Returns the rooms that it leaves: those that came with
    /// who it was, and if that was somebody else, those that it was put into as well.
    pub(crate) fn set_user(&self, user: Arc<str>, rooms: Vec<String>) -> Vec<String> {
        // Taken out, because a handle keeps the memory of its task.
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
        self.link.proven();
        let who = &mut *self.who.lock();
        let before = who.user.replace(user);
        let mut left = std::mem::replace(&mut who.rooms, rooms);
        if before.is_some() && before != who.user {
            left.append(&mut who.joined);
            who.earlier = before.map(|user| (Moment::now(), user));
        }
        who.joined.retain(|room| !who.rooms.contains(room));
        left.retain(|room| !who.rooms.contains(room));
        left
    }

    /// Says why the server is about to close it; the first word counts.
    pub(crate) fn because(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
    }

    /// How long it has been open.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// The client's address as this server sees it.
    pub(crate) fn address(&self) -> IpAddr {
        self.link.peer.ip().to_canonical()
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
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
        let why = self.reason.get().copied().or(self.link.reason()).unwrap_or(reason);
        let (user, (received, sent)) = (self.user(), self.link.bytes());
        let row = ConnectionRow {
            event: connection_event::CLOSED,
            connection_seq: Some(self.connection),
            namespace: &self.namespace,
            transport: self.link.transport(),
            protocol: self.protocol,
            user_id: user.as_deref(),
            reason: Some(why),
            duration_ms: Some(self.opened.elapsed().as_millis() as i64),
            received_bytes: Some(received as i64),
            sent_bytes: Some(sent as i64),
            ..ConnectionRow::default()
        };
        if let Some(topics) = &self.topics {
            let address = self.address().to_string();
            let share = user.as_deref().map_or(Share::Anonymous(&address), Share::User);
            crate::outlet::numbered(topics.offer_connection(share, &row));
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: usize) -> Self {
        let links = Arc::new(super::links::Links::new(1, Duration::ZERO));
        let peer = (([127, 0, 0, 1], 1).into(), super::protocol::Protocol::V4);
        let link = Arc::new(Link::new(peer, None, None, None, links));
        Self {
            sid: Sid::new(),
            connection: number as i64,
            namespace: "/".into(),
            protocol: 4,
            auth: None,
            link,
            mark: AtomicU64::new(0),
            opened: Instant::now(),
            who: Mutex::default(),
            acks: Acks::default(),
            timer: Mutex::default(),
            reason: OnceLock::new(),
            closed: AtomicBool::new(false),
            topics: None,
            open: Arc::new(AtomicUsize::new(1)),
        }
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

    fn link_ended(&self, unsent: &[Delivery]) {
        let Some(topics) = &self.topics else { return };
        for delivery in unsent.iter().filter(|delivery| delivery.connection == self.connection) {
            let user = self.user_at(delivery.received);
            let row = DeliveryRow {
                message_seq: delivery.message,
                connection_seq: self.connection,
                user_id: user.as_deref(),
                outcome: delivery_outcome::UNSENT,
                latency_us: i32::try_from(delivery.received.elapsed().as_micros()).unwrap_or(i32::MAX),
            };
            crate::outlet::numbered(topics.delivery.offer(&row));
            counter!(names::DELIVERIES, "outcome" => "unsent").increment(1);
        }
    }
}
