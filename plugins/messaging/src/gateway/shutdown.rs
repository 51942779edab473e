//! The end of the gateway: every client is let go.

use super::clients::Clients;
use crate::connection::FAREWELL;
use crate::namespace::Session;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Closes the connections of whoever is left when the gateway ends, also by a panic: they come back by themselves.
pub(super) struct LeaveNobody(Arc<Clients>);

impl LeaveNobody {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self(clients)
    }
}

impl Drop for LeaveNobody {
    fn drop(&mut self) {
        self.0.close_all();
    }
}

/// Lets every client go, and returns when all are gone or the deadline has come.
pub(super) async fn finish(clients: &Clients, deadline: Instant) {
    // Again and again: some may have been about to connect.
    let gone = async || {
        clients.let_all_go();
        while clients.any_open() {
            sleep(Duration::from_millis(10)).await;
            clients.let_all_go();
        }
    };
    if timeout_at(deadline.min(Instant::now() + FAREWELL), gone()).await.is_ok() {
        return;
    }
    // They do not take what is sent to them.
    clients.close_all();
    if timeout_at(deadline, gone()).await.is_err() {
        tracing::warn!("some clients did not go in time");
    }
}

impl Clients {
    /// Lets every client go, because the server stops: its connection is closed, not its socket, so that it comes back
    /// by itself when the server does, or to another node.
    pub(crate) fn let_all_go(&self) {
        self.stopping.store(true, SeqCst);
        self.each_session(|session| {
            session.set_close_reason("server shutting down");
            session.connection().close();
        });
    }

    /// Closes the connections of those who are still open.
    pub(crate) fn close_all(&self) {
        self.each_session(|session| session.connection().abort());
    }

    /// Whether any socket is open.
    pub(crate) fn any_open(&self) -> bool {
        self.open.load(Relaxed) > 0
    }

    pub(super) fn each_session(&self, what: impl Fn(&Session)) {
        for namespace in self.namespaces.all() {
            namespace.rooms.read().all().iter().for_each(|session| what(session));
        }
    }
}
