//! Acknowledges a client's pushes once they are durable: in order, and no faster than the client reads.

use crate::namespace::{Namespace, SendAck, Session};
use crate::rows::Topics;
use socketioxide::extract::AckSender;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Maximum number of a client's pushes that wait for the disk. A client with more is disconnected.
const PENDING_PUSHES_MAX: usize = 1 << 16;
/// One commit may release thousands of acks. After this many there is a pause in which the client can read them, because
/// they share its buffer (`plugins.messaging.buffer`) with messages.
const ACKS_PER_BURST: usize = 128;
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// No arguments; `()` would be one argument, `null`.
pub(super) const NO_ARGUMENTS: [u8; 0] = [];

/// [`PENDING_PUSHES_MAX`] is reached.
pub(super) struct TooMany;

/// Sends `ack` once the push in row `seq` is durable. Must be called in the order of the pushes.
pub(super) fn enqueue(
    session: &Arc<Session>,
    seq: u64,
    ack: AckSender<Namespace>,
    topics: &Arc<Topics>,
) -> Result<(), TooMany> {
    let queue = session.push_acks.get_or_init(|| {
        let (queue, waiting) = mpsc::channel(PENDING_PUSHES_MAX);
        tokio::spawn(send(waiting, Arc::downgrade(session), topics.clone()));
        queue
    });
    let send: SendAck = Box::new(move || ack.send(&NO_ARGUMENTS).is_ok());
    queue.try_send((seq, send)).map_err(|_| TooMany)
}

/// Sends the acks of a session's queue until the session ends.
async fn send(mut waiting: mpsc::Receiver<(u64, SendAck)>, session: Weak<Session>, topics: Arc<Topics>) {
    let mut burst = 0;
    while let Some((seq, send)) = waiting.recv().await {
        // A lost row is recorded as a gap, and the push is not acknowledged.
        if topics.push.durable(seq).await.is_err() {
            continue;
        }
        burst += 1;
        if burst % ACKS_PER_BURST == 0 {
            sleep(BURST_PAUSE).await;
            while session.upgrade().is_some_and(|s| s.connection().is_behind() && !s.is_closed()) {
                sleep(BURST_PAUSE).await;
            }
        }
        if !send()
            && let Some(session) = session.upgrade()
        {
            // Closes the connection, because the client would wait in vain for its ack.
            session.connection().abort_slow();
        }
    }
}
