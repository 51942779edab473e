//! The shutdown of the gateway: closes all connections.

use super::clients::Clients;
use crate::connection::CLOSE_GRACE_PERIOD;
use crate::namespace::Session;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Closes the remaining connections when the gateway ends, even by a panic, so that the clients reconnect.
pub(super) struct CloseAllOnDrop(Arc<Clients>);

impl CloseAllOnDrop {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self(clients)
    }
}

impl Drop for CloseAllOnDrop {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}

/// Closes all connections, and returns when they are gone or at the deadline.
pub(super) async fn finish(clients: &Clients, deadline: Instant) {
    // Repeatedly, because some clients may have been about to connect.
    let gone = async || {
        clients.close_all();
        while clients.any_open() {
            sleep(Duration::from_millis(10)).await;
            clients.close_all();
        }
    };
    if timeout_at(deadline.min(Instant::now() + CLOSE_GRACE_PERIOD), gone()).await.is_ok() {
        return;
    }
    // The remaining clients do not read.
    clients.abort_all();
    if timeout_at(deadline, gone()).await.is_err() {
        tracing::warn!("some connections did not close in time");
    }
}

impl Clients {
    /// Closes all connections once their queues are written. Sockets are not disconnected, so that the clients reconnect
    /// by themselves, to this server after its restart or to another node.
    fn close_all(&self) {
        self.stopping.store(true, SeqCst);
        self.each_session(|session| {
            session.set_close_reason("server shutting down");
            session.connection().close();
        });
    }

    /// Closes all connections at once.
    fn abort_all(&self) {
        self.each_session(|session| session.connection().abort());
    }

    fn any_open(&self) -> bool {
        self.open.load(Relaxed) > 0
    }

    fn each_session(&self, what: impl Fn(&Session)) {
        for namespace in self.namespaces.all() {
            namespace.rooms.read().all().iter().for_each(|session| what(session));
        }
    }
}
