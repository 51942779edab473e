//! Moves and deletes cursors while the bus runs.

use super::cursors::CursorError;
use super::inner::Inner;
use super::metrics;
use std::io;

/// A new position for a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The oldest row that is kept.
    Earliest,
    /// The next row to be published.
    Latest,
    /// The row with this number.
    Row(u64),
}

impl Inner {
    /// See [`super::EventBus::reset_consumer`].
    pub(super) async fn reset_consumer(&self, name: &str, topic: &str, to: Position) -> Result<u64, CursorError> {
        let bounds = self.core.log.bounds(topic);
        let next = match to {
            Position::Earliest => bounds.earliest,
            Position::Latest => bounds.end,
            Position::Row(seq) => seq,
        };
        if !(bounds.earliest..=bounds.end).contains(&next) {
            return Err(CursorError::NoSuchRow { topic: topic.to_owned(), earliest: bounds.earliest, end: bounds.end });
        }
        let (cursors, of, topic) = (self.cursors.clone(), name.to_owned(), topic.to_owned());
        blocking(move || cursors.reset(&of, &topic, next)).await?;
        Ok(next)
    }

    /// See [`super::EventBus::delete_consumer`].
    pub(super) async fn delete_consumer(&self, name: &str, topic: Option<&str>) -> Result<Vec<String>, CursorError> {
        let of = |(consumer, of, _): (String, String, u64)| {
            (consumer == name && topic.is_none_or(|topic| topic == of)).then_some(of)
        };
        let gone: Vec<_> = self.cursors.all().into_iter().filter_map(of).collect();
        let (cursors, name, topic) = (self.cursors.clone(), name.to_owned(), topic.map(str::to_owned));
        let consumer = name.clone();
        blocking(move || cursors.delete(&consumer, topic.as_deref())).await?;
        gone.iter().for_each(|topic| metrics::lag(&name, topic, 0));
        Ok(gone)
    }
}

async fn blocking(change: impl FnOnce() -> Result<(), CursorError> + Send + 'static) -> Result<(), CursorError> {
    let done = tokio::task::spawn_blocking(change).await;
    done.unwrap_or_else(|e| Err(CursorError::Io { path: "the cursors".into(), why: io::Error::other(e) }))
}
