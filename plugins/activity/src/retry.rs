//! Trying again what the store could not do.

use crate::aside::Aside;
use crate::metrics as names;
use crate::store::{StoreError, Trouble};
use crate::table::Stop;
use greyhound_sdk::{Drain, Health};
use metrics::counter;
use std::time::Duration;
use tokio::time::sleep;

/// None in tests, which try thousands of schedules of faults.
const FIRST_BACKOFF: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 100 });
/// Not longer: after an outage of hours, rows are to be in the tables within seconds of its end.
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// A file that could not be read so often, in a minute or more, is damaged if the store is well otherwise.
const READS: u32 = 20;

/// Tries again for as long as it takes or until drained, and says so: on `/readyz` for as long as it lasts, in the log
/// once for each cause. Moves a file that cannot be read out of the table.
pub(crate) struct Retry {
    operation: &'static str,
    topic: String,
    health: Health,
    drain: Drain,
    backoff: Duration,
    /// The causes so far; none before the first failure.
    causes: Vec<&'static str>,
    aside: Aside,
    /// The file that could not be read, and how often.
    unreadable: Option<(String, u32)>,
}

impl Retry {
    pub(crate) fn new(operation: &'static str, topic: &str, health: Health, drain: Drain, aside: Aside) -> Self {
        let (topic, backoff) = (topic.to_owned(), FIRST_BACKOFF);
        Self { operation, topic, health, drain, backoff, causes: Vec::new(), aside, unreadable: None }
    }

    /// Waits until it is worth to try again.
    ///
    /// # Errors
    /// [`Stop::Drained`] where there is no time left for that.
    pub(crate) async fn wait(&mut self, error: StoreError) -> Result<(), Stop> {
        self.say(&error);
        if self.drain.is_requested() {
            return Err(Stop::Drained);
        }
        if self.is_given_up(&error).await {
            return Ok(());
        }
        let backoff = self.backoff;
        self.backoff = (backoff * 2).min(LAST_BACKOFF);
        tokio::select! {
            () = sleep(backoff) => Ok(()),
            _ = self.drain.requested() => Err(Stop::Drained),
        }
    }

    /// Whether a file that cannot be read was moved out of the table, after many attempts.
    async fn is_given_up(&mut self, error: &StoreError) -> bool {
        let Some(file) = &error.unreadable else { return false };
        let reads = match &mut self.unreadable {
            Some((last, reads)) if last == file => reads,
            other => &mut other.insert((file.clone(), 0)).1,
        };
        *reads += 1;
        if *reads < READS
            || !self.aside.is_store_well().await
            || self.aside.take(file, &error.to_string()).await.is_err()
        {
            return false;
        }
        (self.unreadable, self.backoff) = (None, FIRST_BACKOFF);
        true
    }

    /// It worked.
    pub(crate) fn done(self) {
        if !self.causes.is_empty() {
            tracing::info!(topic = self.topic, operation = self.operation, "the store works again");
            self.health.ready();
        }
    }

    fn say(&mut self, error: &StoreError) {
        let cause = error.trouble.cause();
        counter!(names::RETRIES, "topic" => self.topic.clone(), "operation" => self.operation, "cause" => cause)
            .increment(1);
        let end = match error.trouble {
            Trouble::Passing { .. } => "rows wait in the journal until the store works again",
            Trouble::Refused { .. } => "rows wait in the journal until then",
        };
        self.health.not_ready(format!("{error}; {end}"));
        if self.causes.contains(&cause) {
            return;
        }
        self.causes.push(cause);
        let (topic, operation) = (&self.topic, self.operation);
        match error.trouble {
            Trouble::Passing { .. } => {
                tracing::warn!(topic, operation, %error, "the store fails; rows wait in the journal")
            }
            Trouble::Refused { .. } => {
                tracing::error!(topic, operation, %error, "the store refuses; rows wait in the journal")
            }
        }
    }
}
