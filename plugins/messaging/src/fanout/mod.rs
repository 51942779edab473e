//! From a room to its members: the adapter below socket.io's namespaces.
//!
//! Each namespace has one [`Fanout`]. Beside the library's own rooms, which do the sending, it keeps its own, so
//! that the rows of a broadcast need no look-up by recipient: a room's members are columns that are ready to be used.

mod rooms;
mod roster;

use crate::gateway::{Session, Who};
use crate::rows::delivery_outcome::{DROPPED, QUEUED, UNKNOWN};
use parking_lot::RwLock;
pub(crate) use rooms::Rooms;
pub(crate) use roster::Roster;
use socketioxide::adapter::Emitter;
use socketioxide::socket::Sid;
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, SocketEmitter};
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
pub(crate) struct Namespaces(Arc<RwLock<HashMap<String, Arc<Fanout>>>>);

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The same for all: a `delivery_outcome`.
    Alike(i8),
    /// One by one, in the order of the roster.
    Each(Vec<i8>),
}

impl Namespaces {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Fanout>> {
        self.0.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Fanout>> {
        self.0.read().values().cloned().collect()
    }
}

impl Fanout {
    /// Sends `packet` to the members of `rooms` (all, where there are none) but not those of `except`, whose
    /// roster this is. Nobody may join or leave meanwhile: hold the lock of `rooms`.
    pub(crate) fn send(&self, packet: Packet, rooms: &[String], except: &[String], roster: &Roster, anybody_behind: bool) -> Sent {
        let mut options = options(rooms, except);
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
            let alone = self.local.broadcast(packet.clone(), BroadcastOptions::new(session.sid));
            each[at] = if alone.is_ok() { QUEUED } else { DROPPED };
        }
        Sent::Each(each)
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

    /// It is known who a socket is: it leaves the rooms of who it was before and joins those of `who`, in one step.
    /// Returns whether it is still there.
    pub(crate) fn become_known(&self, session: &Arc<Session>, who: Who) -> bool {
        let mut own = self.rooms.write();
        let before = session.who().rooms;
        self.local.del(session.sid, before.clone());
        own.leave(session.sid, &before);
        let rooms = who.rooms.clone();
        session.set_who(who);
        self.join_locked(&mut own, session, &rooms)
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

fn options(rooms: &[String], except: &[String]) -> BroadcastOptions {
    let mut options = BroadcastOptions::default();
    let named = |rooms: &[String]| rooms.iter().filter(|r| !r.starts_with(OWN)).map(|r| r.clone().into()).collect::<Vec<_>>();
    options.rooms.extend(named(rooms));
    options.except.extend(named(except));
    if rooms.is_empty() {
        options.rooms.push(EVERYBODY.into());
    }
    options
}

impl DefinedAdapter for Fanout {}

impl CoreAdapter<Emitter> for Fanout {
    type Error = Infallible;
    type State = Namespaces;
    type AckStream = <Emitter as SocketEmitter>::AckStream;
    type InitRes = ();

    fn new(namespaces: &Namespaces, local: CoreLocalAdapter<Emitter>) -> Self {
        Self { local, rooms: RwLock::default(), namespaces: namespaces.clone(), left_out: AtomicU64::new(0) }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) {
        self.namespaces.0.write().insert(self.local.path().to_string(), self.clone());
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
