//! How long rows have waited for their table.

use crate::CONSUMER;
use crate::metrics::UNCOMMITTED_AGE;
use greyhound_sdk::{Bus, Error, Start};
use metrics::gauge;
use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

const INTERVAL: Duration = Duration::from_secs(1);
/// Longer it does not take to read one batch: there is none, only a hole.
const READ: Duration = Duration::from_secs(5);

/// The oldest row of a topic that is durable and not committed.
///
/// It is looked at from outside of the table's writer, so that it is known whatever that is at: while it catches up,
/// waits for the store, or has stopped.
pub(crate) struct Oldest {
    bus: Bus,
    topic: String,
    /// The cursor at which it was read last, and when that row was appended; none where there was none.
    known: Option<(u64, i64)>,
}

impl Oldest {
    pub(crate) fn new(bus: &Bus, topic: &str) -> Self {
        Self { bus: bus.clone(), topic: topic.to_owned(), known: None }
    }

    /// Tells its age as a metric, for ever.
    pub(crate) async fn tell(mut self) -> Infallible {
        loop {
            match self.time().await {
                Ok(time) => gauge!(UNCOMMITTED_AGE, "topic" => self.topic.clone()).set(time.map_or(0.0, age)),
                Err(error) => tracing::debug!(self.topic, error, "the age of its oldest row is not known"),
            }
            sleep(INTERVAL).await;
        }
    }

    /// When it was appended, microseconds since 1970 UTC; `None` where everything is committed.
    pub(crate) async fn time(&mut self) -> Result<Option<i64>, Error> {
        let mut consumer = self.bus.consumer(CONSUMER, &self.topic, Start::Earliest).await?;
        let (cursor, bounds) = (consumer.position(), consumer.bounds());
        if cursor.max(bounds.earliest) >= bounds.end {
            return Ok(None);
        }
        if let Some((_, time)) = self.known.filter(|(at, _)| *at == cursor) {
            return Ok(Some(time));
        }
        let Ok(batches) = timeout(READ, consumer.next(1)).await else { return Ok(None) };
        self.known = batches?.first().map(|batch| (cursor, batch.time));
        Ok(self.known.map(|(_, time)| time))
    }
}

/// In seconds; never negative, whatever the clock does.
fn age(time: i64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(time.try_into().unwrap_or(0))).as_secs_f64()
}
