//! Trying again what the store could not do.

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

/// Tries again for as long as it takes or until drained, and says so: on `/readyz` for as long as it lasts, in the log
/// once for each cause.
pub(crate) struct Retry {
    operation: &'static str,
    topic: String,
    health: Health,
    drain: Drain,
    backoff: Duration,
    /// The causes so far; none before the first failure.
    causes: Vec<&'static str>,
}

impl Retry {
    pub(crate) fn new(operation: &'static str, topic: &str, health: Health, drain: Drain) -> Self {
        Self { operation, topic: topic.to_owned(), health, drain, backoff: FIRST_BACKOFF, causes: Vec::new() }
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
        let backoff = self.backoff;
        self.backoff = (backoff * 2).min(LAST_BACKOFF);
        tokio::select! {
            () = sleep(backoff) => Ok(()),
            _ = self.drain.requested() => Err(Stop::Drained),
        }
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
        counter!(names::RETRIES, "topic" => self.topic.clone(), "operation" => self.operation, "cause" => cause).increment(1);
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
            Trouble::Passing { .. } => tracing::warn!(topic, operation, %error, "the store fails; rows wait in the journal"),
            Trouble::Refused { .. } => tracing::error!(topic, operation, %error, "the store refuses; rows wait in the journal"),
        }
    }
}
