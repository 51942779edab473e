//! The namespaces of this node. Each is the library's adapter for that namespace.

use super::interest::{Interest, Room};
use super::room_rules::{JoinRefused, RoomRules};
use super::rooms::Rooms;
use super::roster::Roster;
use super::session::Session;
use super::session_user::Grant;
use crate::auth::AcceptedToken;
use crate::rows::{MembershipCause, MembershipEvent};
use crate::target::Target;
use parking_lot::RwLock;
use socketioxide::adapter::Emitter;
use socketioxide::socket::Sid;
use socketioxide_core::adapter::{BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, SocketEmitter};
use socketioxide_core::packet::Packet;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// The acknowledgements from one broadcast of the library.
type Ack = <Emitter as SocketEmitter>::AckStream;

/// One namespace on this node.
pub(crate) struct Namespace {
    pub(super) local: CoreLocalAdapter<Emitter>,
    pub(crate) rooms: RwLock<Rooms>,
    namespaces: Namespaces,
}

/// The namespaces by name.
#[derive(Clone, Default)]
pub(crate) struct Namespaces {
    by_name: Arc<RwLock<HashMap<String, Arc<Namespace>>>>,
    interest: Arc<Interest>,
    guests: bool,
    room_rules: Arc<RoomRules>,
}

impl Namespaces {
    /// Reports rooms with members to `interest`. With `guests`, unauthenticated sockets also get messages. Clients may
    /// ask for the rooms that `room_rules` or their tokens allow.
    pub(crate) fn new(interest: Arc<Interest>, guests: bool, room_rules: RoomRules) -> Self {
        Self { by_name: Arc::default(), interest, guests, room_rules: Arc::new(room_rules) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        self.by_name.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Namespace>> {
        self.by_name.read().values().cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.read().keys().cloned().collect()
    }

    /// Whether a room of a namespace has members on this node.
    pub(crate) fn has(&self, namespace: &str, room: &str) -> bool {
        self.get(namespace).is_some_and(|namespace| namespace.rooms.read().has(room))
    }

    /// Every room of every namespace that has members on this node.
    pub(crate) fn rooms(&self) -> Vec<Room> {
        let rooms = |(name, namespace): (&String, &Arc<Namespace>)| -> Vec<Room> {
            namespace.rooms.read().names().into_iter().map(|room| (name.clone(), room)).collect()
        };
        self.by_name.read().iter().flat_map(rooms).collect()
    }
}

impl Namespace {
    pub(crate) fn name(&self) -> &str {
        self.local.path()
    }

    /// Adds the sockets of `target` to `rooms`. Returns their number.
    pub(crate) fn join(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            let joined = session.user().joined(rooms);
            own.join(session, rooms);
            session.record_memberships(&joined, MembershipEvent::Joined, MembershipCause::Server);
        })
    }

    /// Removes the sockets of `target` from `rooms`. Returns their number.
    pub(crate) fn leave(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            let left = session.user().left(rooms);
            own.leave(session.sid, rooms);
            session.record_memberships(&left, MembershipEvent::Left, MembershipCause::Server);
        })
    }

    /// Whether the client may ask for some rooms. If not, its events `join` and `leave` are ordinary pushes.
    pub(crate) fn may_ask(&self, session: &Session) -> bool {
        session.user().may_ask(&self.namespaces.room_rules)
    }

    /// Adds a socket to a room that its client asks for, unless it has closed.
    ///
    /// # Errors
    /// If the client may not join the room.
    pub(crate) fn ask_to_join(&self, session: &Arc<Session>, room: &str) -> Result<(), JoinRefused> {
        let mut own = self.rooms.write();
        if !session.is_closed() && session.user().ask_to_join(room, &self.namespaces.room_rules)? {
            let room = [room.to_owned()];
            own.join(session, &room);
            session.record_memberships(&room, MembershipEvent::Joined, MembershipCause::Client);
        }
        Ok(())
    }

    /// Removes a socket from a room that its client asks to leave, unless it has closed: the client may have connected
    /// again with the same id.
    ///
    /// # Errors
    /// If the client may not leave the room.
    pub(crate) fn ask_to_leave(&self, session: &Session, room: &str) -> Result<(), JoinRefused> {
        let mut own = self.rooms.write();
        if !session.is_closed() && session.user().ask_to_leave(room, &self.namespaces.room_rules)? {
            let room = [room.to_owned()];
            own.leave(session.sid, &room);
            session.record_memberships(&room, MembershipEvent::Left, MembershipCause::Client);
        }
        Ok(())
    }

    fn change(&self, target: &Target, what: impl Fn(&mut Rooms, &Arc<Session>)) -> usize {
        let mut own = self.rooms.write();
        let roster = own.roster(&target.rooms, &target.except);
        roster.sessions().iter().for_each(|session| what(&mut own, session));
        roster.len()
    }

    /// The sockets of `target`.
    pub(crate) fn members(&self, target: &Target) -> Arc<Roster> {
        self.rooms.read().roster(&target.rooms, &target.except)
    }

    /// Adds a socket to the namespace, unless it has closed. Returns whether it was added.
    pub(crate) fn enter(&self, session: &Arc<Session>) -> bool {
        self.rooms.write().enter(session)
    }

    /// Sets the user of a socket and the rooms that come with it. In one step the socket leaves the rooms that it may no
    /// longer be in, and joins the others. Returns false if it has closed.
    pub(crate) fn set_user(&self, session: &Arc<Session>, grant: Grant) -> bool {
        let mut own = self.rooms.write();
        if session.is_closed() {
            return false;
        }
        let left = session.set_user(grant, &self.namespaces.room_rules);
        own.leave(session.sid, &left);
        own.user_changed(session)
    }

    /// Closes an authenticated socket if `over` is true of its user and token. From then on it gets no messages, and
    /// cannot authenticate. Returns whether it was closed.
    pub(crate) fn close_if(
        &self,
        session: &Session,
        reason: &'static str,
        over: impl FnOnce(&str, &AcceptedToken) -> bool,
    ) -> bool {
        // The same lock as in `set_user`: no new token comes in between.
        let mut own = self.rooms.write();
        if session.is_closed() || !session.user().holds(over) {
            return false;
        }
        session.close(reason);
        own.exit(session.sid, &session.user().rooms());
        true
    }

    /// Disconnects a socket from the namespace. If that packet cannot be queued, closes the connection.
    pub(crate) fn disconnect(&self, session: &Session) {
        if self.local.disconnect_socket(BroadcastOptions::new(session.sid)).is_err() {
            session.connection().abort();
        }
    }

    /// Removes a socket whose connection has ended, if the library has not done so.
    pub(crate) fn remove_ended(&self, sid: Sid) {
        // Fails if the library has removed the socket, as it usually has.
        let _ = self.local.disconnect_socket(BroadcastOptions::new(sid));
    }
}

impl DefinedAdapter for Namespace {}

impl CoreAdapter<Emitter> for Namespace {
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
