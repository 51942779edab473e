//! Acknowledges a client's pushes once they are durable: in its order, and no faster than it reads.

use crate::namespace::{Namespace, SendAck, Session};
use crate::rows::Topics;
use socketioxide::extract::AckSender;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The most pushes of one client that may wait for the disk. One that pushes more at once is disconnected.
const WAITING_MAX: usize = 1 << 16;
/// One group of rows may release thousands of acks. After this many the client gets a moment to take them: its buffer
/// (`plugins.messaging.buffer`) is for messages as well.
const BURST: usize = 128;
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// An empty tuple of arguments; `()` would be one argument, `null`.
pub(super) const NO_ARGUMENTS: [u8; 0] = [];

/// The client pushes faster than the disk takes it.
pub(super) struct TooMany;

/// Has `ack` sent when row `seq` of the pushes is durable. To be called in the order of the pushes.
pub(super) fn expect(
    session: &Arc<Session>,
    seq: u64,
    ack: AckSender<Namespace>,
    topics: &Arc<Topics>,
) -> Result<(), TooMany> {
    let queue = session.push_acks.get_or_init(|| {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(send(waiting, Arc::downgrade(session), topics.clone()));
        queue
    });
    let send: SendAck = Box::new(move || ack.send(&NO_ARGUMENTS).is_ok());
    queue.try_send((seq, send)).map_err(|_| TooMany)
}

/// Ends with the session, whose queue it serves.
async fn send(mut waiting: mpsc::Receiver<(u64, SendAck)>, session: Weak<Session>, topics: Arc<Topics>) {
    let mut burst = 0;
    while let Some((seq, send)) = waiting.recv().await {
        // If the row was lost, a gap says so, and there is no ack.
        if topics.push.durable(seq).await.is_err() {
            continue;
        }
        burst += 1;
        if burst % BURST == 0 {
            sleep(BURST_PAUSE).await;
            while session.upgrade().is_some_and(|s| s.connection().is_behind() && !s.is_closed()) {
                sleep(BURST_PAUSE).await;
            }
        }
        if !send()
            && let Some(session) = session.upgrade()
        {
            // Better closed than waiting for an ack that never comes.
            session.connection().too_slow();
        }
    }
}
