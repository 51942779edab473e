//! Commits a table's open file, exactly once.

use super::fill::{join, split};
use super::{Open, READ_BYTES, Stop, Table};
use crate::committer::Outcome;
use crate::encode::{Appended, Digest, Encoded, Encoder, Footer};
use crate::failpoint;
use crate::find::Found;
use crate::layout::{Hour, directory};
use crate::metrics as names;
use crate::record::Committed;
use crate::roll_policy::Span;
use crate::store::{Failure, Refusal, StoreError, Transient};
use crate::success::SUCCESS;
use greyhound_sdk::Batch;
use metrics::{counter, histogram};
use tokio::time::Instant;

impl Table {
    /// Commits the open file, with as many attempts as it takes.
    pub(super) async fn commit(&mut self) -> Result<(), Stop> {
        let Some(Open { span, encoder, .. }) = self.open.take() else { return Ok(()) };
        match self.put(span, encoder).await {
            Ok(file) => self.committed(&file).await,
            Err(Stop::Encode { source, .. }) => self.sift(&span, source),
            Err(stop) => Err(stop),
        }
    }

    /// Puts a file into the table, with as many attempts as it takes.
    pub(super) async fn put(&mut self, span: Span, encoder: Encoder) -> Result<Committed, Stop> {
        let started = Instant::now();
        let shard = self.committer.shard().clone();
        let file = join(tokio::task::spawn_blocking(move || encoder.finish(&span, &shard)).await)
            .map_err(|e| self.unfit(e))?;
        let mut retry = self.retry("commit");
        let mut attempts = 0;
        let (footer, bytes, recovered) = loop {
            attempts += 1;
            match self.committer.attempt(&file, span.hour).await {
                Ok(Outcome::Committed) => break (file.footer, file.bytes.len() as u64, false),
                Ok(Outcome::Exists(Found::Nothing, _)) => retry.wait(self.vanished(&span)).await?,
                Ok(Outcome::Exists(Found::Foreign(what) | Found::Broken(what), _)) => {
                    retry.wait(self.obstructed(&span, &what)).await?
                }
                Ok(Outcome::Exists(Found::File(footer), bytes)) if self.is_ours(&footer, &file, span.hour).await? => {
                    break (footer, bytes, true);
                }
                Ok(Outcome::Exists(Found::File(_), _)) => return Err(self.stranger(self.path(&span))),
                Ok(Outcome::Exists(Found::Closed, _)) => return Err(self.stranger(self.success_path(&span))),
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        let Footer { first, last, rows, .. } = footer;
        let (path, duration) = (self.committer.path(span.hour, first), started.elapsed());
        Ok(Committed { path, hour: span.hour, first, last, rows, bytes, attempts, duration, recovered })
    }

    /// Records a committed file and advances the cursor past it.
    async fn committed(&mut self, file: &Committed) -> Result<(), Stop> {
        self.record(file).await?;
        failpoint::pass("cursor", &file.path);
        self.advance(file.last + 1).await?;
        failpoint::pass("committed", &file.path);
        self.count(file);
        Ok(())
    }

    /// Records a file that is in the table. If its hour was closed, it will be closed again.
    pub(super) async fn record(&mut self, file: &Committed) -> Result<(), Stop> {
        self.reopen(file.hour).await?;
        if let Some(recorder) = &mut self.recorder {
            recorder.record(file);
        }
        Ok(())
    }

    /// Counts a committed file in the metrics.
    pub(super) fn count(&self, file: &Committed) {
        counter!(names::ROWS, "topic" => self.topic.clone()).increment(file.rows);
        counter!(names::BYTES, "topic" => self.topic.clone()).increment(file.bytes);
        counter!(names::FILES, "topic" => self.topic.clone()).increment(1);
        histogram!(names::COMMIT_SECONDS, "topic" => self.topic.clone()).record(file.duration);
        tracing::debug!(topic = self.topic, ?file, "committed");
    }

    /// Makes `next` the durable cursor.
    pub(super) async fn advance(&mut self, next: u64) -> Result<(), Stop> {
        let mut retry = self.retry("cursor");
        while let Err(e) = self.consumer.commit(next).await {
            retry.wait(Failure::refused(Refusal::DataDir, e).at("store the cursor of", self.topic.as_str())).await?;
        }
        retry.done();
        Ok(())
    }

    /// Whether a file with our first row has our rows from there on: then an earlier run, or an attempt whose answer
    /// was lost, committed it, and reading continues after its last row.
    async fn is_ours(&mut self, footer: &Footer, file: &Encoded, hour: Hour) -> Result<bool, Stop> {
        let (first, last) = (file.footer.first, footer.last);
        if footer.shard != file.footer.shard {
            return Ok(false);
        }
        if (footer.first, last) == (first, file.footer.last) {
            return Ok(footer.digest == file.footer.digest);
        }
        if last >= self.consumer.bounds().end {
            return Ok(false);
        }
        let position = self.consumer.position();
        let ours = if footer.first == first {
            let mut digest = Digest::default();
            self.read_again(first, last, |batch| digest.add(batch)).await?;
            digest.to_string() == footer.digest
        } else {
            // The journal begins within the file; the file's digest includes rows that the journal no longer has.
            let theirs = self.appended(hour, first, last).await?;
            let mut ours = Appended::default();
            self.read_again(first, last, |batch| (batch.first..batch.end()).for_each(|seq| ours.add(seq, batch.time)))
                .await?;
            ours == theirs
        };
        self.consumer.seek(if ours { last + 1 } else { position });
        Ok(ours)
    }

    /// Reads the rows from `first` to `last` again, as far as the journal has them.
    async fn read_again(&mut self, first: u64, last: u64, mut each: impl FnMut(&Batch) + Send) -> Result<(), Stop> {
        self.consumer.seek(first);
        while self.consumer.position() <= last {
            for mut batch in self.consumer.next(READ_BYTES).await? {
                if batch.first <= last {
                    split(&mut batch, last + 1);
                    each(&batch);
                }
            }
        }
        Ok(())
    }

    /// What the table has of the rows from `first` to `last`.
    async fn appended(&mut self, hour: Hour, first: u64, last: u64) -> Result<Appended, Stop> {
        let mut retry = self.retry("read");
        let appended = loop {
            match self.committer.appended(hour, first..=last).await {
                Ok(appended) => break appended,
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        Ok(appended)
    }

    fn path(&self, span: &Span) -> String {
        self.committer.path(span.hour, span.first)
    }

    fn vanished(&self, span: &Span) -> StoreError {
        let why = "a file of this name was there, and then it was gone";
        Failure::transient(Transient::Other, why).at("rename to", self.path(span))
    }

    fn obstructed(&self, span: &Span, what: &str) -> StoreError {
        let why =
            format!("the rows from {} on belong in a file of this name, but another one is there: {what}", span.first);
        Failure::refused(Refusal::Obstacle, why).at("rename to", self.path(span))
    }

    fn success_path(&self, span: &Span) -> String {
        format!("{}/{SUCCESS}", directory(&self.topic, span.hour, self.committer.shard()))
    }

    pub(super) fn stranger(&self, path: String) -> Stop {
        Stop::Stranger { path, shard: self.committer.shard().to_string() }
    }
}
