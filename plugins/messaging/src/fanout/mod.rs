//! From a room to its members: the adapter below socket.io's namespaces.
//!
//! Each namespace has one [`Fanout`]. It keeps rooms of its own in place of the library's, so that the rows of a
//! broadcast need no look-up by recipient: a room's members are columns that are ready to be used. An event is encoded
//! once, as the frames that each client gets, and put into the outbox of each connection; who cannot be reached so gets
//! it through the library.

mod rooms;
mod roster;

use crate::cluster::Interest;
use crate::cluster::protocol::Target;
use crate::event::Event;
use crate::gateway::{Links, Moment, Session};
use crate::rows::delivery_outcome::{DROPPED, QUEUED};
use futures_util::FutureExt;
use futures_util::stream::{Peekable, SelectAll, StreamExt};
use parking_lot::RwLock;
pub(crate) use rooms::Rooms;
pub(crate) use roster::Roster;
use socketioxide::AckError;
use socketioxide::adapter::Emitter;
use socketioxide::socket::Sid;
use socketioxide_core::adapter::{BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, SocketEmitter};
use socketioxide_core::packet::Packet;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a client acknowledges.
type Ack = <Emitter as SocketEmitter>::AckStream;
/// What clients acknowledge.
pub(crate) type Acks = SelectAll<Peekable<Pin<Box<Ack>>>>;

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
    /// Sends an event to those whose roster this is. Nobody may join or leave meanwhile. `message` is the number of its
    /// row, negative where its deliveries are not recorded, and when it was received.
    pub(crate) fn send(
        &self,
        event: &Event,
        roster: &Roster,
        volatile: bool,
        message: (i64, Moment),
        links: &Links,
    ) -> Sent {
        let (frames, mut due) = (event.frames(self.local.path()), Vec::new());
        let mut library = ThroughLibrary { local: &self.local, event, volatile, message, packet: None };
        let sent = Sent::each(roster.sessions().iter().map(|session| {
            let direct = session.send(frames.of(session.protocol), volatile, message, &mut due);
            direct.map_or_else(|| library.send(session), |room| if room { QUEUED } else { DROPPED })
        }));
        links.write_to(due);
        sent
    }

    /// Sends an event to those whose roster this is; they acknowledge it within `timeout`, or not.
    pub(crate) fn send_with_ack(
        &self,
        event: &Event,
        roster: &Roster,
        message: (i64, Moment),
        timeout: Duration,
    ) -> (Sent, Acks) {
        let ((packet, marked), mut acks) = (event.marked_packet(self.local.path()), Acks::new());
        let sent = Sent::each(roster.sessions().iter().map(|session| {
            let mut outcome = DROPPED;
            session.send_through_library(marked, message, || {
                let (ack, _) =
                    self.local.broadcast_with_ack(packet.clone(), BroadcastOptions::new(session.sid), Some(timeout));
                let mut ack = Box::pin(ack).peekable();
                if found_room(&mut ack) {
                    outcome = QUEUED;
                }
                acks.push(ack);
                outcome == QUEUED
            });
            outcome
        }));
        (sent, acks)
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

    /// Disconnects a socket from the namespace. If it does not take even that, its connection is closed.
    pub(crate) fn disconnect(&self, session: &Session) {
        if self.local.disconnect_socket(BroadcastOptions::new(session.sid)).is_err() {
            session.link().doom();
        }
    }

    /// Takes out a socket whose connection is over, if it is still there.
    pub(crate) fn reap(&self, sid: Sid) {
        // It is going already, as a rule.
        let _ = self.local.disconnect_socket(BroadcastOptions::new(sid));
    }
}

/// Whether a message whose acknowledgement this is was queued: if not, the library has said so already.
fn found_room(ack: &mut Peekable<Pin<Box<Ack>>>) -> bool {
    // Whatever else this task has done: it must not look as if nothing had been said.
    let said = tokio::task::unconstrained(Pin::new(ack).peek()).now_or_never();
    !matches!(said, Some(None | Some((_, Err(AckError::Socket(_))))))
}

/// The library's way to a socket.
struct ThroughLibrary<'a> {
    local: &'a CoreLocalAdapter<Emitter>,
    event: &'a Event,
    volatile: bool,
    message: (i64, Moment),
    /// The event and whether it is marked, made when the first needs it.
    packet: Option<(Packet, bool)>,
}

impl ThroughLibrary<'_> {
    /// Returns the outcome.
    fn send(&mut self, session: &Session) -> i8 {
        if self.volatile && session.link().is_behind() {
            return DROPPED;
        }
        let (packet, marked) = self.packet.get_or_insert_with(|| self.event.marked_packet(self.local.path()));
        let mut outcome = DROPPED;
        session.send_through_library(*marked, self.message, || {
            if self.local.broadcast(packet.clone(), BroadcastOptions::new(session.sid)).is_ok() {
                outcome = QUEUED;
            }
            outcome == QUEUED
        });
        outcome
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
