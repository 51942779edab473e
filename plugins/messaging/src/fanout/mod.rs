//! From a room to its members: the adapter below socket.io's namespaces.
//!
//! Each namespace has one [`Fanout`]. Beside the library's own rooms, which do the sending, it keeps its own, so
//! that the rows of a broadcast need no look-up by recipient: a room's members are columns that are ready to be used.

mod rooms;
mod roster;

use crate::cluster::Interest;
use crate::cluster::protocol::Target;
use crate::gateway::Session;
use crate::rows::delivery_outcome::{DROPPED, QUEUED, UNKNOWN};
use parking_lot::RwLock;
pub(crate) use rooms::Rooms;
pub(crate) use roster::Roster;
use socketioxide::adapter::Emitter;
use socketioxide::socket::Sid;
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, Room, SocketEmitter};
use socketioxide_core::packet::Packet;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What begins the names of the rooms below: nobody's room can have such a name.
const OWN: char = '\0';
/// The room of all who are in [`Rooms`]: the library's own notion of everybody changes at other moments.
const EVERYBODY: &str = "\0everybody";

/// What clients acknowledge.
pub(crate) type Acks = <Emitter as SocketEmitter>::AckStream;

/// One namespace on this node.
pub(crate) struct Fanout {
    local: CoreLocalAdapter<Emitter>,
    pub(crate) rooms: RwLock<Rooms>,
    namespaces: Namespaces,
    /// How many broadcasts left somebody out.
    left_out: AtomicU64,
}

/// The namespaces by name.
#[derive(Clone, Default)]
pub(crate) struct Namespaces {
    by_name: Arc<RwLock<HashMap<String, Arc<Fanout>>>>,
    interest: Arc<Interest>,
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
    /// `interest` is told which rooms have members.
    pub(crate) fn new(interest: Arc<Interest>) -> Self {
        Self { interest, ..Self::default() }
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
    /// Sends `packet` to those whose roster this is: the members of `target`. Nobody may join or leave meanwhile:
    /// `own` is read under the lock of `rooms`.
    pub(crate) fn send(&self, own: &Rooms, packet: Packet, target: &Target, roster: &Roster, anybody_behind: bool) -> Sent {
        if let [one] = roster.sessions() {
            // By its id, which spares looking its rooms up.
            let sent = match anybody_behind && one.may_fail() {
                true => self.send_to_one(one, packet, target.volatile),
                false => self.send_by_id(one, packet),
            };
            return Sent::Alike(sent);
        }
        let mut options = self.options(own, target);
        let behind: Vec<usize> = match anybody_behind {
            true => (0..roster.len()).filter(|&at| roster.session(at).may_fail()).collect(),
            false => Vec::new(),
        };
        if behind.is_empty() {
            return Sent::Alike(outcome(self.local.broadcast(packet, options).map_err(|e| e.len()), roster.len()));
        }
        // The library does not tell who failed: those who may are left out, and sent to one by one. By a room of this
        // broadcast alone: another one at the same time leaves out others.
        let out = format!("{OWN}out {}", self.left_out.fetch_add(1, Relaxed));
        behind.iter().for_each(|&at| self.local.add_all(roster.session(at).sid, out.clone()));
        options.except.push(out.clone().into());
        let others = self.local.broadcast(packet.clone(), options).map_err(|e| e.len());
        let mut each = vec![outcome(others, roster.len() - behind.len()); roster.len()];
        for at in behind {
            let session = roster.session(at);
            self.local.del(session.sid, out.clone());
            each[at] = self.send_to_one(session, packet.clone(), target.volatile);
        }
        Sent::Each(each)
    }

    /// Sends to a socket that may be behind.
    fn send_to_one(&self, session: &Session, packet: Packet, volatile: bool) -> i8 {
        match (volatile, session.is_polling()) {
            (false, _) => self.send_by_id(session, packet),
            (true, false) => DROPPED,
            (true, true) => {
                // Dropped where it does not poll at this moment: the library does not tell.
                let mut options = BroadcastOptions::new(session.sid);
                options.add_flag(BroadcastFlags::Volatile);
                let _ = self.local.broadcast(packet, options);
                UNKNOWN
            }
        }
    }

    fn send_by_id(&self, session: &Session, packet: Packet) -> i8 {
        outcome(self.local.broadcast(packet, BroadcastOptions::new(session.sid)).map_err(|e| e.len()), 1)
    }

    /// Sends an event and waits for acknowledgements: to how many sockets, and what they say.
    pub(crate) fn send_with_ack(&self, own: &Rooms, packet: Packet, target: &Target, timeout: Duration) -> (Acks, u32) {
        self.local.broadcast_with_ack(packet, self.options(own, target), Some(timeout))
    }

    /// Lets the members of `target` join `rooms`.
    pub(crate) fn join(&self, target: &Target, rooms: &[String]) -> usize {
        let rooms: Vec<String> = rooms.iter().filter(|room| !room.starts_with(OWN)).cloned().collect();
        self.change(target, |own, session| {
            session.joined(&rooms);
            self.join_locked(own, session, &rooms);
        })
    }

    /// Lets the members of `target` leave `rooms`.
    pub(crate) fn leave(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            session.left(rooms);
            self.local.del(session.sid, rooms.to_vec());
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
        self.join_locked(&mut self.rooms.write(), session, &[])
    }

    fn join_locked(&self, own: &mut Rooms, session: &Arc<Session>, rooms: &[String]) -> bool {
        let there = own.join(session, rooms);
        if there {
            self.local.add_all(session.sid, EVERYBODY);
            self.local.add_all(session.sid, rooms.to_vec());
        }
        there
    }

    /// It is known who a socket is: it leaves the rooms of who it was before and joins `rooms`, in one step.
    /// Returns whether it is still there.
    pub(crate) fn become_known(&self, session: &Arc<Session>, user: &str, rooms: &[String]) -> bool {
        let mut own = self.rooms.write();
        let before = session.rooms_of_user();
        self.local.del(session.sid, before.clone());
        own.leave(session.sid, &before);
        session.set_user(user.into(), rooms.to_vec());
        self.join_locked(&mut own, session, rooms)
    }

    fn options(&self, own: &Rooms, target: &Target) -> BroadcastOptions {
        let mut options = BroadcastOptions::default();
        options.rooms.extend(self.named(own, &target.rooms));
        options.except.extend(self.named(own, &target.except));
        if target.rooms.is_empty() {
            options.rooms.push(EVERYBODY.into());
        }
        options
    }

    /// Rooms as the library names them. A socket joins the one of its own id when it is first needed.
    fn named(&self, own: &Rooms, rooms: &[String]) -> impl Iterator<Item = Room> {
        rooms.iter().filter(|room| !room.starts_with(OWN)).map(|room| {
            if let Some(session) = own.socket(room) {
                self.local.add_all(session.sid, room.clone());
            }
            room.clone().into()
        })
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

fn outcome(sent: Result<(), usize>, count: usize) -> i8 {
    match sent {
        Ok(()) => QUEUED,
        Err(failed) if failed >= count => DROPPED,
        Err(_) => UNKNOWN,
    }
}

impl DefinedAdapter for Fanout {}

impl CoreAdapter<Emitter> for Fanout {
    type Error = Infallible;
    type State = Namespaces;
    type AckStream = Acks;
    type InitRes = ();

    fn new(namespaces: &Namespaces, local: CoreLocalAdapter<Emitter>) -> Self {
        let rooms = RwLock::new(Rooms::new(local.path(), namespaces.interest.clone()));
        Self { local, rooms, namespaces: namespaces.clone(), left_out: AtomicU64::new(0) }
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
