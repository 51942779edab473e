//! Acknowledges a client's pushes once they are durable: in its order, and no faster than it reads.

use super::session::Session;
use crate::fanout::Fanout;
use crate::rows::Topics;
use socketioxide::extract::AckSender;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// So many pushes of one client may wait for the disk. One that pushes more at once is disconnected.
const MOST_WAITING: usize = 1 << 16;
/// One group of rows may release thousands of acks. After so many the client gets a moment to take them: its buffer
/// (`plugins.messaging.buffer`) is for messages as well.
const BURST: usize = 128;
const MOMENT: Duration = Duration::from_millis(1);

/// An empty tuple of arguments; `()` would be one argument, `null`.
pub(super) const NO_ARGUMENTS: [u8; 0] = [];

/// The acks that one client waits for.
#[derive(Default)]
pub(super) struct Acks(OnceLock<mpsc::Sender<Waiting>>);

/// Push `seq` is to be acknowledged.
type Waiting = (u64, AckSender<Fanout>);

/// The client pushes faster than the disk takes it.
pub(super) struct TooMany;

impl Acks {
    /// Lets `ack` be sent when row `seq` of the pushes is durable. To be called in the order of the pushes.
    pub(super) fn expect(
        &self,
        seq: u64,
        ack: AckSender<Fanout>,
        session: &Arc<Session>,
        topics: &Arc<Topics>,
    ) -> Result<(), TooMany> {
        let queue = self.0.get_or_init(|| {
            let (queue, waiting) = mpsc::channel(MOST_WAITING);
            tokio::spawn(send(waiting, Arc::downgrade(session), topics.clone()));
            queue
        });
        queue.try_send((seq, ack)).map_err(|_| TooMany)
    }
}

/// Ends with the session, whose queue it serves.
async fn send(mut waiting: mpsc::Receiver<Waiting>, session: Weak<Session>, topics: Arc<Topics>) {
    let mut burst = 0;
    while let Some((seq, ack)) = waiting.recv().await {
        // Where the row was lost, a gap says so, and there is no ack.
        if topics.push.durable(seq).await.is_err() {
            continue;
        }
        burst += 1;
        if burst % BURST == 0 {
            sleep(MOMENT).await;
            while session.upgrade().is_some_and(|s| s.link().is_behind() && !s.is_closed()) {
                sleep(MOMENT).await;
            }
        }
        if ack.send(&NO_ARGUMENTS).is_err()
            && let Some(session) = session.upgrade()
        {
            // Better closed than waiting for an ack that never comes.
            session.link().too_slow();
        }
    }
}
