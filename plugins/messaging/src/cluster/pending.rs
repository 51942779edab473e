//! The requests under way that other members answer.

use super::protocol::Answer;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::mpsc;

/// What was asked, by the ids of the requests.
#[derive(Default)]
pub(super) struct Pending(pub(super) Mutex<HashMap<String, mpsc::Sender<Answer>>>);

impl Pending {
    /// Gives an answer to who asked, if it still waits.
    pub(super) fn answered(&self, id: &str, answer: Answer) {
        if let Some(asked) = self.0.lock().get(id) {
            let _ = asked.try_send(answer);
        }
    }
}
