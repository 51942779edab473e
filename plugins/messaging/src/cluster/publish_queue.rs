//! The queue of publications: ordered, and limited in bytes.

use super::reach::NotReached;
use crate::redis::{Publication, Redis};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Maximum total size of queued publications.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Smaller publications count as this size.
const PUBLICATION_BYTES_MIN: usize = 512;
/// Maximum number of publications that are published together.
const BATCH_LEN_MAX: usize = 256;

/// The queue of publications.
pub(super) struct PublishQueue {
    capacity: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<Waiting>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Waiting>>>,
}

struct Waiting {
    publication: Publication,
    outcome: oneshot::Sender<Result<(), NotReached>>,
    _capacity: OwnedSemaphorePermit,
}

/// A queued publication. Dropping this does not cancel it.
pub(crate) struct Published(oneshot::Receiver<Result<(), NotReached>>);

impl Default for PublishQueue {
    fn default() -> Self {
        // Limited by `capacity`.
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { capacity: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)), sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl PublishQueue {
    /// Queues a publication.
    pub(super) fn put(&self, publication: Publication) -> Result<Published, NotReached> {
        let size =
            u32::try_from(publication.body.len().clamp(PUBLICATION_BYTES_MIN, QUEUE_BYTES_MAX)).unwrap_or(u32::MAX);
        let capacity = self.capacity.clone().try_acquire_many_owned(size).map_err(|_| NotReached::Full)?;
        let (outcome, published) = oneshot::channel();
        let _ = self.sender.send(Waiting { publication, outcome, _capacity: capacity });
        Ok(Published(published))
    }

    /// Waits until the queue is empty.
    pub(super) async fn empty(&self) {
        let all = u32::try_from(QUEUE_BYTES_MAX).unwrap_or(u32::MAX);
        drop(self.capacity.acquire_many(all).await);
    }

    /// Publishes the queue over the current connection, which may change.
    pub(super) async fn run(&self, connection: impl Fn() -> Option<Arc<dyn Redis>>) {
        let Some(mut receiver) = self.receiver.lock().take() else { return };
        let mut batch = Vec::with_capacity(BATCH_LEN_MAX);
        while receiver.recv_many(&mut batch, BATCH_LEN_MAX).await > 0 {
            let (publications, waiting): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|w| (w.publication, (w.outcome, w._capacity))).unzip();
            let outcomes = match connection() {
                Some(redis) => redis
                    .publish(&publications)
                    .await
                    .into_iter()
                    .map(|r| r.map_err(|e| NotReached::Refused(e.why)))
                    .collect(),
                None => vec![Err(NotReached::Down("the connection is lost".into())); publications.len()],
            };
            for ((outcome, _capacity), result) in waiting.into_iter().zip(outcomes) {
                let _ = outcome.send(result);
            }
        }
    }
}

impl Published {
    /// Waits until the message is published.
    ///
    /// # Errors
    /// If it is not published, or that is unknown.
    pub(crate) async fn done(self) -> Result<(), NotReached> {
        self.0.await.unwrap_or_else(|_| Err(NotReached::Down("the gateway is closing".into())))
    }
}
