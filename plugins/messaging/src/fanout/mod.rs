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

/// What begins the names of the library's rooms here, but for a socket's own, its id.
const OWN: char = '\0';

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
    /// Sends `packets` to those whose roster this is: the members of `target`; what became of each. Nobody may join or leave
    /// meanwhile: `own` is read under the lock of `rooms`.
    pub(crate) fn send(&self, own: &Rooms, packets: &[Packet], target: &Target, roster: &Roster, anybody_behind: bool) -> Vec<Sent> {
        if let [one] = roster.sessions() {
            // By its id, which spares looking its rooms up.
            let behind = anybody_behind && one.may_fail();
            let send = |packet: &Packet| match behind {
                true => self.send_to_one(one, packet.clone(), target.volatile),
                false => self.send_by_id(one, packet.clone()),
            };
            return packets.iter().map(|packet| Sent::Alike(send(packet))).collect();
        }
        let parts = self.parts(own, target);
        let behind: Vec<usize> = match anybody_behind {
            true => (0..roster.len()).filter(|&at| roster.session(at).may_fail()).collect(),
            false => Vec::new(),
        };
        if !behind.is_empty() {
            return self.send_apart(packets, parts, target.volatile, roster, &behind);
        }
        let failed = self.broadcast(packets, &parts);
        failed.into_iter().map(|failed| Sent::Alike(outcome(failed, roster.len()))).collect()
    }

    /// The library does not tell who failed: those who may are left out, and sent to one by one.
    fn send_apart(
        &self,
        packets: &[Packet],
        mut parts: Vec<BroadcastOptions>,
        volatile: bool,
        roster: &Roster,
        behind: &[usize],
    ) -> Vec<Sent> {
        // By a room of this broadcast alone: another one at the same time leaves out others.
        let out = format!("{OWN}out {}", self.left_out.fetch_add(1, Relaxed));
        behind.iter().for_each(|&at| self.local.add_all(roster.session(at).sid, out.clone()));
        parts.iter_mut().for_each(|part| part.except.push(out.clone().into()));
        let others = |failed| vec![outcome(failed, roster.len() - behind.len()); roster.len()];
        let mut sent: Vec<Vec<i8>> = self.broadcast(packets, &parts).into_iter().map(others).collect();
        for &at in behind {
            let session = roster.session(at);
            self.local.del(session.sid, out.clone());
            for (each, packet) in sent.iter_mut().zip(packets) {
                each[at] = self.send_to_one(session, packet.clone(), volatile);
            }
        }
        sent.into_iter().map(Sent::Each).collect()
    }

    /// A block gets all that waits for it before the next one has its turn. Returns how often each packet found no room.
    fn broadcast(&self, packets: &[Packet], parts: &[BroadcastOptions]) -> Vec<usize> {
        let mut failed = vec![0; packets.len()];
        for part in parts {
            for (packet, failed) in packets.iter().zip(&mut failed) {
                *failed += self.local.broadcast(packet.clone(), part.clone()).map_or_else(|errors| errors.len(), |()| 0);
            }
        }
        failed
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
        let sent = self.local.broadcast(packet, BroadcastOptions::new(session.sid));
        outcome(sent.map_or_else(|errors| errors.len(), |()| 0), 1)
    }

    /// Sends an event and waits for acknowledgements: to how many sockets, and what they say.
    pub(crate) fn send_with_ack(&self, own: &Rooms, packet: Packet, target: &Target, timeout: Duration) -> (Acks, u32) {
        self.local.broadcast_with_ack(packet, self.options(own, target), Some(timeout))
    }

    /// Lets the members of `target` join `rooms`.
    pub(crate) fn join(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            session.joined(rooms);
            self.join_locked(own, session, rooms);
        })
    }

    /// Lets the members of `target` leave `rooms`.
    pub(crate) fn leave(&self, target: &Target, rooms: &[String]) -> usize {
        self.change(target, |own, session| {
            session.left(rooms);
            self.local.del(session.sid, own.leave(session.sid, rooms));
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
        let blocks = own.join(session, rooms);
        blocks.map(|blocks| self.local.add_all(session.sid, blocks)).is_some()
    }

    /// It is known who a socket is: it leaves the rooms of who it was before and joins `rooms`, in one step.
    /// Returns whether it is still there.
    pub(crate) fn become_known(&self, session: &Arc<Session>, user: &str, rooms: &[String]) -> bool {
        let mut own = self.rooms.write();
        let before = session.rooms_of_user();
        self.local.del(session.sid, own.leave(session.sid, &before));
        session.set_user(user.into(), rooms.to_vec());
        self.join_locked(&mut own, session, rooms)
    }

    /// Where a message to `target` goes, one after another: nobody is in two of the parts.
    fn parts(&self, own: &Rooms, target: &Target) -> Vec<BroadcastOptions> {
        let options = self.options(own, target);
        let apart = match &target.rooms[..] {
            [] => true,
            [room] => own.socket(room).is_none(),
            _ => false,
        };
        if !apart || !target.except.is_empty() {
            // The library sees to it that who is in several rooms gets it once.
            return vec![options];
        }
        let part = |block| {
            let mut part = BroadcastOptions::default();
            part.rooms.push(block);
            part
        };
        options.rooms.into_iter().map(part).collect()
    }

    fn options(&self, own: &Rooms, target: &Target) -> BroadcastOptions {
        let mut options = BroadcastOptions::default();
        options.rooms.extend(self.named(own, &target.rooms));
        options.except.extend(self.named(own, &target.except));
        if target.rooms.is_empty() {
            options.rooms.extend(own.blocks_of_all().map(Room::from));
        }
        options
    }

    /// Rooms as the library names them. A socket joins the one of its own id when it is first needed.
    fn named(&self, own: &Rooms, rooms: &[String]) -> impl Iterator<Item = Room> {
        rooms.iter().flat_map(|room| {
            let socket = own.socket(room).map(|session| {
                self.local.add_all(session.sid, room.clone());
                room.clone()
            });
            own.blocks(room).chain(socket).map(Room::from)
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

/// What became of a message of which `failed` of `count` found no room.
fn outcome(failed: usize, count: usize) -> i8 {
    match failed {
        0 => QUEUED,
        _ if failed >= count => DROPPED,
        _ => UNKNOWN,
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
