//! The state that publishers, consumers and the writer thread share.

use super::clock::Clock;
use super::gap::{Gap, Reason};
use super::queue::{Phase, Queue, Rejected};
use super::shares::Clients;
use super::topic::Topic;
use crate::log::{Log, Lost};
use greyhound_sdk::Health;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// The shared state of the bus.
pub(super) struct Core {
    pub(super) log: Arc<dyn Log>,
    pub(super) topics: Vec<Arc<Topic>>,
    pub(super) clock: Clock,
    pub(super) health: Health,
    pub(super) clients: Clients,
    queue: Mutex<Queue>,
    /// Wakes the writer thread.
    wake: Condvar,
    room: Notify,
    ended: watch::Sender<Option<End>>,
}

/// How the writer thread ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything is durable and the log is closed.
    Clean,
    /// The log did not accept the remaining rows in time; they are recorded as gaps.
    GaveUp(Arc<str>),
    /// The log has failed; an operator must act.
    Failed(Arc<str>),
    /// The bus was dropped without being closed.
    Abandoned,
}

impl Core {
    pub(super) fn new(log: Arc<dyn Log>, topics: Vec<Arc<Topic>>, queue: Queue, clock: Clock, health: Health) -> Self {
        let (wake, room, ended) = (Condvar::new(), Notify::new(), watch::channel(None).0);
        Self { log, topics, clock, health, clients: Clients::default(), queue: Mutex::new(queue), wake, room, ended }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Lets `push` add rows to the queue, and wakes the writer thread if it needs to act.
    pub(super) fn publish<T>(&self, push: impl FnOnce(&mut Queue) -> Result<T, Rejected>) -> Result<T, Rejected> {
        let mut queue = self.queue.lock();
        let (was_empty, was_large) = (queue.is_empty(), queue.is_large());
        let result = push(&mut queue);
        let wake = (was_empty && !queue.is_empty()) || (!was_large && queue.is_large());
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        result
    }

    pub(super) fn record(&self, gaps: impl IntoIterator<Item = Gap>) {
        let mut queue = self.queue.lock();
        gaps.into_iter().for_each(|gap| queue.record(&gap));
        drop(queue);
        self.wake.notify_one();
    }

    /// Records rows that the log lost as gaps.
    pub(super) fn record_lost(&self, lost: &[Lost], reason: Reason) {
        for lost in lost {
            let rows = lost.range.map_or(0, |(first, last)| last - first + 1);
            super::metrics::shed(lost.topic.as_deref().unwrap_or("?"), reason.as_str(), rows);
            tracing::warn!(%lost, reason = reason.as_str(), "rows are missing in the log");
        }
        self.record(lost.iter().map(|lost| Gap::of_lost(lost, reason)));
    }

    /// Asks the writer thread not to linger over row `seq`.
    pub(super) fn expedite(&self, topic: usize, seq: u64) {
        let mut queue = self.queue.lock();
        if queue.holds(topic, seq) && !std::mem::replace(&mut queue.urgent, true) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Waits until the queue has room.
    pub(super) async fn wait_for_room(&self) {
        loop {
            let released = self.room.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.queue.lock().has_room() {
                return;
            }
            released.await;
        }
    }

    /// Releases the memory of rows that were taken from the queue. Returns the bytes that are left.
    pub(super) fn release(&self, bytes: usize, row_bytes: &[Option<usize>]) -> usize {
        let mut queue = self.queue.lock();
        queue.release(bytes, row_bytes);
        let left = queue.bytes();
        drop(queue);
        self.room.notify_waiters();
        left
    }

    /// Blocks the writer thread until it is woken or until `until`. Returns `false` if the time is up.
    pub(super) fn sleep(&self, queue: &mut MutexGuard<'_, Queue>, until: Instant) -> bool {
        !self.wake.wait_until(queue, until).timed_out()
    }

    /// Moves the bus to another phase, unless it has ended.
    pub(super) fn enter(&self, phase: Phase) {
        let mut queue = self.queue.lock();
        if !matches!(queue.phase, Phase::Ended) {
            queue.phase = phase;
        }
        drop(queue);
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// The writer thread has ended: no further row becomes durable.
    pub(super) fn end(&self, end: End) {
        self.queue.lock().phase = Phase::Ended;
        let why: Arc<str> = match &end {
            End::Clean | End::Abandoned => "the bus is closed".into(),
            End::GaveUp(why) | End::Failed(why) => why.clone(),
        };
        self.topics.iter().for_each(|topic| topic.stop(&why));
        self.room.notify_waiters();
        self.ended.send_replace(Some(end));
    }

    /// Returns a receiver of the writer thread's end.
    pub(super) fn ended(&self) -> watch::Receiver<Option<End>> {
        self.ended.subscribe()
    }
}
