//! The rooms of one namespace.

use super::interest::Interest;
use super::roster::Roster;
use super::session::Session;
use socketioxide::socket::Sid;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Who is where. Each socket is also a room of its own, by its id.
#[derive(Default)]
pub(crate) struct Rooms {
    namespace: String,
    interest: Arc<Interest>,
    /// Whether sockets that are not authenticated belong to `everybody`.
    guests: bool,
    everybody: Room,
    /// Sockets that are not authenticated: they are in no audience.
    strangers: HashMap<Sid, Arc<Session>>,
    rooms: HashMap<String, Room>,
}

#[derive(Default)]
struct Room {
    members: HashMap<Sid, Arc<Session>>,
    /// Made when a message needs it, forgotten when somebody comes or goes.
    roster: OnceLock<Arc<Roster>>,
}

impl Rooms {
    pub(super) fn new(namespace: &str, interest: Arc<Interest>, guests: bool) -> Self {
        Self { namespace: namespace.to_owned(), interest, guests, ..Self::default() }
    }

    /// A socket has gone; `rooms` are those that it had joined.
    pub(crate) fn exit(&mut self, sid: Sid, rooms: &[String]) {
        self.strangers.remove(&sid);
        if self.everybody.remove(sid) {
            self.interest.touch(&self.namespace, sid.as_str());
        }
        self.leave(sid, rooms);
    }

    /// A socket comes into the namespace; nobody knows yet who it is. False if it has gone: [`Rooms::exit`] comes after
    /// its session is closed, so none stays behind.
    pub(crate) fn enter(&mut self, session: &Arc<Session>) -> bool {
        if session.is_closed() {
            return false;
        }
        match self.guests {
            true => self.admit(session),
            false => drop(self.strangers.insert(session.sid, session.clone())),
        }
        true
    }

    /// The socket's user is known, or is another one from now on: it belongs to everybody, and each roster that it is
    /// in is made anew. False if it has gone.
    pub(crate) fn know(&mut self, session: &Arc<Session>) -> bool {
        if session.is_closed() {
            return false;
        }
        self.strangers.remove(&session.sid);
        self.admit(session);
        self.join(session, &session.user().rooms());
        true
    }

    fn admit(&mut self, session: &Arc<Session>) {
        if self.everybody.add(session.clone()) {
            self.interest.touch(&self.namespace, session.sid.as_str());
        }
    }

    /// A socket of the namespace joins rooms, unless it has gone.
    pub(crate) fn join(&mut self, session: &Arc<Session>, rooms: &[String]) {
        if session.is_closed() {
            return;
        }
        for room in rooms {
            let entry = self.rooms.entry(room.clone()).or_default();
            if entry.members.is_empty() {
                self.interest.touch(&self.namespace, room);
            }
            entry.add(session.clone());
        }
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

    /// All sockets of the namespace, whether or not they are authenticated.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.everybody.members.values().chain(self.strangers.values()).cloned().collect()
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

    fn rooms(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_is_not_authenticated_is_in_no_audience() {
        let (mut own, session) = (Rooms::new("/", Arc::default(), false), Arc::new(Session::for_tests(1)));
        assert!(own.enter(&session));
        let sid = [session.sid.to_string()];
        assert_eq!(
            (own.roster(&[], &[]).len(), own.roster(&sid, &[]).len(), own.has(&sid[0]), own.names().len()),
            (0, 0, false, 0)
        );
        assert_eq!(own.all().len(), 1);
        session.authenticated("a".into(), rooms(&["user(a)"]));
        assert!(own.know(&session));
        assert_eq!((own.roster(&[], &[]).len(), own.roster(&sid, &[]).len(), own.all().len()), (1, 1, 1));
        own.exit(session.sid, &session.user().rooms());
        assert_eq!((own.roster(&[], &[]).len(), own.all().len(), own.rooms.len()), (0, 0, 0));
        session.close("over");
        assert!(!own.enter(&session) && !own.know(&session) && own.all().is_empty());
    }

    #[test]
    fn each_roster_names_the_user_that_a_socket_has_now() {
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
        // Whoever it was not before keeps the rooms that it was put into.
        assert_eq!(changed.authenticated("a".into(), rooms(&["user(a)", "site(x)"])), rooms(&[]));
        assert!(own.know(&changed));
        assert_eq!(all.each_ref().map(|rooms| users(&own, rooms)), [vec!["a", "nobody"], vec!["a", "nobody"]]);
        // The same user from another site keeps them as well, another user does not.
        let left = changed.authenticated("a".into(), rooms(&["user(a)"]));
        assert_eq!((left, changed.user().rooms()), (rooms(&["site(x)"]), rooms(&["user(a)", "mixed"])));
        let left = changed.authenticated("b".into(), rooms(&["user(b)"]));
        own.leave(changed.sid, &left);
        assert!(own.know(&changed));
        assert_eq!((left, changed.user().rooms()), (rooms(&["user(a)", "mixed"]), rooms(&["user(b)"])));
        assert_eq!(all.each_ref().map(|rooms| users(&own, rooms)), [vec!["b", "nobody"], vec!["nobody"]]);
        assert_eq!(users(&own, &rooms(&["user(b)"])), ["b"]);
    }
}
