//! The rooms of one namespace.

use super::interest::Interest;
use super::roster::Roster;
use super::session::Session;
use socketioxide::socket::Sid;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The members of each room. Each socket is also alone in a room named by its id.
#[derive(Default)]
pub(crate) struct Rooms {
    namespace: String,
    interest: Arc<Interest>,
    /// Whether `everybody` includes unauthenticated sockets.
    guests: bool,
    everybody: Room,
    /// Unauthenticated sockets that get no messages.
    unauthenticated: HashMap<Sid, Arc<Session>>,
    rooms: HashMap<String, Room>,
}

#[derive(Default)]
struct Room {
    members: HashMap<Sid, Arc<Session>>,
    /// Built when a message needs it, discarded when a member joins or leaves.
    roster: OnceLock<Arc<Roster>>,
}

impl Rooms {
    pub(super) fn new(namespace: &str, interest: Arc<Interest>, guests: bool) -> Self {
        Self { namespace: namespace.to_owned(), interest, guests, ..Self::default() }
    }

    /// Removes a closed socket from the namespace and from `rooms`, which it had joined.
    pub(crate) fn exit(&mut self, sid: Sid, rooms: &[String]) {
        self.unauthenticated.remove(&sid);
        if self.everybody.remove(sid) {
            self.interest.mark_changed(&self.namespace, sid.as_str());
        }
        self.leave(sid, rooms);
    }

    /// Adds an unauthenticated socket to the namespace. Returns false if it has closed. [`Rooms::exit`] is called after
    /// the session is closed, so no closed socket remains.
    pub(super) fn enter(&mut self, session: &Arc<Session>) -> bool {
        if session.is_closed() {
            return false;
        }
        match self.guests {
            true => self.admit(session),
            // Its first event, which authenticates it, may have come before.
            false if self.everybody.members.contains_key(&session.sid) => {}
            false => drop(self.unauthenticated.insert(session.sid, session.clone())),
        }
        true
    }

    /// The socket has authenticated, or its user has changed: it gets messages, and all its rosters are discarded.
    /// Returns false if it has closed.
    pub(super) fn user_changed(&mut self, session: &Arc<Session>) -> bool {
        if session.is_closed() {
            return false;
        }
        self.unauthenticated.remove(&session.sid);
        self.admit(session);
        self.join(session, &session.user().rooms());
        true
    }

    fn admit(&mut self, session: &Arc<Session>) {
        if self.everybody.add(session.clone()) {
            self.interest.mark_changed(&self.namespace, session.sid.as_str());
        }
    }

    /// Adds a socket of the namespace to rooms, unless it has closed.
    pub(super) fn join(&mut self, session: &Arc<Session>, rooms: &[String]) {
        if session.is_closed() {
            return;
        }
        for room in rooms {
            let entry = self.rooms.entry(room.clone()).or_default();
            if entry.members.is_empty() {
                self.interest.mark_changed(&self.namespace, room);
            }
            entry.add(session.clone());
        }
    }

    pub(super) fn leave(&mut self, sid: Sid, rooms: &[String]) {
        for name in rooms {
            let Some(room) = self.rooms.get_mut(name) else { continue };
            room.remove(sid);
            if room.members.is_empty() {
                self.rooms.remove(name);
                self.interest.mark_changed(&self.namespace, name);
            }
        }
    }

    /// The members of `rooms` (if empty: everybody) without those of `except`, each once.
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

    /// The socket with this id, if it gets messages.
    pub(super) fn socket(&self, name: &str) -> Option<&Arc<Session>> {
        self.everybody.members.get(&name.parse().ok()?)
    }

    /// All sockets of the namespace, including unauthenticated ones.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.everybody.members.values().chain(self.unauthenticated.values()).cloned().collect()
    }

    /// Whether a room has members.
    pub(crate) fn has(&self, room: &str) -> bool {
        self.rooms.contains_key(room) || self.socket(room).is_some()
    }

    /// All rooms with members, including those named by the ids of sockets.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rooms.keys().cloned().chain(self.everybody.members.keys().map(Sid::to_string)).collect()
    }
}

impl Room {
    /// Returns whether the socket was not yet a member.
    fn add(&mut self, session: Arc<Session>) -> bool {
        self.roster.take();
        self.members.insert(session.sid, session).is_none()
    }

    /// Returns whether the socket was a member.
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
    use super::super::room_rules::RoomRules;
    use super::super::session_user::Grant;
    use super::*;
    use crate::auth::RoomClaims;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn names(numbers: &BTreeSet<usize>) -> Vec<String> {
        numbers.iter().map(usize::to_string).collect()
    }

    proptest! {
        /// A roster has the same members as a model with sets.
        #[test]
        fn a_roster_matches_a_model(steps in prop::collection::vec((0..6_usize, 0..4_usize, any::<bool>()), 0..60),
                                         rooms in prop::collection::btree_set(0..4_usize, 0..3), except in prop::collection::btree_set(0..4_usize, 0..2)) {
            let sessions: Vec<_> = (0..6).map(|n| Arc::new(Session::for_tests(n))).collect();
            let mut own = Rooms::new("/", Arc::default(), true);
            sessions.iter().for_each(|s| assert!(own.enter(s)));
            let mut model = vec![BTreeSet::new(); 4];
            for (socket, room, joins) in steps {
                let name = [room.to_string()];
                if joins { own.join(&sessions[socket], &name); model[room].insert(socket); } else { own.leave(sessions[socket].sid, &name); model[room].remove(&socket); }
                let _ = own.roster(&name, &[]);
            }
            let mut expected: BTreeSet<usize> = if rooms.is_empty() { (0..6).collect() } else { rooms.iter().flat_map(|r| model[*r].clone()).collect() };
            except.iter().for_each(|r| expected.retain(|s| !model[*r].contains(s)));
            let roster = own.roster(&names(&rooms), &names(&except));
            let got: BTreeSet<usize> = roster.sessions().iter().map(|s| s.connection_seq as usize).collect();
            prop_assert_eq!(roster.len(), got.len());
            prop_assert_eq!(got, expected);
        }
    }

    fn grant(user: &str, own: &[&str]) -> Grant {
        Grant { user: user.into(), token: None, own_rooms: rooms(own), claims: RoomClaims::default() }
    }

    fn rooms(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_unauthenticated_socket_gets_no_messages() {
        let (mut own, session) = (Rooms::new("/", Arc::default(), false), Arc::new(Session::for_tests(1)));
        assert!(own.enter(&session));
        let sid = [session.sid.to_string()];
        assert_eq!(
            (own.roster(&[], &[]).len(), own.roster(&sid, &[]).len(), own.has(&sid[0]), own.names().len()),
            (0, 0, false, 0)
        );
        assert_eq!(own.all().len(), 1);
        session.set_user(grant("a", &["user(a)"]), &RoomRules::default());
        assert!(own.user_changed(&session));
        assert_eq!((own.roster(&[], &[]).len(), own.roster(&sid, &[]).len(), own.all().len()), (1, 1, 1));
        own.exit(session.sid, &session.user().rooms());
        assert_eq!((own.roster(&[], &[]).len(), own.all().len(), own.rooms.len()), (0, 0, 0));
        session.close("over");
        assert!(!own.enter(&session) && !own.user_changed(&session) && own.all().is_empty());
    }

    #[test]
    fn each_roster_has_the_current_user_of_a_socket() {
        let (mut own, [changed, other]) =
            (Rooms::new("/", Arc::default(), true), [1, 2].map(|n| Arc::new(Session::for_tests(n))));
        let all = [[].as_slice(), &["mixed"]].map(rooms);
        for session in [&changed, &other] {
            assert!(own.enter(session));
            session.user().joined(&all[1]);
            own.join(session, &all[1]);
        }
        let users = |own: &Rooms, rooms: &[String]| {
            let roster = own.roster(rooms, &[]);
            let mut users: Vec<_> = (0..roster.len()).map(|n| roster.user(n).unwrap_or("nobody").to_owned()).collect();
            users.sort_unstable();
            users
        };
        assert_eq!(
            all.each_ref().map(|rooms| users(&own, rooms)),
            [vec!["nobody", "nobody"], vec!["nobody", "nobody"]]
        );
        // A socket that authenticates for the first time keeps the rooms it joined before.
        let set_user = |user, rooms: &[&str]| changed.set_user(grant(user, rooms), &RoomRules::default());
        assert_eq!(set_user("a", &["user(a)", "site(x)"]), rooms(&[]));
        assert!(own.user_changed(&changed));
        assert_eq!(all.each_ref().map(|rooms| users(&own, rooms)), [vec!["a", "nobody"], vec!["a", "nobody"]]);
        // The same user from another site also keeps them; another user does not.
        let left = set_user("a", &["user(a)"]);
        assert_eq!((left, changed.user().rooms()), (rooms(&["site(x)"]), rooms(&["user(a)", "mixed"])));
        let left = set_user("b", &["user(b)"]);
        own.leave(changed.sid, &left);
        assert!(own.user_changed(&changed));
        assert_eq!((left, changed.user().rooms()), (rooms(&["user(a)", "mixed"]), rooms(&["user(b)"])));
        assert_eq!(all.each_ref().map(|rooms| users(&own, rooms)), [vec!["b", "nobody"], vec!["nobody"]]);
        assert_eq!(users(&own, &rooms(&["user(b)"])), ["b"]);
    }
}
