//! The rooms of one namespace.

use super::{OWN, Roster};
use crate::cluster::Interest;
use crate::gateway::Session;
use socketioxide::socket::Sid;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// How many members a block has at most: what their connections are made of stays in a core's cache while several messages
/// go to them.
const BLOCK: usize = 256;

/// Who is where. Each socket is also a room of its own, by its id.
#[derive(Default)]
pub(crate) struct Rooms {
    namespace: String,
    interest: Arc<Interest>,
    everybody: Room,
    rooms: HashMap<String, Room>,
}

/// Its members are in blocks, each a room of the library's.
#[derive(Default)]
struct Room {
    members: HashMap<Sid, Member>,
    /// How many members each block has.
    blocks: Vec<usize>,
    /// Made when a message needs it, forgotten when somebody comes or goes.
    roster: OnceLock<Arc<Roster>>,
}

struct Member {
    session: Arc<Session>,
    block: usize,
}

impl Rooms {
    pub(super) fn new(namespace: &str, interest: Arc<Interest>) -> Self {
        Self { namespace: namespace.to_owned(), interest, ..Self::default() }
    }

    /// A socket has gone; `rooms` are those that it had joined.
    pub(crate) fn exit(&mut self, sid: Sid, rooms: &[String]) {
        if self.everybody.remove(sid).is_some() {
            self.interest.touch(&self.namespace, sid.as_str());
        }
        self.leave(sid, rooms);
    }

    /// A socket comes into the namespace, if it is not there already, and into `rooms`. Returns its blocks; none where it has
    /// gone: [`Rooms::exit`] comes after its session is closed, so it does not stay behind.
    pub(super) fn join(&mut self, session: &Arc<Session>, rooms: &[String]) -> Option<Vec<String>> {
        if session.is_closed() {
            return None;
        }
        // Forgets the roster also where it was there: its user may be another one from now on.
        if !self.everybody.members.contains_key(&session.sid) {
            self.interest.touch(&self.namespace, session.sid.as_str());
        }
        let mut blocks = vec![block_of_all(self.everybody.add(session.clone()))];
        for room in rooms {
            let entry = self.rooms.entry(room.clone()).or_default();
            if entry.members.is_empty() {
                self.interest.touch(&self.namespace, room);
            }
            blocks.push(block(room, entry.add(session.clone())));
        }
        Some(blocks)
    }

    /// Returns the blocks that it was in.
    pub(super) fn leave(&mut self, sid: Sid, rooms: &[String]) -> Vec<String> {
        let mut blocks = Vec::new();
        for name in rooms {
            let Some(room) = self.rooms.get_mut(name) else { continue };
            blocks.extend(room.remove(sid).map(|number| block(name, number)));
            if room.members.is_empty() {
                self.rooms.remove(name);
                self.interest.touch(&self.namespace, name);
            }
        }
        blocks
    }

    /// How many members `rooms` have, at most; all there are, where there are no rooms.
    pub(crate) fn count(&self, rooms: &[String]) -> usize {
        let of = |room: &String| self.rooms.get(room).map_or(1, |room| room.members.len());
        match rooms {
            [] => self.everybody.members.len(),
            _ => rooms.iter().map(of).sum(),
        }
    }

    /// The blocks of a room.
    pub(super) fn blocks(&self, room: &str) -> impl Iterator<Item = String> {
        self.rooms.get(room).into_iter().flat_map(Room::inhabited).map(move |number| block(room, number))
    }

    /// The blocks of everybody.
    pub(super) fn blocks_of_all(&self) -> impl Iterator<Item = String> {
        self.everybody.inhabited().map(block_of_all)
    }

    /// The members of `rooms` (all, where there are none) but not those of `except`, each once.
    pub(crate) fn roster(&self, rooms: &[String], except: &[String]) -> Arc<Roster> {
        match (rooms, except) {
            ([], []) => self.everybody.roster(),
            ([one], []) => match (self.rooms.get(one), self.socket(one)) {
                (Some(room), None) => room.roster(),
                (None, socket) => Arc::new(Roster::new(socket.into_iter().cloned().collect())),
                (Some(_), Some(_)) => Arc::new(self.collect(rooms, except)),
            },
            _ => Arc::new(self.collect(rooms, except)),
        }
    }

    fn collect(&self, rooms: &[String], except: &[String]) -> Roster {
        let mut members: HashMap<Sid, &Arc<Session>> = HashMap::new();
        let named = rooms.iter().filter_map(|name| self.rooms.get(name));
        let all = rooms.is_empty().then_some(&self.everybody);
        named.chain(all).for_each(|room| members.extend(room.members.iter().map(|(sid, member)| (*sid, &member.session))));
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
        Some(&self.everybody.members.get(&name.parse().ok()?)?.session)
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
    /// Returns the block that it is in.
    fn add(&mut self, session: Arc<Session>) -> usize {
        self.roster.take();
        if let Some(member) = self.members.get_mut(&session.sid) {
            member.session = session;
            return member.block;
        }
        let block = self.blocks.iter().position(|&members| members < BLOCK).unwrap_or_else(|| {
            self.blocks.push(0);
            self.blocks.len() - 1
        });
        self.blocks[block] += 1;
        self.members.insert(session.sid, Member { session, block });
        block
    }

    /// Returns the block that it was in.
    fn remove(&mut self, sid: Sid) -> Option<usize> {
        self.roster.take();
        let Member { block, .. } = self.members.remove(&sid)?;
        self.blocks[block] -= 1;
        Some(block)
    }

    fn inhabited(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().enumerate().filter(|(_, members)| **members > 0).map(|(number, _)| number)
    }

    fn roster(&self) -> Arc<Roster> {
        self.roster.get_or_init(|| Arc::new(Roster::new(self.members.values().map(|member| member.session.clone()).collect()))).clone()
    }
}

/// The library's name of a room's block: no room of its own, which is the id of a socket, has such a name.
fn block(room: &str, number: usize) -> String {
    format!("{OWN}{number} {room}")
}

fn block_of_all(number: usize) -> String {
    format!("{OWN}{number}")
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
            sessions.iter().for_each(|s| assert!(own.join(s, &[]).is_some()));
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

        /// Whoever comes and goes: a block is what the library was told, and none is too large.
        #[test]
        fn every_member_is_in_one_block(steps in prop::collection::vec((0..3 * BLOCK, any::<bool>()), 0..2000)) {
            let sessions: Vec<_> = (0..3 * BLOCK).map(|n| Arc::new(Session::for_tests(n))).collect();
            let (mut own, mut blocks) = (Rooms::default(), HashMap::<String, BTreeSet<usize>>::new());
            let room = ["room".to_owned()];
            for (socket, joins) in steps {
                let session = &sessions[socket];
                let changed = if joins { own.join(session, &room).unwrap().split_off(1) } else { own.leave(session.sid, &room) };
                for name in changed {
                    let block = blocks.entry(name).or_default();
                    if joins { block.insert(socket) } else { block.remove(&socket) };
                }
            }
            prop_assert!(blocks.values().all(|block| block.len() <= BLOCK));
            blocks.retain(|_, block| !block.is_empty());
            prop_assert_eq!(own.blocks(&room[0]).collect::<BTreeSet<_>>(), blocks.keys().cloned().collect());
            let members: Vec<_> = blocks.values().flatten().copied().collect();
            prop_assert_eq!(members.len(), own.count(&room));
            prop_assert_eq!(members.into_iter().collect::<BTreeSet<_>>().len(), own.count(&room));
        }
    }
}
