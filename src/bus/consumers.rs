//! Changing where consumers stand, while the bus runs.

use super::cursors::CursorError;
use super::{ConsumerStatus, EventBus, Inner, metrics};
use std::io;

/// Where a consumer is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the oldest row that is kept.
    Earliest,
    /// At the next row.
    Latest,
    /// At the row with this number.
    Row(u64),
}

impl EventBus {
    /// Lets a consumer that does not read now go on at `to`; returns the number of that row.
    ///
    /// # Errors
    /// [`CursorError`]; nothing is changed then.
    pub async fn reset_consumer(&self, name: &str, topic: &str, to: Position) -> Result<u64, CursorError> {
        let bounds = self.inner.core.log.bounds(topic);
        let next = match to {
            Position::Earliest => bounds.earliest,
            Position::Latest => bounds.end,
            Position::Row(seq) => seq,
        };
        if !(bounds.earliest..=bounds.end).contains(&next) {
            return Err(CursorError::NoSuchRow { topic: topic.to_owned(), earliest: bounds.earliest, end: bounds.end });
        }
        let (cursors, of, topic) = (self.inner.cursors.clone(), name.to_owned(), topic.to_owned());
        blocking(move || cursors.reset(&of, &topic, next)).await?;
        Ok(next)
    }

    /// Deletes the cursors of a consumer that does not read now, that in `topic` or all: retention waits for it no
    /// more. Returns the topics.
    ///
    /// # Errors
    /// [`CursorError`]; nothing is changed then.
    pub async fn delete_consumer(&self, name: &str, topic: Option<&str>) -> Result<Vec<String>, CursorError> {
        let of = |(consumer, of, _): (String, String, u64)| {
            (consumer == name && topic.is_none_or(|topic| topic == of)).then_some(of)
        };
        let gone: Vec<_> = self.inner.cursors.all().into_iter().filter_map(of).collect();
        let (cursors, name, topic) = (self.inner.cursors.clone(), name.to_owned(), topic.map(str::to_owned));
        let consumer = name.clone();
        blocking(move || cursors.delete(&consumer, topic.as_deref())).await?;
        gone.iter().for_each(|topic| metrics::lag(&name, topic, 0));
        Ok(gone)
    }

    /// Every consumer in each topic, also in those that no plugin declares any more.
    #[must_use]
    pub fn consumers(&self) -> Vec<(String, ConsumerStatus)> {
        self.inner.consumers()
    }
}

impl Inner {
    /// Every consumer in each topic: first those that retention waits for.
    pub(super) fn consumers(&self) -> Vec<(String, ConsumerStatus)> {
        let status = |name: String, topic: String, position: u64, required: bool| {
            let lag = self.core.log.bounds(&topic).end.saturating_sub(position);
            let active = !required || self.cursors.is_active(&name, &topic);
            (topic, ConsumerStatus { name, position, lag, required, active })
        };
        let durable = self.cursors.all().into_iter().map(|(name, topic, at)| status(name, topic, at, true));
        let watching =
            self.watchers.all().into_iter().map(|(name, topic, at)| status(name, topic.to_string(), at, false));
        durable.chain(watching).collect()
    }
}

async fn blocking(change: impl FnOnce() -> Result<(), CursorError> + Send + 'static) -> Result<(), CursorError> {
    let done = tokio::task::spawn_blocking(change).await;
    done.unwrap_or_else(|e| Err(CursorError::Io { path: "the cursors".into(), why: io::Error::other(e) }))
}
