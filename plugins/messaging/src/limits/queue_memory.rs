//! A limit on the memory of all write queues together.

use crate::metrics as names;
use bytes::Bytes;
use metrics::{Gauge, gauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Notify;

/// Counts the memory of all write queues. Frames that several queues share count once.
pub(crate) struct QueueMemory {
    max: usize,
    used: AtomicUsize,
    gauge: Gauge,
    exceeded: Notify,
}

/// Frames that count until no queue has them any more.
struct CountedFrames {
    frames: Bytes,
    memory: Arc<QueueMemory>,
}

impl QueueMemory {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let gauge = gauge!(names::QUEUE_BYTES);
        Arc::new(Self { max, used: AtomicUsize::new(0), gauge, exceeded: Notify::new() })
    }

    /// Counts `frames` and all their clones.
    pub(crate) fn count(self: &Arc<Self>, frames: Bytes) -> Bytes {
        self.add(frames.len());
        Bytes::from_owner(CountedFrames { frames, memory: self.clone() })
    }

    pub(crate) fn add(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        self.gauge.set(used as f64);
        if used > self.max {
            self.exceeded.notify_one();
        }
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.gauge.set((self.used.fetch_sub(bytes, Relaxed) - bytes) as f64);
    }

    /// Waits until the queues take more memory than they may.
    pub(crate) async fn exceeded(&self) {
        while self.used.load(Relaxed) <= self.max {
            self.exceeded.notified().await;
        }
    }
}

impl AsRef<[u8]> for CountedFrames {
    fn as_ref(&self) -> &[u8] {
        &self.frames
    }
}

impl Drop for CountedFrames {
    fn drop(&mut self) {
        self.memory.subtract(self.frames.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn shared_frames_count_once_until_the_last_is_gone() {
        let memory = QueueMemory::new(10);
        let frames = memory.count(Bytes::from_static(b"0123456"));
        let mut shared = vec![frames.clone(); 100];
        let _part = shared[0].split_to(3);
        drop(frames);
        assert_eq!(memory.used.load(Relaxed), 7);
        assert_eq!(memory.exceeded().now_or_never(), None);
        memory.add(4);
        assert_eq!(memory.exceeded().now_or_never(), Some(()));
        drop(shared);
        assert_eq!(memory.exceeded().now_or_never(), Some(()), "a part is still there");
        drop(_part);
        assert_eq!(memory.used.load(Relaxed), 4);
    }
}
