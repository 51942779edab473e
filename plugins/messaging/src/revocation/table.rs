//! The revocations that this node knows.

use super::subject::{Mark, Revocation, Subject};
use crate::auth::{AcceptedToken, CLOCK_DIFFERENCE_MAX};
use crate::metrics as names;
use crate::rows::{RevocationEvent, RevocationRow, Topics, numbered};
use metrics::gauge;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// How many revocations a node remembers. Each takes about 200 bytes.
const REVOCATIONS_MAX: usize = 100_000;

/// The revocations that this node knows, and those among them that its sockets have not been compared with.
pub(crate) struct Revocations {
    known: RwLock<Known>,
    /// The number of changes so far.
    changes: watch::Sender<u64>,
    /// How long a revocation is remembered. `None`: for ever.
    memory: Option<Duration>,
    topics: Arc<Topics>,
}

#[derive(Default)]
struct Known {
    all: Marks,
    /// Those that have changed since [`Revocations::take_changed`].
    changed: Marks,
}

/// The mark of each subject.
#[derive(Default)]
pub(crate) struct Marks {
    users: HashMap<String, Mark>,
    jtis: HashMap<String, Mark>,
    sids: HashMap<String, Mark>,
    everybody: Option<Mark>,
}

/// A change that was just made.
pub(crate) struct Change {
    pub(crate) revocation: Revocation,
    /// What held before.
    pub(crate) replaced: Option<Revocation>,
    /// The number of the change.
    pub(crate) number: u64,
}

/// No further revocation can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REVOCATIONS_MAX} revocations are the limit: set plugins.messaging.auth.max_token_age to forget old ones")]
pub struct Full;

impl Revocations {
    /// `token_life_max` is how long tokens live at most.
    pub(crate) fn new(token_life_max: Option<Duration>, topics: Arc<Topics>) -> Self {
        // A token may say that it was issued after it is revoked.
        let memory = token_life_max.map(|life| life.saturating_add(CLOCK_DIFFERENCE_MAX));
        Self { known: RwLock::default(), changes: watch::Sender::new(0), memory, topics }
    }

    /// Whether a token of `user` is revoked.
    pub(crate) fn cover(&self, user: &str, token: &AcceptedToken) -> bool {
        self.known.read().all.cover(user, token)
    }

    /// Revokes the tokens of `subject` that were issued before `issued_before`. An earlier revocation of the subject
    /// that covers more tokens continues to cover them.
    pub(crate) fn revoke(&self, subject: Subject, issued_before: u64, source: &str) -> Result<Change, Full> {
        self.change(subject, source, |before| issued_before.max(before.map_or(0, |mark| mark.issued_before)))
    }

    /// Withdraws the revocation of `subject`. `None` if there is none.
    pub(crate) fn withdraw(&self, subject: Subject, source: &str) -> Option<Change> {
        let is_revoked = self.known.read().all.get(&subject).is_some_and(|mark| mark.issued_before > 0);
        // A withdrawal replaces a revocation, so that it needs no room.
        is_revoked.then(|| self.change(subject, source, |_| 0).ok())?
    }

    fn change(
        &self,
        subject: Subject,
        source: &str,
        issued_before: impl Fn(Option<Mark>) -> u64,
    ) -> Result<Change, Full> {
        let mut known = self.known.write();
        self.make_room(&mut known.all);
        let before = known.all.get(&subject);
        // Later than what it replaces, even if the clock of the node that made that is ahead.
        let at = millis(SystemTime::now()).max(before.map_or(0, |mark| mark.at.saturating_add(1)));
        let revocation = Revocation { mark: Mark { at, issued_before: issued_before(before) }, subject };
        if before.is_none() && known.all.len() >= REVOCATIONS_MAX {
            return Err(Full);
        }
        self.put(&mut known, &revocation, source);
        let replaced = before.map(|mark| Revocation { subject: revocation.subject.clone(), mark });
        drop(known);
        self.changes.send_modify(|number| *number += 1);
        Ok(Change { revocation, replaced, number: *self.changes.borrow() })
    }

    /// Adds what other nodes have revoked or withdrawn. What this node knows better is not changed.
    pub(crate) fn learn(&self, revocations: &[Revocation]) -> Result<(), Full> {
        let mut known = self.known.write();
        self.make_room(&mut known.all);
        let (mut learned, mut result) = (false, Ok(()));
        for revocation in revocations.iter().filter(|revocation| !self.is_forgotten(revocation.mark)) {
            match known.all.get(&revocation.subject) {
                Some(mark) if mark >= revocation.mark => continue,
                None if known.all.len() >= REVOCATIONS_MAX => result = Err(Full),
                _ => {
                    self.put(&mut known, revocation, "cluster");
                    learned = true;
                }
            }
        }
        drop(known);
        if learned {
            self.changes.send_modify(|number| *number += 1);
        }
        result
    }

    /// Adds what this node knew before it was restarted.
    pub(crate) fn restore(&self, revocations: Vec<Revocation>) {
        let mut known = self.known.write();
        for Revocation { subject, mark } in revocations.into_iter().take(REVOCATIONS_MAX) {
            known.all.set(subject, mark);
        }
        self.make_room(&mut known.all);
        gauge!(names::REVOCATIONS).set(known.all.len() as f64);
    }

    fn put(&self, known: &mut Known, revocation: &Revocation, source: &str) {
        known.all.set(revocation.subject.clone(), revocation.mark);
        known.changed.set(revocation.subject.clone(), revocation.mark);
        gauge!(names::REVOCATIONS).set(known.all.len() as f64);
        numbered(self.topics.revocation.offer(&row(revocation, source)));
    }

    /// Those that have changed since the last call.
    pub(crate) fn take_changed(&self) -> Marks {
        std::mem::take(&mut self.known.write().changed)
    }

    /// Reports each change by its number.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All, including withdrawals.
    pub(crate) fn all(&self) -> Vec<Revocation> {
        let all: Vec<_> = self.known.read().all.list().collect();
        all.into_iter().filter(|revocation| !self.is_forgotten(revocation.mark)).collect()
    }

    /// What `revocations` lacks, and what it has but no longer holds.
    pub(crate) fn difference(&self, revocations: &[Revocation]) -> (Vec<Revocation>, Vec<Revocation>) {
        let mut theirs = Marks::default();
        for Revocation { subject, mark } in revocations {
            if theirs.get(subject).is_none_or(|other| other < *mark) {
                theirs.set(subject.clone(), *mark);
            }
        }
        let known = self.known.read();
        let is_old = |it: &&Revocation| known.all.get(&it.subject).is_some_and(|mark| mark > it.mark);
        let old = revocations.iter().filter(is_old).cloned().collect();
        let lacks = |it: &Revocation| theirs.get(&it.subject).is_none_or(|mark| mark < it.mark);
        (known.all.list().filter(|it| !self.is_forgotten(it.mark) && lacks(it)).collect(), old)
    }

    /// Revocations from before this time, in milliseconds since 1970, are forgotten: all tokens from before are refused
    /// because of their age.
    pub(crate) fn forgotten_before(&self) -> u64 {
        self.memory.map_or(0, |memory| millis(SystemTime::now().checked_sub(memory).unwrap_or(UNIX_EPOCH)))
    }

    fn is_forgotten(&self, mark: Mark) -> bool {
        mark.at < self.forgotten_before()
    }

    fn make_room(&self, all: &mut Marks) {
        if all.len() >= REVOCATIONS_MAX {
            let before = self.forgotten_before();
            all.retain(|mark| mark.at >= before);
        }
    }
}

impl Marks {
    pub(crate) fn of(subject: Subject, issued_before: u64) -> Self {
        let mut marks = Self::default();
        marks.set(subject, Mark { at: 0, issued_before });
        marks
    }

    /// Whether one of them covers a token of `user`.
    pub(crate) fn cover(&self, user: &str, token: &AcceptedToken) -> bool {
        let marks = [
            self.everybody.as_ref(),
            self.users.get(user),
            token.jti.as_deref().and_then(|jti| self.jtis.get(jti)),
            token.sid.as_deref().and_then(|sid| self.sids.get(sid)),
        ];
        marks.into_iter().flatten().any(|mark| mark.covers(token.issued))
    }

    fn get(&self, subject: &Subject) -> Option<Mark> {
        match subject {
            Subject::User(user) => self.users.get(user).copied(),
            Subject::Jti(jti) => self.jtis.get(jti).copied(),
            Subject::Sid(sid) => self.sids.get(sid).copied(),
            Subject::Everybody => self.everybody,
        }
    }

    fn set(&mut self, subject: Subject, mark: Mark) {
        match subject {
            Subject::User(user) => self.users.insert(user, mark),
            Subject::Jti(jti) => self.jtis.insert(jti, mark),
            Subject::Sid(sid) => self.sids.insert(sid, mark),
            Subject::Everybody => self.everybody.replace(mark),
        };
    }

    fn len(&self) -> usize {
        self.users.len() + self.jtis.len() + self.sids.len() + usize::from(self.everybody.is_some())
    }

    fn list(&self) -> impl Iterator<Item = Revocation> {
        let users = self.users.iter().map(|(user, mark)| (Subject::User(user.clone()), mark));
        let jtis = self.jtis.iter().map(|(jti, mark)| (Subject::Jti(jti.clone()), mark));
        let sids = self.sids.iter().map(|(sid, mark)| (Subject::Sid(sid.clone()), mark));
        let everybody = self.everybody.iter().map(|mark| (Subject::Everybody, mark));
        users.chain(jtis).chain(sids).chain(everybody).map(|(subject, mark)| Revocation { subject, mark: *mark })
    }

    fn retain(&mut self, keep: impl Fn(&Mark) -> bool) {
        [&mut self.users, &mut self.jtis, &mut self.sids].into_iter().for_each(|marks| marks.retain(|_, it| keep(it)));
        self.everybody = self.everybody.filter(keep);
    }
}

fn row<'a>(revocation: &'a Revocation, source: &'a str) -> RevocationRow<'a> {
    let (user_id, jti, sid) = match &revocation.subject {
        Subject::User(user) => (Some(user.as_str()), None, None),
        Subject::Jti(jti) => (None, Some(jti.as_str()), None),
        Subject::Sid(sid) => (None, None, Some(sid.as_str())),
        Subject::Everybody => (None, None, None),
    };
    let withdrawn = revocation.is_withdrawn();
    let micros = |time: u64, unit: u64| i64::try_from(time.saturating_mul(unit)).unwrap_or(i64::MAX);
    RevocationRow {
        event: if withdrawn { RevocationEvent::Withdrawn } else { RevocationEvent::Revoked },
        revoked_at: micros(revocation.mark.at, 1000),
        user_id,
        jti,
        sid,
        issued_before: revocation.issued_before().filter(|_| !withdrawn).map(|time| micros(time, 1_000_000)),
        source,
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn revocations(token_life_max: Option<Duration>) -> Revocations {
        Revocations::new(token_life_max, Arc::new(Topics::for_tests()))
    }

    fn token(issued: Option<u64>, jti: Option<&str>, sid: Option<&str>) -> AcceptedToken {
        AcceptedToken { ends: None, issued, jti: jti.map(Into::into), sid: sid.map(Into::into) }
    }

    fn user(name: &str) -> Subject {
        Subject::User(name.into())
    }

    #[test]
    fn each_subject_covers_its_own_tokens_alone() {
        let (mine, other) = (token(Some(50), Some("j"), Some("s")), token(Some(50), Some("s"), Some("j")));
        for (subject, covers_other) in [
            (user("a"), false),
            (Subject::Jti("j".into()), false),
            (Subject::Sid("s".into()), false),
            (Subject::Everybody, true),
        ] {
            let revocations = revocations(None);
            assert!(!revocations.cover("a", &mine));
            revocations.revoke(subject.clone(), 51, "http").unwrap();
            assert_eq!((revocations.cover("a", &mine), revocations.cover("b", &other)), (true, covers_other));
            assert!(revocations.cover("a", &token(None, Some("j"), Some("s"))), "its age is unknown");
            assert!(!revocations.cover("a", &token(Some(51), Some("j"), Some("s"))), "it is younger");
            revocations.withdraw(subject, "http").unwrap();
            assert!(!revocations.cover("a", &mine));
        }
    }

    #[test]
    fn an_earlier_time_revokes_nothing_less() {
        let revocations = revocations(None);
        revocations.revoke(user("a"), 100, "http").unwrap();
        let change = revocations.revoke(user("a"), 10, "http").unwrap();
        assert_eq!((change.revocation.issued_before(), change.number), (Some(100), 2));
        assert_eq!(change.replaced.unwrap().issued_before(), Some(100));
        // But after a withdrawal, it counts for itself.
        revocations.withdraw(user("a"), "http").unwrap();
        assert!(revocations.withdraw(user("a"), "http").is_none() && revocations.withdraw(user("b"), "http").is_none());
        assert_eq!(revocations.revoke(user("a"), 10, "http").unwrap().revocation.issued_before(), Some(10));
    }

    #[test]
    fn a_later_mark_replaces_one_whose_clock_was_ahead() {
        let (here, there) = (revocations(None), revocations(None));
        let ahead = Revocation { subject: user("a"), mark: Mark { at: u64::MAX - 10, issued_before: 100 } };
        here.learn(std::slice::from_ref(&ahead)).unwrap();
        let withdrawn = here.withdraw(user("a"), "http").unwrap().revocation;
        there.learn(&[withdrawn, ahead]).unwrap();
        assert!(!there.cover("a", &token(Some(1), None, None)));
    }

    #[test]
    fn changed_sockets_are_compared_once_with_what_has_changed() {
        let revocations = revocations(None);
        let changed = revocations.revoke(user("a"), 100, "http").unwrap().revocation;
        assert!(revocations.take_changed().cover("a", &token(Some(1), None, None)));
        revocations.learn(&[changed]).unwrap();
        assert_eq!(revocations.take_changed().len(), 0);
    }

    #[test]
    fn old_revocations_are_forgotten_and_make_room() {
        let revocations = revocations(Some(Duration::from_secs(60)));
        let now = millis(SystemTime::now());
        let too_old = now - 61_000 - u64::try_from(CLOCK_DIFFERENCE_MAX.as_millis()).unwrap();
        let made = |name: &str, at| Revocation { subject: user(name), mark: Mark { at, issued_before: 100 } };
        revocations.learn(&[made("old", too_old), made("new", now - 61_000)]).unwrap();
        assert_eq!(revocations.all(), [made("new", now - 61_000)]);
        let many = (0..REVOCATIONS_MAX).map(|n| made(&n.to_string(), now)).collect();
        revocations.restore(many);
        assert_eq!(revocations.revoke(user("one more"), 1, "http").err(), Some(Full));
        assert_eq!(revocations.learn(&[made("one more", now)]), Err(Full));
        assert!(revocations.revoke(user("new"), 200, "http").is_ok(), "it replaces one");
        revocations.restore((0..REVOCATIONS_MAX).map(|n| made(&n.to_string(), too_old)).collect());
        assert!(revocations.revoke(user("one more"), 1, "http").is_ok());
    }

    fn any_revocation() -> impl Strategy<Value = Revocation> {
        let id = "[ab]";
        let subject = prop_oneof![
            id.prop_map(Subject::User),
            id.prop_map(Subject::Jti),
            id.prop_map(Subject::Sid),
            Just(Subject::Everybody)
        ];
        let mark = (0..4_u64, prop_oneof![0..3_u64, Just(Mark::ALWAYS)]);
        (subject, mark)
            .prop_map(|(subject, (at, issued_before))| Revocation { subject, mark: Mark { at, issued_before } })
    }

    proptest! {
        /// Nodes that have learned the same, in any order and however often, know the same.
        #[test]
        fn nodes_agree(all in prop::collection::vec(any_revocation(), 0..20), seed in any::<usize>()) {
            let [one, other] = [revocations(None), revocations(None)];
            one.learn(&all).unwrap();
            let at = if all.is_empty() { 0 } else { seed % all.len() };
            other.learn(&all[at..]).unwrap();
            other.learn(&all).unwrap();
            // Also if they exchange them as they do over Redis, which has outdated ones as well.
            let (lacking, old) = one.difference(&all);
            prop_assert!(lacking.is_empty());
            prop_assert_eq!(all.iter().filter(|it| !old.contains(it)).all(|it| one.all().contains(it)), true);
            prop_assert_eq!(other.difference(&one.all()), (Vec::new(), Vec::new()));
            prop_assert_eq!(one.difference(&other.all()), (Vec::new(), Vec::new()));
        }

        #[test]
        fn a_revocation_is_read_as_it_was_written(revocation in any_revocation()) {
            let json = serde_json::to_string(&revocation).unwrap();
            prop_assert_eq!(serde_json::from_str::<Revocation>(&json).unwrap(), revocation);
        }
    }
}
