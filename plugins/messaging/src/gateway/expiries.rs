//! The sockets whose tokens expire, by time.
//!
//! Times are the wall clock's, in seconds, because those in tokens are. The one task that asks for the due sockets does
//! so every second, and thus follows a clock that is set.

use crate::namespace::Session;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The sockets whose tokens expire. An entry takes some 40 bytes.
pub(super) struct Expiries {
    by_time: Mutex<BTreeMap<Key, Weak<Session>>>,
    /// How long before its token expires a client is warned.
    warning: Option<u64>,
}

/// A time, and the address of a session, because several may be due at the same time.
type Key = (u64, usize);

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Warning,
    End,
}

impl Expiries {
    pub(super) fn new(warning: Option<Duration>) -> Self {
        Self { by_time: Mutex::default(), warning: warning.map(|before| before.as_secs()) }
    }

    /// Adds a socket whose token ends at `ends`, unless it has closed.
    pub(super) fn add(&self, session: &Arc<Session>, ends: u64) {
        self.insert(session, self.first(ends));
    }

    /// Removes a socket whose token would have ended at `ends`. Call it after a socket has closed, or before it gets
    /// another token.
    pub(super) fn remove(&self, session: &Arc<Session>, ends: u64) {
        let mut by_time = self.by_time.lock();
        for time in [self.first(ends), ends] {
            by_time.remove(&key(session, time));
        }
    }

    /// Takes up to `max` sockets that are due at `now`. Those that are due for a warning remain until their token ends.
    pub(super) fn take_due(&self, now: u64, max: usize) -> Vec<(Due, Arc<Session>)> {
        let mut due = Vec::new();
        while due.len() < max {
            let Some((time, session)) = self.pop(now) else { break };
            let Some(session) = session.upgrade() else { continue };
            // It may have another token since it was taken.
            match session.user().token_ends() {
                Some(ends) if ends > now && self.first(ends) == time => {
                    self.insert(&session, ends);
                    due.push((Due::Warning, session));
                }
                Some(ends) if ends <= now => due.push((Due::End, session)),
                _ => {}
            }
        }
        due
    }

    fn pop(&self, now: u64) -> Option<(u64, Weak<Session>)> {
        let mut by_time = self.by_time.lock();
        let first = by_time.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((time, _), session) = first.remove_entry();
        Some((time, session))
    }

    fn insert(&self, session: &Arc<Session>, time: u64) {
        let mut by_time = self.by_time.lock();
        // A socket that closes after this is removed after this.
        if !session.is_closed() {
            by_time.insert(key(session, time), Arc::downgrade(session));
        }
    }

    /// The time at which something is due first, for a token that ends at `ends`.
    fn first(&self, ends: u64) -> u64 {
        ends.saturating_sub(self.warning.unwrap_or(0))
    }
}

fn key(session: &Arc<Session>, time: u64) -> Key {
    (time, Arc::as_ptr(session).addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AcceptedToken;

    fn session(number: usize, ends: u64) -> Arc<Session> {
        let token = AcceptedToken { ends: Some(ends), ..AcceptedToken::EMPTY };
        Arc::new(Session::authenticated_for_tests(number, token))
    }

    /// What is due, each with the number of its socket.
    fn due(expiries: &Expiries, now: u64, max: usize) -> Vec<(Due, i64)> {
        let due = expiries.take_due(now, max);
        due.into_iter().map(|(due, session)| (due, session.connection_seq)).collect()
    }

    #[test]
    fn sockets_are_due_in_the_order_of_their_ends_and_once() {
        let expiries = Expiries::new(None);
        let sessions = [30, 10, u64::MAX, 0, 20].map(|ends| session(usize::try_from(ends).unwrap(), ends));
        sessions.iter().for_each(|session| expiries.add(session, session.user().token_ends().unwrap()));
        assert_eq!(due(&expiries, 9, 10), [(Due::End, 0)]);
        assert_eq!(due(&expiries, 9, 10), []);
        // The clock was set: forward, and back.
        assert_eq!(due(&expiries, 1_000, 2), [(Due::End, 10), (Due::End, 20)]);
        assert_eq!(due(&expiries, 5, 10), []);
        assert_eq!(due(&expiries, 1_000, 2), [(Due::End, 30)]);
        assert_eq!(expiries.by_time.lock().len(), 1);
    }

    #[test]
    fn a_warning_comes_before_the_end() {
        let expiries = Expiries::new(Some(Duration::from_secs(30)));
        let [long, short] = [(1, 100), (2, 20)].map(|(number, ends)| session(number, ends));
        expiries.add(&long, 100);
        expiries.add(&short, 20);
        assert_eq!(due(&expiries, 10, 10), [(Due::Warning, 2)]);
        assert_eq!(due(&expiries, 70, 10), [(Due::End, 2), (Due::Warning, 1)]);
        assert_eq!(due(&expiries, 99, 10), []);
        assert_eq!(due(&expiries, 100, 10), [(Due::End, 1)]);
        // One that is late is not warned.
        expiries.add(&long, 100);
        assert_eq!(due(&expiries, 101, 10), [(Due::End, 1)]);
        assert!(expiries.by_time.lock().is_empty());
    }

    #[test]
    fn sockets_that_close_or_get_another_token_are_not_due() {
        let expiries = Expiries::new(Some(Duration::from_secs(30)));
        let [removed, warned, dropped, closed] = [1, 2, 3, 4].map(|number| session(number, 100));
        [&removed, &warned, &dropped].into_iter().for_each(|session| expiries.add(session, 100));
        expiries.remove(&removed, 100);
        drop(dropped);
        assert_eq!(due(&expiries, 70, 10), [(Due::Warning, 2)]);
        expiries.remove(&warned, 100);
        closed.close("over");
        expiries.add(&closed, 100);
        assert_eq!(due(&expiries, 200, 10), []);
        // It has got a token that lives longer, after its entry was made.
        let changed = session(5, 500);
        expiries.add(&changed, 100);
        assert_eq!(due(&expiries, 200, 10), []);
        assert!(expiries.by_time.lock().is_empty());
    }
}
