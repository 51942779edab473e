//! The tasks that write to clients.

use super::core::Connection;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// A writer writes to this many clients before other tasks get their turn.
const CONNECTIONS_PER_TURN: usize = 64;

/// The writers: they take the connections for which something waits in turn.
pub(crate) struct Writers {
    /// To these something is to be written, in this order; none when the writers have stopped.
    due: Mutex<Option<VecDeque<Arc<Connection>>>>,
    awake: Notify,
}

impl Default for Writers {
    fn default() -> Self {
        Self { due: Mutex::new(Some(VecDeque::new())), awake: Notify::new() }
    }
}

impl Writers {
    /// Lets the writers write what waits for these.
    pub(crate) fn write_to(&self, due: Vec<Arc<Connection>>) {
        if due.is_empty() {
            return;
        }
        if let Some(all) = &mut *self.due.lock() {
            all.extend(due);
        }
        self.awake.notify_one();
    }

    /// Stops the writers; what waits is written as far as clients take it.
    pub(crate) fn stop(&self) {
        let rest = self.due.lock().take();
        rest.into_iter().flatten().for_each(|connection| connection.write());
    }

    /// Writes to clients what waits for them. Until a client has its turn, what is sent to it joins: it is written by
    /// one call. Runs for ever, as often as there are threads.
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
