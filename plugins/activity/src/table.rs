//! One table: reads its topic, encodes, commits, closes hours.

mod refill;
mod repair;
mod unfit;

use crate::CONSUMER;
use crate::aside::Aside;
use crate::commit::{Committer, Found, Outcome, directory};
use crate::compact::{Compaction, Compactor};
use crate::desk::{Desk, Request};
use crate::encode::{Appended, Digest, Encoded, Encoder, Encodings, Footer};
use crate::failpoint;
use crate::hours::{Closing, Hours, SUCCESS};
use crate::metrics as names;
use crate::record::{Committed, GAP_TOPIC, Recorder};
use crate::retry::Retry;
use crate::roll::{Hour, Policy, Span};
use crate::store::{Passing, Refusal, Store, StoreError, Trouble};
use greyhound_sdk::{Batch, Bus, Consumer, Drain, Health, Publisher, ReadError, Start, UnknownTopic};
use metrics::{counter, histogram};
use parquet::errors::ParquetError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// How much is read, and encoded, at a time.
const READ_BYTES: usize = 1 << 20;
/// How often it is looked whether an hour can be closed.
const HOURS_INTERVAL: Duration = Duration::from_secs(1);
/// So long hours are closed at a time: rows do not wait for all those of a long downtime.
const CLOSING: Duration = Duration::from_millis(500);

/// What the writers of all tables share.
pub struct Tables {
    /// Whose topics they are.
    pub bus: Bus,
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Compacts them.
    pub compactor: Compactor,
    /// When their files are committed.
    pub policy: Policy,
    /// How they are encoded.
    pub encodings: Encodings,
    /// Where operators ask them.
    pub desk: Desk,
}

/// The writer of one table.
pub struct Table {
    topic: String,
    store: Arc<dyn Store>,
    consumer: Consumer,
    committer: Committer,
    hours: Hours,
    compaction: Compaction,
    recorder: Option<Recorder>,
    /// Records what cannot be read any more; none where the bus has no such topic.
    gaps: Option<Publisher>,
    policy: Policy,
    encodings: Encodings,
    health: Health,
    drain: Drain,
    requests: mpsc::Receiver<Request>,
    open: Option<Open>,
    /// Batches that begin before this row are tried by themselves: one of them cannot be encoded.
    sift_before: u64,
    has_told_unfit: bool,
}

struct Open {
    span: Span,
    encoder: Encoder,
    /// The first row that the table has already after it.
    limit: u64,
}

/// Why a table's writer stops.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// It was told to drain while the store failed: the rows stay in the journal.
    #[error("told to stop")]
    Drained,
    /// Somebody else writes the same rows: an operator must look.
    #[error(
        "{path} holds rows of shard {shard} that are not this journal's: another process runs on a copy of this data directory; \
         stop it, or give this node a new data directory; once the file is moved away, this table goes on. The rows stay in this journal"
    )]
    Stranger {
        /// The file.
        path: String,
        /// The shard that both claim.
        shard: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rows cannot be encoded.
    #[error("rows of {topic} cannot be encoded: {source}")]
    Encode {
        /// The table.
        topic: String,
        /// Why.
        source: ParquetError,
    },
}

impl Table {
    /// The writer of `topic`'s table.
    ///
    /// # Errors
    /// Where the bus has no such topic.
    pub async fn new(tables: &Tables, topic: &str, health: Health, drain: Drain) -> Result<Self, UnknownTopic> {
        let (store, shard) = (&tables.store, tables.bus.shard());
        Ok(Self {
            topic: topic.to_owned(),
            store: store.clone(),
            consumer: tables.bus.consumer(CONSUMER, topic, Start::Earliest).await?,
            committer: Committer::new(store.clone(), topic, shard.clone()),
            hours: Hours::new(store.clone(), topic, shard.clone()),
            compaction: tables.compactor.of(topic, shard),
            recorder: Recorder::new(&tables.bus, topic)?,
            gaps: tables.bus.publisher(GAP_TOPIC).ok(),
            policy: tables.policy,
            encodings: tables.encodings,
            health,
            drain,
            requests: tables.desk.register(topic),
            open: None,
            sift_before: 0,
            has_told_unfit: false,
        })
    }

    /// Runs until drained, and no longer than the drain's deadline, whatever the store is at.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn run(self) -> Result<(), Stop> {
        let mut drain = self.drain.clone();
        let deadline = async { sleep_until(drain.requested().await).await };
        tokio::select! {
            biased;
            ended = self.serve() => ended,
            () = deadline => Err(Stop::Drained),
        }
    }

    async fn serve(mut self) -> Result<(), Stop> {
        self.start().await?;
        // Only now: until the store has answered, nobody knows whether rows can be committed.
        self.health.ready();
        let mut drain = self.drain.clone();
        let mut look = tokio::time::interval(HOURS_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let deadline = self.open.as_ref().map(|open| self.policy.deadline(&open.span));
            tokio::select! {
                biased;
                _ = drain.requested() => return self.finish().await,
                () = until(deadline) => self.commit().await?,
                _ = look.tick() => {
                    self.close_hours().await?;
                    // Rows have their turn, however long that took.
                    look.reset();
                }
                Some(request) = self.requests.recv() => {
                    let repaired = self.repair().await?;
                    // Who asked may have gone.
                    let _ = request.send(repaired);
                }
                batches = self.consumer.next(READ_BYTES) => {
                    let batches = batches?;
                    self.take(batches).await?;
                }
            }
        }
    }

    async fn start(&mut self) -> Result<(), Stop> {
        let mut retry = self.retry("resume");
        while let Err(e) = self.compaction.recover().await {
            retry.wait(e).await?;
        }
        let has_rows = self.consumer.position() > 0;
        let uncompacted = loop {
            match self.hours.resume(has_rows).await {
                Ok(hours) => break hours,
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        self.compaction.closed(uncompacted);
        Ok(())
    }

    /// Reads what is durable and commits everything. What was recorded of that is then durable.
    async fn finish(mut self) -> Result<(), Stop> {
        loop {
            while self.consumer.position() < self.consumer.bounds().end {
                let batches = self.consumer.next(READ_BYTES).await?;
                self.take(batches).await?;
            }
            self.commit().await?;
            // A commit may find that an earlier run wrote a shorter file: the rest is then still to be read.
            if self.consumer.position() >= self.consumer.bounds().end {
                break;
            }
        }
        if let Some(recorder) = &self.recorder {
            recorder.flush().await;
        }
        Ok(())
    }

    /// Adds batches to the open file, and ends it where it must end.
    async fn take(&mut self, batches: Vec<Batch>) -> Result<(), Stop> {
        let mut run: Vec<Batch> = Vec::new();
        let position = self.consumer.position();
        let mut batches = VecDeque::from(batches);
        while let Some(mut batch) = batches.pop_front() {
            if batch.first < self.sift_before
                && let Some(why) = self.unfit_because(&batch).await
            {
                self.encode(std::mem::take(&mut run)).await?;
                self.commit().await?;
                if self.consumer.position() != position {
                    return Ok(());
                }
                self.set_aside(&batch, &why).await?;
                continue;
            }
            let fits = self.open.as_ref().is_some_and(|open| open.span.takes(&batch) && batch.first < open.limit);
            if !fits {
                self.encode(std::mem::take(&mut run)).await?;
                self.commit().await?;
                if self.consumer.position() != position {
                    // The table had other rows than were encoded: it goes on where that file ends.
                    return Ok(());
                }
                // Only one: the rest is closed when it is looked at.
                self.close_next(Hour::of(batch.time), batch.first).await?;
                self.begin(&batch).await?;
            }
            let open = self.open.as_mut().expect("a file was opened above");
            if let Some(rest) = split(&mut batch, open.limit) {
                batches.push_front(rest);
            }
            open.span.end = batch.end();
            run.push(batch);
        }
        self.encode(run).await?;
        let is_due =
            self.open.as_ref().is_some_and(|open| self.policy.is_due(&open.span, open.encoder.size(), Instant::now()));
        if is_due { self.commit().await } else { Ok(()) }
    }

    /// Opens a file that begins with `batch`.
    async fn begin(&mut self, batch: &Batch) -> Result<(), Stop> {
        let encoder = Encoder::new(self.consumer.schema().clone(), self.encodings).map_err(|e| self.unfit(e))?;
        let span = Span::of(batch, self.consumer.bounds().floor, Instant::now());
        let mut retry = self.retry("list");
        let limit = loop {
            match self.committer.limit(span.hour, span.first).await {
                Ok(limit) => break limit.unwrap_or(u64::MAX),
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        self.open = Some(Open { span, encoder, limit });
        Ok(())
    }

    /// Encodes batches into the open file, off the async workers.
    async fn encode(&mut self, batches: Vec<Batch>) -> Result<(), Stop> {
        if batches.is_empty() {
            return Ok(());
        }
        let mut open = self.open.take().expect("batches are encoded into an open file");
        let span = open.span;
        let encoded =
            tokio::task::spawn_blocking(move || batches.iter().try_for_each(|b| open.encoder.add(b)).map(|()| open));
        match join(encoded.await) {
            Ok(open) => self.open = Some(open),
            Err(why) => self.sift(&span, why)?,
        }
        Ok(())
    }

    /// Commits the open file, however often it takes.
    async fn commit(&mut self) -> Result<(), Stop> {
        let Some(Open { span, encoder, .. }) = self.open.take() else { return Ok(()) };
        match self.put(span, encoder).await {
            Ok(file) => self.committed(&file).await,
            Err(Stop::Encode { source, .. }) => self.sift(&span, source),
            Err(stop) => Err(stop),
        }
    }

    /// Puts a file into the table, however often it takes.
    async fn put(&mut self, span: Span, encoder: Encoder) -> Result<Committed, Stop> {
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

    /// Goes on after a file that is in the table.
    async fn committed(&mut self, file: &Committed) -> Result<(), Stop> {
        self.record(file).await?;
        failpoint::pass("cursor", &file.path);
        self.advance(file.last + 1).await?;
        failpoint::pass("committed", &file.path);
        self.count(file);
        Ok(())
    }

    /// Tells of a file that is in the table. Its hour may have been closed before.
    async fn record(&mut self, file: &Committed) -> Result<(), Stop> {
        self.reopen(file.hour).await?;
        if let Some(recorder) = &mut self.recorder {
            recorder.record(file);
        }
        Ok(())
    }

    /// Counts a file that is in the table, and noted as such.
    fn count(&self, file: &Committed) {
        counter!(names::ROWS, "topic" => self.topic.clone()).increment(file.rows);
        counter!(names::BYTES, "topic" => self.topic.clone()).increment(file.bytes);
        counter!(names::FILES, "topic" => self.topic.clone()).increment(1);
        histogram!(names::COMMIT_SECONDS, "topic" => self.topic.clone()).record(file.duration);
        tracing::debug!(topic = self.topic, ?file, "committed");
    }

    /// Has an hour closed anew, if it was.
    async fn reopen(&mut self, hour: Hour) -> Result<(), Stop> {
        let mut retry = self.retry("reopen hour");
        while let Err(e) = self.hours.reopen(hour).await {
            retry.wait(e).await?;
        }
        retry.done();
        Ok(())
    }

    /// Makes `next` the durable cursor, and reads on there.
    async fn advance(&mut self, next: u64) -> Result<(), Stop> {
        let mut retry = self.retry("cursor");
        while let Err(e) = self.consumer.commit(next).await {
            retry
                .wait(Trouble::refused(Refusal::DataDir, e).at("note what is committed of", self.topic.as_str()))
                .await?;
        }
        retry.done();
        Ok(())
    }

    /// Whether a file that has our first row has our rows from there on: then it is committed, by an earlier run
    /// or an attempt whose answer was lost. Continues reading after its last row.
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
            // The journal begins in the midst of the file, whose digest is over rows that it has no more.
            let theirs = self.appended(hour, first, last).await?;
            let mut ours = Appended::default();
            self.read_again(first, last, |batch| (batch.first..batch.end()).for_each(|seq| ours.add(seq, batch.time)))
                .await?;
            ours == theirs
        };
        self.consumer.seek(if ours { last + 1 } else { position });
        Ok(ours)
    }

    /// Reads the batches of the rows from `first` to `last`: those that the journal has, and that end there.
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

    /// Closes hours whose rows are all committed: those before the open file's, or, once everything durable is
    /// committed, those that the log's floor has passed.
    async fn close_hours(&mut self) -> Result<(), Stop> {
        let bounds = self.consumer.bounds();
        let floor = Hour::of(bounds.floor);
        let is_all_read = |table: &Self| bounds.floor > 0 && table.consumer.position() >= bounds.end;
        if is_all_read(self) && self.open.as_ref().is_some_and(|open| open.span.hour < floor) {
            // The table may have a shorter file of an earlier run: then the rest is still to be read.
            self.commit().await?;
        }
        match &self.open {
            Some(open) => self.close_before(open.span.hour, open.span.first).await?,
            None if is_all_read(self) => self.close_before(floor, self.consumer.position()).await?,
            None => {}
        }
        if is_all_read(self) {
            self.compaction.turn(floor).await;
        }
        Ok(())
    }

    /// Closes hours before `end`, the oldest first, until it is time for rows again, or to stop. All rows before `next`
    /// are committed.
    async fn close_before(&mut self, end: Hour, next: u64) -> Result<(), Stop> {
        let rows = Instant::now() + CLOSING;
        while self.close_next(end, next).await? && Instant::now() < rows && !self.drain.is_requested() {}
        Ok(())
    }

    /// Closes the oldest open hour before `end`, if there is one. All rows before `next` are committed.
    async fn close_next(&mut self, end: Hour, next: u64) -> Result<bool, Stop> {
        let mut retry = self.retry("close hour");
        let closed = loop {
            let closing = match self.hours.oldest_open(end).await {
                Ok(Some(closing)) => closing,
                Ok(None) => break None,
                Err(e) => {
                    retry.wait(e).await?;
                    continue;
                }
            };
            if self.refill(&closing, next).await? {
                continue;
            }
            match self.close(&closing, end, next).await {
                Ok(()) => break Some(closing.hour),
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        self.compaction.closed(closed);
        Ok(closed.is_some())
    }

    async fn close(&mut self, closing: &Closing, end: Hour, next: u64) -> Result<(), StoreError> {
        self.tell_lost(closing, end, next).await?;
        self.hours.close(closing, self.compaction.oldest()).await
    }

    fn retry(&self, operation: &'static str) -> Retry {
        Retry::new(operation, &self.topic, self.health.clone(), self.drain.clone(), self.aside())
    }

    fn aside(&self) -> Aside {
        Aside::new(self.store.clone(), &self.topic, self.committer.shard())
    }

    fn unfit(&self, source: ParquetError) -> Stop {
        Stop::Encode { topic: self.topic.clone(), source }
    }

    fn path(&self, span: &Span) -> String {
        self.committer.path(span.hour, span.first)
    }

    fn vanished(&self, span: &Span) -> StoreError {
        let why = "there was a file of this name, and then there was none";
        Trouble::passing(Passing::Other, why).at("rename to", self.path(span))
    }

    fn obstructed(&self, span: &Span, what: &str) -> StoreError {
        let why = format!(
            "the rows from {} on belong into a file of this name, and there is another one: {what}",
            span.first
        );
        Trouble::refused(Refusal::Obstacle, why).at("rename to", self.path(span))
    }

    fn success_path(&self, span: &Span) -> String {
        format!("{}/{SUCCESS}", directory(&self.topic, span.hour, self.committer.shard()))
    }

    fn stranger(&self, path: String) -> Stop {
        Stop::Stranger { path, shard: self.committer.shard().to_string() }
    }
}

/// Cuts `batch` before the row `at`; what it has from there on.
fn split(batch: &mut Batch, at: u64) -> Option<Batch> {
    let kept = usize::try_from(at.saturating_sub(batch.first)).ok().filter(|kept| *kept < batch.rows.num_rows())?;
    let rows = batch.rows.slice(kept, batch.rows.num_rows() - kept);
    batch.rows = batch.rows.slice(0, kept);
    Some(Batch { first: at, rows, ..batch.clone() })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A panic of the encoder as its error.
fn join<T>(joined: Result<Result<T, ParquetError>, tokio::task::JoinError>) -> Result<T, ParquetError> {
    joined.unwrap_or_else(|e| Err(ParquetError::General(format!("the encoder panicked: {e}"))))
}
