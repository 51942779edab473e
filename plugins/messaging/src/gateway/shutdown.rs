//! The shutdown of the gateway: lets the clients go, so that they reconnect to this server after its restart or to
//! another node.

use super::clients::Clients;
use crate::connection::CLOSE_GRACE_PERIOD;
use crate::namespace::Session;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;
use tokio::time::{Instant, interval, sleep, timeout_at};

/// How often some clients are let go.
const LET_GO_INTERVAL: Duration = Duration::from_millis(50);
/// Time before the deadline that is left for the clients that do not read.
const LAST_PHASE: Duration = Duration::from_secs(2);

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

/// Closes all connections, evenly over `spread`. Returns when they are gone or at the deadline.
pub(super) async fn finish(clients: &Clients, spread: Duration, deadline: Instant) {
    clients.stopping.store(true, SeqCst);
    let available = deadline.saturating_duration_since(Instant::now() + LAST_PHASE);
    if spread > available {
        tracing::warn!(
            ?spread,
            ?available,
            "plugins.messaging.drain_spread is longer than this plugin's part of host.shutdown_deadline; raise the latter"
        );
    }
    clients.let_go(spread.min(available)).await;
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
    /// Closes the connections of the open sockets evenly over `spread`.
    async fn let_go(&self, spread: Duration) {
        let mut rest = self.sessions().into_iter();
        let (count, start, mut tick) = (rest.len(), Instant::now(), interval(LET_GO_INTERVAL));
        while !spread.is_zero() && rest.len() > 0 {
            tick.tick().await;
            let part = (start.elapsed().as_secs_f64() / spread.as_secs_f64()).min(1.0);
            let (due, gone) = ((count as f64 * part) as usize, count - rest.len());
            rest.by_ref().take(due - gone).for_each(|session| let_go(&session));
        }
    }

    fn close_all(&self) {
        self.sessions().iter().for_each(|session| let_go(session));
    }

    /// Closes all connections at once.
    fn abort_all(&self) {
        self.sessions().iter().for_each(|session| session.connection().abort());
    }

    fn any_open(&self) -> bool {
        self.open.load(Relaxed) > 0
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        self.namespaces.all().iter().flat_map(|namespace| namespace.rooms.read().all()).collect()
    }
}

/// Closes the connection once its queue is written. The socket is not disconnected, so that the client reconnects by
/// itself.
fn let_go(session: &Session) {
    session.set_close_reason("server shutting down");
    session.connection().close();
}
