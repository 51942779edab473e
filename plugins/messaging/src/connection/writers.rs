//! The tasks that write to clients.

use super::core::Connection;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// A writer writes to this many clients before it yields to other tasks.
const CONNECTIONS_PER_TURN: usize = 64;

/// The writers take turns with the connections whose queues are not empty.
pub(crate) struct Writers {
    /// The connections to write to, in this order. `None` once the writers have stopped.
    due: Mutex<Option<VecDeque<Arc<Connection>>>>,
    awake: Notify,
}

impl Default for Writers {
    fn default() -> Self {
        Self { due: Mutex::new(Some(VecDeque::new())), awake: Notify::new() }
    }
}

impl Writers {
    /// Schedules the queues of these connections to be written.
    pub(crate) fn write_to(&self, due: Vec<Arc<Connection>>) {
        if due.is_empty() {
            return;
        }
        if let Some(all) = &mut *self.due.lock() {
            all.extend(due);
        }
        self.awake.notify_one();
    }

    /// Stops the writers. Scheduled queues are written as far as the clients' sockets accept.
    pub(crate) fn stop(&self) {
        let rest = self.due.lock().take();
        rest.into_iter().flatten().for_each(|connection| connection.write());
    }

    /// Writes scheduled queues until [`Writers::stop`]. Frames that are queued before a client's turn are written with
    /// one call. Run it once per thread.
    pub(crate) async fn write(&self) {
        let mut turn = Vec::with_capacity(CONNECTIONS_PER_TURN);
        loop {
            let more = {
                let mut due = self.due.lock();
                let Some(due) = &mut *due else { return };
                let count = due.len().min(CONNECTIONS_PER_TURN);
                turn.extend(due.drain(..count));
                !due.is_empty()
            };
            if turn.is_empty() {
                self.awake.notified().await;
                continue;
            }
            if more {
                self.awake.notify_one();
            }
            turn.drain(..).for_each(|connection| connection.write());
            yield_now().await;
        }
    }
}
