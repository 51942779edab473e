//! Requests whose answers are awaited.

use super::protocol::Answer;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::mpsc;

/// The receivers of the answers, by the ids of the requests.
#[derive(Default)]
pub(super) struct Pending(pub(super) Mutex<HashMap<String, mpsc::Sender<Answer>>>);

impl Pending {
    /// Passes an answer to its request, if that still waits.
    pub(super) fn answered(&self, id: &str, answer: Answer) {
        if let Some(asked) = self.0.lock().get(id) {
            let _ = asked.try_send(answer);
        }
    }
}
