//! How long rows have waited to be committed.

use crate::metrics::UNCOMMITTED_AGE;
use crate::table::CONSUMER;
use greyhound_sdk::{Bus, Error, Start};
use metrics::gauge;
use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Reading one batch takes no longer; after this, there is only a hole.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The oldest durable row of a topic that is not committed.
///
/// It is read independently of the table's writer, so that its age is known even while the writer catches up, waits for
/// the store or has stopped.
pub(crate) struct Oldest {
    bus: Bus,
    topic: String,
    /// The cursor at which it was last read, and when that row was appended; `None` if there was no row.
    known: Option<(u64, i64)>,
}

impl Oldest {
    pub(crate) fn new(bus: &Bus, topic: &str) -> Self {
        Self { bus: bus.clone(), topic: topic.to_owned(), known: None }
    }

    /// Reports its age as a metric, forever.
    pub(crate) async fn report(mut self) -> Infallible {
        loop {
            match self.time().await {
                Ok(time) => gauge!(UNCOMMITTED_AGE, "topic" => self.topic.clone()).set(time.map_or(0.0, age)),
                Err(error) => tracing::debug!(self.topic, error, "the age of the oldest uncommitted row is unknown"),
            }
            sleep(REPORT_INTERVAL).await;
        }
    }

    /// When it was appended, in microseconds since 1970 UTC; `None` if everything is committed.
    pub(crate) async fn time(&mut self) -> Result<Option<i64>, Error> {
        let mut consumer = self.bus.consumer(CONSUMER, &self.topic, Start::Earliest).await?;
        let (cursor, bounds) = (consumer.position(), consumer.bounds());
        if cursor.max(bounds.earliest) >= bounds.end {
            return Ok(None);
        }
        if let Some((_, time)) = self.known.filter(|(at, _)| *at == cursor) {
            return Ok(Some(time));
        }
        let Ok(batches) = timeout(READ_TIMEOUT, consumer.next(1)).await else { return Ok(None) };
        self.known = batches?.first().map(|batch| (cursor, batch.time));
        Ok(self.known.map(|(_, time)| time))
    }
}

/// In seconds; never negative, even if the clock goes back.
fn age(time: i64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(time.try_into().unwrap_or(0))).as_secs_f64()
}
