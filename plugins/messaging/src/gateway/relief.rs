//! Keeps the memory of all write queues below its limit, at the cost of the slowest clients.

use super::clients::Clients;
use crate::connection::Connection;
use crate::metrics as names;
use metrics::counter;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Time for a closed connection to release its queue. Longer only if the machine is overloaded.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two looks at it.
const RELEASE_PAUSE: Duration = Duration::from_millis(10);

/// While the queues take too much memory, closes the connection with the longest queue, and then the next.
pub(super) async fn relieve(clients: Arc<Clients>) -> Infallible {
    loop {
        clients.queue_memory.exceeded().await;
        if let Some(slowest) = clients.slowest() {
            counter!(names::EVICTED).increment(1);
            slowest.abort_slow();
            let released = async {
                while !slowest.is_ended() {
                    sleep(RELEASE_PAUSE).await;
                }
            };
            let _ = timeout(RELEASE_TIMEOUT, released).await;
        }
        sleep(RELEASE_PAUSE).await;
    }
}

impl Clients {
    /// The connection with the longest queue. `None` if all queues are empty.
    fn slowest(&self) -> Option<Arc<Connection>> {
        let mut slowest = (0, None);
        for namespace in self.namespaces.all() {
            for session in namespace.rooms.read().all() {
                let queued = session.connection().queued_bytes();
                if queued > slowest.0 && !session.connection().is_slow() {
                    slowest = (queued, Some(session.connection().clone()));
                }
            }
        }
        slowest.1
    }
}
