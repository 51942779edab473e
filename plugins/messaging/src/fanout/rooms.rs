//! The rooms of one namespace.

use super::Roster;
use crate::cluster::Interest;
use crate::gateway::Session;
use socketioxide::socket::Sid;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Who is where. Each socket is also a room of its own, by its id.
#[derive(Default)]
pub(crate) struct Rooms {
    namespace: String,
    interest: Arc<Interest>,
    everybody: Room,
    rooms: HashMap<String, Room>,
}

#[derive(Default)]
struct Room {
    members: HashMap<Sid, Arc<Session>>,
    /// Made when a message needs it, forgotten when somebody comes or goes.
    roster: OnceLock<Arc<Roster>>,
}

impl Rooms {
    pub(super) fn new(namespace: &str, interest: Arc<Interest>) -> Self {
        Self { namespace: namespace.to_owned(), interest, ..Self::default() }
    }

    /// A socket has gone; `rooms` are those that it had joined.
    pub(crate) fn exit(&mut self, sid: Sid, rooms: &[String]) {
        if self.everybody.remove(sid) {
            self.interest.touch(&self.namespace, sid.as_str());
        }
        self.leave(sid, rooms);
    }

    /// A socket comes into the namespace, if it is not there already, and into `rooms`. False where it has gone:
    /// [`Rooms::exit`] comes after its session is closed, so none stays behind.
    pub(crate) fn join(&mut self, session: &Arc<Session>, rooms: &[String]) -> bool {
        if session.is_closed() {
            return false;
        }
        // Forgets the roster also where it was there: its user may be another one from now on.
        if self.everybody.add(session.clone()) {
            self.interest.touch(&self.namespace, session.sid.as_str());
        }
        for room in rooms {
            let entry = self.rooms.entry(room.clone()).or_default();
            if entry.members.is_empty() {
                self.interest.touch(&self.namespace, room);
            }
            entry.add(session.clone());
        }
        true
    }

    pub(crate) fn leave(&mut self, sid: Sid, rooms: &[String]) {
        for name in rooms {
            let Some(room) = self.rooms.get_mut(name) else { continue };
            room.remove(sid);
            if room.members.is_empty() {
                self.rooms.remove(name);
                self.interest.touch(&self.namespace, name);
            }
        }
    }

    /// The members of `rooms` (all, where there are none) but not those of `except`, each once.
    pub(crate) fn roster(&self, rooms: &[String], except: &[String]) -> Arc<Roster> {
        match (rooms, except) {
            ([], []) => self.everybody.roster(),
            ([one], []) => match self.rooms.get(one) {
                Some(room) => room.roster(),
                None => Arc::new(Roster::new(self.socket(one).into_iter().cloned().collect())),
            },
            _ => Arc::new(self.collect(rooms, except)),
        }
    }

    fn collect(&self, rooms: &[String], except: &[String]) -> Roster {
        let mut members: HashMap<Sid, &Arc<Session>> = HashMap::new();
        let named = rooms.iter().filter_map(|name| self.rooms.get(name));
        let all = rooms.is_empty().then_some(&self.everybody);
        named.chain(all).for_each(|room| members.extend(room.members.iter().map(|(sid, session)| (*sid, session))));
        members.extend(rooms.iter().filter_map(|name| self.socket(name)).map(|session| (session.sid, session)));
        for room in except.iter().filter_map(|name| self.rooms.get(name)) {
            members.retain(|sid, _| !room.members.contains_key(sid));
        }
        for session in except.iter().filter_map(|name| self.socket(name)) {
            members.remove(&session.sid);
        }
        Roster::new(members.into_values().cloned().collect())
    }

    /// The socket whose id this is.
    pub(super) fn socket(&self, name: &str) -> Option<&Arc<Session>> {
        self.everybody.members.get(&name.parse().ok()?)
    }

    /// Whether anybody is in a room, or it is a socket's own.
    pub(crate) fn has(&self, room: &str) -> bool {
        self.rooms.contains_key(room) || self.socket(room).is_some()
    }

    /// All rooms, those of single sockets as well.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rooms.keys().cloned().chain(self.everybody.members.keys().map(Sid::to_string)).collect()
    }
}

impl Room {
    /// Returns whether it is new.
    fn add(&mut self, session: Arc<Session>) -> bool {
        self.roster.take();
        self.members.insert(session.sid, session).is_none()
    }

    /// Returns whether it was there.
    fn remove(&mut self, sid: Sid) -> bool {
        self.roster.take();
        self.members.remove(&sid).is_some()
    }

    fn roster(&self) -> Arc<Roster> {
        self.roster.get_or_init(|| Arc::new(Roster::new(self.members.values().cloned().collect()))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn names(numbers: &BTreeSet<usize>) -> Vec<String> {
        numbers.iter().map(usize::to_string).collect()
    }

    proptest! {
        /// Whatever joins and leaves: a roster has just those whom the sets of a model say.
        #[test]
        fn a_roster_is_what_the_sets_say(steps in prop::collection::vec((0..6_usize, 0..4_usize, any::<bool>()), 0..60),
                                         rooms in prop::collection::btree_set(0..4_usize, 0..3), except in prop::collection::btree_set(0..4_usize, 0..2)) {
            let sessions: Vec<_> = (0..6).map(|n| Arc::new(Session::for_tests(n))).collect();
            let mut own = Rooms::default();
            sessions.iter().for_each(|s| assert!(own.join(s, &[])));
            let mut model = vec![BTreeSet::new(); 4];
            for (socket, room, joins) in steps {
                let name = [room.to_string()];
                if joins { own.join(&sessions[socket], &name); model[room].insert(socket); } else { own.leave(sessions[socket].sid, &name); model[room].remove(&socket); }
                let _ = own.roster(&name, &[]);
            }
            let mut expected: BTreeSet<usize> = if rooms.is_empty() { (0..6).collect() } else { rooms.iter().flat_map(|r| model[*r].clone()).collect() };
            except.iter().for_each(|r| expected.retain(|s| !model[*r].contains(s)));
            let roster = own.roster(&names(&rooms), &names(&except));
            let got: BTreeSet<usize> = roster.sessions().iter().map(|s| s.connection as usize).collect();
            prop_assert_eq!(roster.len(), got.len());
            prop_assert_eq!(got, expected);
        }
    }
}
