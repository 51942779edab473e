//! What waits to be published: in order, and no more than so much.

use super::reach::NotReached;
use crate::redis::{Publication, Redis};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// So many bytes may wait.
const ROOM: usize = 64 << 20;
/// What the smallest publication counts as.
const LEAST: usize = 512;
/// So many are published at once.
const BATCH: usize = 256;

/// What waits to be published.
pub(super) struct PublishQueue {
    room: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<Waiting>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Waiting>>>,
}

struct Waiting {
    publication: Publication,
    outcome: oneshot::Sender<Result<(), NotReached>>,
    _room: OwnedSemaphorePermit,
}

/// A publication under way. It goes on when this is dropped.
pub(crate) struct Published(oneshot::Receiver<Result<(), NotReached>>);

impl Default for PublishQueue {
    fn default() -> Self {
        // Bounded by the bytes of what is in it.
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { room: Arc::new(Semaphore::new(ROOM)), sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl PublishQueue {
    /// Lets something be published.
    pub(super) fn put(&self, publication: Publication) -> Result<Published, NotReached> {
        let size = u32::try_from(publication.body.len().clamp(LEAST, ROOM)).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(size).map_err(|_| NotReached::Full)?;
        let (outcome, published) = oneshot::channel();
        let _ = self.sender.send(Waiting { publication, outcome, _room: room });
        Ok(Published(published))
    }

    /// Waits until nothing waits any more.
    pub(super) async fn empty(&self) {
        let all = u32::try_from(ROOM).unwrap_or(u32::MAX);
        drop(self.room.acquire_many(all).await);
    }

    /// Publishes what waits, over one connection after the other.
    pub(super) async fn run(&self, connection: impl Fn() -> Option<Arc<dyn Redis>>) {
        let Some(mut receiver) = self.receiver.lock().take() else { return };
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH).await > 0 {
            let (publications, waiting): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|w| (w.publication, (w.outcome, w._room))).unzip();
            let outcomes = match connection() {
                Some(redis) => redis
                    .publish(&publications)
                    .await
                    .into_iter()
                    .map(|r| r.map_err(|e| NotReached::Refused(e.why)))
                    .collect(),
                None => vec![Err(NotReached::Down("the connection is lost".into())); publications.len()],
            };
            for ((outcome, _room), result) in waiting.into_iter().zip(outcomes) {
                let _ = outcome.send(result);
            }
        }
    }
}

impl Published {
    /// Waits until it is published.
    ///
    /// # Errors
    /// Where it is not, or nobody knows.
    pub(crate) async fn done(self) -> Result<(), NotReached> {
        self.0.await.unwrap_or_else(|_| Err(NotReached::Down("the gateway is closing".into())))
    }
}
