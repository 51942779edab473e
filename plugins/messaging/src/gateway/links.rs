//! All TCP connections of clients together.

use super::link::Link;
use parking_lot::Mutex;
use socketioxide::socket::Sid;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// A writer writes to so many clients before others get their turn.
const AT_ONCE: usize = 64;

/// What the connections of clients have in common.
pub(crate) struct Links {
    /// So many packets may wait for one client.
    pub(super) buffer: usize,
    /// A client that takes nothing for so long is closed.
    pub(super) write_timeout: Duration,
    /// To these something is to be written, in this order; none when the writers have stopped.
    due: Mutex<Option<VecDeque<Arc<Link>>>>,
    awake: Notify,
    /// Of sessions that were upgraded from polling: the connection of the WebSocket.
    upgraded: Mutex<HashMap<Sid, Arc<Link>>>,
}

impl Links {
    pub(crate) fn new(buffer: usize, write_timeout: Duration) -> Self {
        Self { buffer, write_timeout, due: Mutex::new(Some(VecDeque::new())), awake: Notify::new(), upgraded: Mutex::default() }
    }

    /// Lets the writers write what waits for these.
    pub(crate) fn write_to(&self, due: Vec<Arc<Link>>) {
        if due.is_empty() {
            return;
        }
        if let Some(all) = &mut *self.due.lock() {
            all.extend(due);
        }
        self.awake.notify_one();
    }

    /// Stops the writers; what waits is written as far as clients take it.
    pub(super) fn stop(&self) {
        let rest = self.due.lock().take();
        rest.into_iter().flatten().for_each(|link| link.write());
    }

    /// Writes to clients what waits for them. Until a client has its turn, what is sent to it joins: it is written by one
    /// call. Runs for ever, as often as there are threads.
    pub(crate) async fn write(&self) {
        let mut turn = Vec::with_capacity(AT_ONCE);
        loop {
            let more = {
                let mut due = self.due.lock();
                let Some(due) = &mut *due else { return };
                let count = due.len().min(AT_ONCE);
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
            turn.drain(..).for_each(|link| link.write());
            yield_now().await;
        }
    }

    /// A polling session goes on over `link`.
    pub(super) fn upgrade(self: &Arc<Self>, sid: Sid, link: &Arc<Link>) {
        // The library refuses a second one.
        let first = self.upgraded.lock().entry(sid).or_insert_with(|| link.clone()).clone();
        if Arc::ptr_eq(&first, link) {
            let all = self.clone();
            link.at_end(move || drop(all.upgraded.lock().remove(&sid)));
        }
    }

    /// The WebSocket connection of a session that was upgraded.
    pub(super) fn upgraded(&self, sid: Sid) -> Option<Arc<Link>> {
        self.upgraded.lock().get(&sid).cloned()
    }
}
