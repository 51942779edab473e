//! Disconnects the sockets whose tokens expire or are revoked while they are connected.

use super::authentication::Attempt;
use super::clients::{Clients, Socket};
use super::expiries::Due;
use crate::auth::{AcceptedToken, Refused, Rejection};
use crate::connection::CLOSE_GRACE_PERIOD;
use crate::namespace::{Namespace, Session};
use serde::Serialize;
use socketioxide::SocketIo;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::task::yield_now;
use tokio::time::sleep;

/// Sockets that are handled before yielding to other tasks.
const SOCKETS_PER_TURN: usize = 64;
/// Sockets that are compared with revocations before yielding to other tasks.
const COMPARISONS_PER_TURN: usize = 1024;

/// Watches the tokens of connected clients.
#[derive(Clone)]
pub(crate) struct TokenWatch {
    clients: Arc<Clients>,
    io: SocketIo<Namespace>,
}

/// The argument of the event `token_expiring`.
#[derive(Serialize)]
struct Expiring {
    /// When the client will be disconnected, in seconds since 1970.
    exp: u64,
}

impl TokenWatch {
    pub(crate) fn new(clients: Arc<Clients>, io: SocketIo<Namespace>) -> Self {
        Self { clients, io }
    }

    /// Runs until dropped.
    pub(super) async fn run(self) {
        tokio::join!(self.end_expired(), self.end_revoked());
    }

    async fn end_expired(&self) {
        loop {
            let now = UNIX_EPOCH.elapsed().unwrap_or_default();
            self.handle_due(now.as_secs()).await;
            // Until the next second begins.
            sleep(Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into())).await;
        }
    }

    async fn handle_due(&self, now: u64) {
        loop {
            let due = self.clients.expiries.take_due(now, SOCKETS_PER_TURN);
            if due.is_empty() {
                return;
            }
            for (due, session) in due {
                match due {
                    Due::Warning => self.warn(&session),
                    Due::End => {
                        self.end(&session, &Rejection::EXPIRED, |_, token| token.ends.is_some_and(|end| end <= now))
                    }
                }
            }
            yield_now().await;
        }
    }

    async fn end_revoked(&self) {
        let mut changes = self.clients.revocations.changes();
        // Those from before this task began have not been compared either.
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            let revoked = self.clients.revocations.take_changed();
            for namespace in self.clients.namespaces.all() {
                let sessions = namespace.rooms.read().all();
                for turn in sessions.chunks(COMPARISONS_PER_TURN) {
                    let holds =
                        |session: &&Arc<Session>| session.user().holds(|user, token| revoked.cover(user, token));
                    for ended in turn.iter().filter(holds).collect::<Vec<_>>().chunks(SOCKETS_PER_TURN) {
                        ended.iter().for_each(|session| {
                            self.end(session, &Rejection::REVOKED, |user, token| revoked.cover(user, token));
                        });
                        yield_now().await;
                    }
                    yield_now().await;
                }
            }
        }
    }

    fn warn(&self, session: &Arc<Session>) {
        let Some((socket, exp)) = self.socket(session).zip(session.user().token_ends()) else { return };
        let _ = socket.emit("token_expiring", &Expiring { exp });
        session.sent_unmarked();
    }

    fn end(&self, session: &Arc<Session>, why: &Rejection, over: impl FnOnce(&str, &AcceptedToken) -> bool) {
        if let Some(socket) = self.socket(session) {
            self.clients.end(&socket, session, why, over);
        }
    }

    /// `None` if the socket has just been disconnected.
    fn socket(&self, session: &Session) -> Option<Socket> {
        self.io.of(&*session.namespace)?.get_socket(session.sid)
    }
}

impl Clients {
    /// Disconnects an authenticated socket if `over` is true of its user and token. Also closes the connection, unless
    /// another socket on it is authenticated.
    pub(super) fn end(
        &self,
        socket: &Socket,
        session: &Arc<Session>,
        why: &Rejection,
        over: impl FnOnce(&str, &AcceptedToken) -> bool,
    ) {
        let reason = if why.kind == Refused::Expired { "token expired" } else { "token revoked" };
        let ended = self.namespaces.get(socket.ns()).is_some_and(|namespace| namespace.close_if(session, reason, over));
        if !ended {
            return;
        }
        self.forget_expiry(session);
        self.record_attempt(
            Some(session.connection_seq),
            &Attempt::ended(why, session.user().name().as_deref()),
            socket,
        );
        // With a callback, as when a token is refused: clients call it. It does not matter whether they do.
        drop(socket.timeout(CLOSE_GRACE_PERIOD).emit_with_ack::<_, ()>("unauthorized", &why.payload()));
        session.sent_unmarked();
        let connection = session.connection().clone();
        if socket.clone().disconnect().is_err() {
            return connection.abort();
        }
        tokio::spawn(async move {
            // Later, so that the client receives the disconnection: otherwise it would reconnect.
            sleep(CLOSE_GRACE_PERIOD).await;
            if connection.is_unauthenticated() {
                connection.close();
            }
        });
    }

    /// The token of a socket no longer expires: the socket has closed, or is about to get another token.
    pub(super) fn forget_expiry(&self, session: &Arc<Session>) {
        if let Some(ends) = session.user().token_ends() {
            self.expiries.remove(session, ends);
        }
    }
}
