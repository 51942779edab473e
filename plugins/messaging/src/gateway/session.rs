//! A client's socket in one namespace.

use super::acks::Acks;
use super::link::{Link, Passage};
use super::links::Links;
use crate::metrics as names;
use crate::rows::{ConnectionRow, Topics, connection_event};
use bytes::Bytes;
use greyhound_sdk::Share;
use metrics::gauge;
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
    links: Arc<Links>,
    upgraded: OnceLock<Arc<Link>>,
    /// Whether `link` is its WebSocket.
    websocket: bool,
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
    pub(super) websocket: bool,
    pub(super) link: Arc<Link>,
    pub(super) links: Arc<Links>,
    pub(super) topics: Arc<Topics>,
    pub(super) open: Arc<AtomicUsize>,
}

impl Session {
    pub(super) fn new(opened: Opened) -> Self {
        let Opened { sid, connection, namespace, protocol, auth, websocket, link, links, topics, open } = opened;
        open.fetch_add(1, Relaxed);
        gauge!(names::CONNECTIONS).increment(1);
        Self {
            sid,
            connection,
            namespace,
            protocol,
            auth,
            link,
            links,
            upgraded: OnceLock::new(),
            websocket,
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

    /// The TCP connection that it uses by now.
    pub(crate) fn link(&self) -> &Arc<Link> {
        self.websocket_link().unwrap_or(&self.link)
    }

    /// The connection of its WebSocket. None where it polls: each of its requests may come over another connection, or over
    /// one that others use as well.
    fn websocket_link(&self) -> Option<&Arc<Link>> {
        if self.websocket {
            return Some(&self.link);
        }
        self.upgraded.get().or_else(|| {
            let link = self.links.upgraded(self.sid)?;
            Some(self.upgraded.get_or_init(|| link))
        })
    }

    pub(crate) fn is_polling(&self) -> bool {
        self.websocket_link().is_none()
    }

    /// Lets a frame be written to its WebSocket; to `due` goes whom the writers are to be told of. Returns whether there was
    /// room; none where the event has to go through the library.
    pub(crate) fn send(&self, frame: &Bytes, volatile: bool, due: &mut Vec<Arc<Link>>) -> Option<bool> {
        self.websocket_link()?.send(frame, &self.mark, volatile, due)
    }

    /// Sends an event through the library. `send` is told whether to put a mark at its end, as it may where it has no
    /// attachments, and returns whether there was room.
    pub(crate) fn send_through_library(&self, may_mark: bool, send: impl FnOnce(bool) -> bool) {
        let Some(link) = self.websocket_link() else {
            send(false);
            return;
        };
        link.send_through_library(&self.mark, |marks| {
            let marked = marks && may_mark;
            match send(marked) {
                false => Passage::Refused,
                true if marked => Passage::Marked,
                true => Passage::Unmarked,
            }
        });
    }

    /// Something went through the library without a mark; nothing that is sent from now on overtakes it.
    pub(crate) fn sent_unmarked(&self) {
        if let Some(link) = self.websocket_link() {
            link.send_through_library(&self.mark, |_| Passage::Unmarked);
        }
    }

    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.who.lock().user.clone()
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

    /// It is known who it is, and which rooms come with that. Returns the rooms that it leaves: those that came with who it
    /// was, and if that was somebody else, those that it was put into as well.
    pub(crate) fn set_user(&self, user: Arc<str>, rooms: Vec<String>) -> Vec<String> {
        // Taken out, because a handle keeps the memory of its task.
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
        let who = &mut *self.who.lock();
        let before = who.user.replace(user);
        let mut left = std::mem::replace(&mut who.rooms, rooms);
        if before.is_some() && before != who.user {
            left.append(&mut who.joined);
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

    /// Closes its connection, unless it polls: its requests may come over one that others use as well.
    pub(crate) fn hang_up(&self) {
        if !self.is_polling() {
            self.link().doom();
        }
    }

    /// Closes its WebSocket: it takes too little of what is sent to it. One that polls is left to its pings.
    pub(crate) fn too_slow(&self) {
        if !self.is_polling() {
            self.link().too_slow();
        }
    }

    /// Whether its closed row is written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Writes the closed row, once.
    pub(crate) fn close(&self, transport: &str, reason: &str) {
        if self.closed.swap(true, SeqCst) {
            return;
        }
        self.open.fetch_sub(1, Relaxed);
        gauge!(names::CONNECTIONS).decrement(1);
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
        let slow = self.link().is_slow().then_some("slow client");
        let (user, (received, sent)) = (self.user(), self.bytes());
        let row = ConnectionRow {
            event: connection_event::CLOSED,
            connection_seq: Some(self.connection),
            namespace: &self.namespace,
            transport,
            protocol: self.protocol,
            user_id: user.as_deref(),
            reason: Some(slow.or(self.reason.get().copied()).unwrap_or(reason)),
            duration_ms: Some(self.opened.elapsed().as_millis() as i64),
            received_bytes: Some(received as i64),
            sent_bytes: Some(sent as i64),
            ..ConnectionRow::default()
        };
        if let Some(topics) = &self.topics {
            let address = self.address().to_string();
            let share = user.as_deref().map_or(Share::Stranger(&address), Share::User);
            crate::outlet::numbered(topics.offer_connection(share, &row));
        }
    }

    fn bytes(&self) -> (u64, u64) {
        let (received, sent) = self.link.bytes();
        let (more_received, more_sent) = self.upgraded.get().map_or((0, 0), |link| link.bytes());
        (received + more_received, sent + more_sent)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: usize) -> Self {
        let links = Arc::new(Links::new(1, Duration::ZERO));
        let link = Arc::new(Link::new(([127, 0, 0, 1], 1).into(), None, links.clone()));
        Self {
            sid: Sid::new(),
            connection: number as i64,
            namespace: "/".into(),
            protocol: 4,
            auth: None,
            link,
            links,
            upgraded: OnceLock::new(),
            websocket: true,
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
        self.close("polling", "transport close");
    }
}
