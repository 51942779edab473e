//! From a room to its members: the adapter below socket.io's namespaces.
//!
//! Each namespace has one [`Fanout`]. It keeps rooms of its own in place of the library's, so that the rows of a broadcast
//! need no look-up by recipient: a room's members are columns that are ready to be used. An event is encoded once, as the
//! frame that each client gets, and put into the outbox of each connection; who cannot be reached so gets it through the
//! library.

mod rooms;
mod roster;

use crate::cluster::Interest;
use crate::cluster::protocol::Target;
use crate::event::Event;
use crate::gateway::{Links, Session};
use crate::rows::delivery_outcome::{DROPPED, QUEUED, UNKNOWN};
use futures_util::stream::SelectAll;
use parking_lot::RwLock;
pub(crate) use rooms::Rooms;
pub(crate) use roster::Roster;
use socketioxide::adapter::Emitter;
use socketioxide::socket::Sid;
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, SocketEmitter};
use socketioxide_core::packet::Packet;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a client acknowledges.
type Ack = <Emitter as SocketEmitter>::AckStream;
/// What clients acknowledge.
pub(crate) type Acks = SelectAll<Pin<Box<Ack>>>;

/// One namespace on this node.
pub(crate) struct Fanout {
    local: CoreLocalAdapter<Emitter>,
    pub(crate) rooms: RwLock<Rooms>,
    namespaces: Namespaces,
}

/// The namespaces by name.
#[derive(Clone, Default)]
pub(crate) struct Namespaces {
    by_name: Arc<RwLock<HashMap<String, Arc<Fanout>>>>,
    interest: Arc<Interest>,
    guests: bool,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The same for all: a `delivery_outcome`.
    Alike(i8),
    /// One by one, in the order of the roster.
    Each(Vec<i8>),
}

impl Namespaces {
    /// `interest` is told which rooms have members. With `guests`, who is not authenticated is in the audience, too.
    pub(crate) fn new(interest: Arc<Interest>, guests: bool) -> Self {
        Self { interest, guests, ..Self::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Fanout>> {
        self.by_name.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Fanout>> {
        self.by_name.read().values().cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.read().keys().cloned().collect()
    }
}

impl Fanout {
    /// Sends an event to those whose roster this is. Nobody may join or leave meanwhile.
    pub(crate) fn send(&self, event: &Event, roster: &Roster, volatile: bool, links: &Links) -> Sent {
        let (frame, mut due) = (event.frame(self.local.path()), Vec::new());
        let mut library = ThroughLibrary { local: &self.local, event, volatile, marked: None, unmarked: None };
        let sent = Sent::each(roster.sessions().iter().map(|session| {
            let direct = frame.as_ref().and_then(|frame| session.send(frame, volatile, &mut due));
            direct.map_or_else(|| library.send(session), |room| if room { QUEUED } else { DROPPED })
        }));
        links.write_to(due);
        sent
    }

    /// Sends an event to those whose roster this is; they acknowledge it within `timeout`, or not.
    pub(crate) fn send_with_ack(&self, event: &Event, roster: &Roster, timeout: Duration) -> Acks {
        let packet = event.packet(self.local.path());
        let send = |session: &Arc<Session>| {
            let (ack, _) = self.local.broadcast_with_ack(packet.clone(), BroadcastOptions::new(session.sid), Some(timeout));
            session.sent_unmarked();
            Box::pin(ack)
        };
        roster.sessions().iter().map(send).collect()
    }

    /// Lets the members of `target` join `rooms`.
    pub(crate) fn join(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            session.joined(rooms);
            own.join(session, rooms);
        })
    }

    /// Lets the members of `target` leave `rooms`.
    pub(crate) fn leave(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            session.left(rooms);
            own.leave(session.sid, rooms);
        })
    }

    fn change(&self, target: &Target, what: impl Fn(&mut Rooms, &Arc<Session>)) -> usize {
        let mut own = self.rooms.write();
        let roster = own.roster(&target.rooms, &target.except);
        roster.sessions().iter().for_each(|session| what(&mut own, session));
        roster.len()
    }

    /// The members of `target`.
    pub(crate) fn members(&self, target: &Target) -> Arc<Roster> {
        self.rooms.read().roster(&target.rooms, &target.except)
    }

    /// Makes a socket a member of the namespace, unless it has gone. Returns whether it is there.
    pub(crate) fn enter(&self, session: &Arc<Session>) -> bool {
        self.rooms.write().enter(session)
    }

    /// It is known who a socket is: it leaves the rooms of who it was before and joins `rooms`, in one step.
    /// Returns whether it is still there.
    pub(crate) fn become_known(&self, session: &Arc<Session>, user: &str, rooms: &[String]) -> bool {
        let mut own = self.rooms.write();
        let left = session.set_user(user.into(), rooms.to_vec());
        own.leave(session.sid, &left);
        own.know(session)
    }

    /// Disconnects a socket, if it is there.
    pub(crate) fn disconnect(&self, sid: Sid) {
        let _ = self.local.disconnect_socket(BroadcastOptions::new(sid));
    }

    /// Disconnects every socket.
    pub(crate) fn disconnect_all(&self) {
        // Those that are closing already are an error of no interest.
        let mut all = BroadcastOptions::default();
        all.add_flag(BroadcastFlags::Broadcast);
        let _ = self.local.disconnect_socket(all);
    }
}

/// The library's way to a socket.
struct ThroughLibrary<'a> {
    local: &'a CoreLocalAdapter<Emitter>,
    event: &'a Event,
    volatile: bool,
    /// The event, made when the first needs it.
    marked: Option<Packet>,
    unmarked: Option<Packet>,
}

impl ThroughLibrary<'_> {
    /// Returns the outcome.
    fn send(&mut self, session: &Session) -> i8 {
        if self.volatile && session.is_polling() {
            // Dropped where it does not poll at this moment: the library does not tell.
            let mut options = BroadcastOptions::new(session.sid);
            options.add_flag(BroadcastFlags::Volatile);
            let _ = self.local.broadcast(self.packet(false), options);
            return UNKNOWN;
        }
        if self.volatile && session.link().is_behind() {
            return DROPPED;
        }
        let mut outcome = DROPPED;
        let marks = self.event.attachments.is_empty();
        session.send_through_library(marks, |marked| {
            let sent = self.local.broadcast(self.packet(marked), BroadcastOptions::new(session.sid)).is_ok();
            if sent {
                outcome = QUEUED;
            }
            sent
        });
        outcome
    }

    fn packet(&mut self, marked: bool) -> Packet {
        let (event, namespace) = (self.event, self.local.path());
        match marked {
            true => self.marked.get_or_insert_with(|| event.marked_packet(namespace)),
            false => self.unmarked.get_or_insert_with(|| event.packet(namespace)),
        }
        .clone()
    }
}

impl Sent {
    fn each(mut outcomes: impl Iterator<Item = i8>) -> Self {
        let Some(first) = outcomes.next() else { return Self::Alike(QUEUED) };
        let mut alike = 1;
        while let Some(outcome) = outcomes.next() {
            if outcome != first {
                let before = std::iter::repeat_n(first, alike);
                return Self::Each(before.chain([outcome]).chain(outcomes).collect());
            }
            alike += 1;
        }
        Self::Alike(first)
    }
}

impl DefinedAdapter for Fanout {}

impl CoreAdapter<Emitter> for Fanout {
    type Error = Infallible;
    type State = Namespaces;
    type AckStream = Ack;
    type InitRes = ();

    fn new(namespaces: &Namespaces, local: CoreLocalAdapter<Emitter>) -> Self {
        let rooms = RwLock::new(Rooms::new(local.path(), namespaces.interest.clone(), namespaces.guests));
        Self { local, rooms, namespaces: namespaces.clone() }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) {
        self.namespaces.by_name.write().insert(self.local.path().to_string(), self.clone());
        on_success();
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        opts: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, Infallible> {
        Ok(self.local.broadcast_with_ack(packet, opts, timeout).0)
    }

    fn get_local(&self) -> &CoreLocalAdapter<Emitter> {
        &self.local
    }
}
