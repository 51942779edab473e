//! Retries calls of the store.

use crate::metrics as names;
use crate::quarantine::Quarantine;
use crate::store::{Failure, StoreError};
use greyhound_sdk::{Drain, Health};
use metrics::counter;
use std::time::Duration;
use tokio::time::sleep;

/// None in tests, which try thousands of schedules of faults.
const BACKOFF_MIN: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 100 });
/// Short, so that rows reach the tables within seconds after an outage of hours.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// After so many failed reads, over a minute or more, a file counts as damaged if the store works otherwise.
const READ_ATTEMPTS_MAX: u32 = 20;

/// Retries until the call succeeds or the drain is requested, and reports it: on `/readyz` for as long as it lasts, in
/// the log once for each cause. Moves a file that cannot be read out of the table.
pub(crate) struct Retry {
    operation: &'static str,
    topic: String,
    health: Health,
    drain: Drain,
    backoff: Duration,
    /// The causes so far; empty before the first failure.
    causes: Vec<&'static str>,
    quarantine: Quarantine,
    /// The file that could not be read, and the number of attempts.
    unreadable: Option<(String, u32)>,
}

/// The drain was requested while the store failed: the rows stay in the journal.
#[derive(Debug, thiserror::Error)]
#[error("told to stop")]
pub struct Drained;

impl Retry {
    pub(crate) fn new(
        operation: &'static str,
        topic: &str,
        health: Health,
        drain: Drain,
        quarantine: Quarantine,
    ) -> Self {
        let (topic, backoff) = (topic.to_owned(), BACKOFF_MIN);
        Self { operation, topic, health, drain, backoff, causes: Vec::new(), quarantine, unreadable: None }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// [`Drained`] if the drain is requested before then.
    pub(crate) async fn wait(&mut self, error: StoreError) -> Result<(), Drained> {
        self.report(&error);
        if self.drain.is_requested() {
            return Err(Drained);
        }
        if self.is_given_up(&error).await {
            return Ok(());
        }
        let backoff = self.backoff;
        self.backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = sleep(backoff) => Ok(()),
            _ = self.drain.requested() => Err(Drained),
        }
    }

    /// Moves a file that cannot be read out of the table after many attempts; whether it did.
    async fn is_given_up(&mut self, error: &StoreError) -> bool {
        let Some(file) = &error.unreadable else { return false };
        let reads = match &mut self.unreadable {
            Some((last, reads)) if last == file => reads,
            other => &mut other.insert((file.clone(), 0)).1,
        };
        *reads += 1;
        if *reads < READ_ATTEMPTS_MAX
            || !self.quarantine.store_works().await
            || self.quarantine.move_away(file, &error.to_string()).await.is_err()
        {
            return false;
        }
        (self.unreadable, self.backoff) = (None, BACKOFF_MIN);
        true
    }

    /// The call succeeded.
    pub(crate) fn done(self) {
        if !self.causes.is_empty() {
            tracing::info!(topic = self.topic, operation = self.operation, "the store works again");
            self.health.ready();
        }
    }

    fn report(&mut self, error: &StoreError) {
        let cause = error.failure.cause();
        counter!(names::RETRIES, "topic" => self.topic.clone(), "operation" => self.operation, "cause" => cause)
            .increment(1);
        let end = match error.failure {
            Failure::Transient { .. } => "rows wait in the journal until the store works again",
            Failure::Refused { .. } => "rows wait in the journal until then",
        };
        self.health.not_ready(format!("{error}; {end}"));
        if self.causes.contains(&cause) {
            return;
        }
        self.causes.push(cause);
        let (topic, operation) = (&self.topic, self.operation);
        match error.failure {
            Failure::Transient { .. } => {
                tracing::warn!(topic, operation, %error, "the store fails; rows wait in the journal")
            }
            Failure::Refused { .. } => {
                tracing::error!(topic, operation, %error, "the store refuses; rows wait in the journal")
            }
        }
    }
}
