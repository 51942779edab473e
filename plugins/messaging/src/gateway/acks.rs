//! Acknowledges a client's events: in their order, and no faster than the client reads.

use crate::namespace::{AckAfter, SendAck, Session};
use crate::rows::Topics;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Maximum number of a client's events that wait for their acknowledgements. A client with more is disconnected.
const PENDING_ACKS_MAX: usize = 1 << 16;
/// One commit may release thousands of acks. After this many there is a pause in which the client can read them, because
/// they share its buffer (`plugins.messaging.buffer`) with messages.
const ACKS_PER_BURST: usize = 128;
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// No arguments; `()` would be one argument, `null`.
pub(super) const NO_ARGUMENTS: [u8; 0] = [];

/// Sends an acknowledgement after the client's earlier ones, and after what it waits for. Must be called in the order of
/// the client's events.
pub(super) fn enqueue(session: &Arc<Session>, after: AckAfter, send: SendAck, topics: &Arc<Topics>) {
    let queue = session.acks.get_or_init(|| {
        let (queue, waiting) = mpsc::channel(PENDING_ACKS_MAX);
        tokio::spawn(send_all(waiting, Arc::downgrade(session), topics.clone()));
        queue
    });
    if queue.try_send((after, send)).is_err() {
        session.set_close_reason("overload");
        session.connection().abort();
    }
}

/// Sends the acks of a session's queue until the session ends.
async fn send_all(mut waiting: mpsc::Receiver<(AckAfter, SendAck)>, session: Weak<Session>, topics: Arc<Topics>) {
    let mut burst = 0;
    while let Some((after, send)) = waiting.recv().await {
        match after {
            // A lost row is recorded as a gap, and the push is not acknowledged.
            AckAfter::Durable(seq) if topics.push.durable(seq).await.is_err() => continue,
            AckAfter::Durable(_) => {}
            AckAfter::Done(done) => done.await,
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
