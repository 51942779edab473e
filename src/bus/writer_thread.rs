//! The bus's writer thread. It takes all queued rows, makes them durable as one group, and wakes the tasks that wait
//! for them.

use super::core::{Core, End};
use super::gap::Reason;
use super::group::{Group, GroupBuilder};
use super::metrics::{TopicMetrics, WriterMetrics};
use super::queue::{Phase, Taken};
use crate::log::{Body, Frame, LogError, LogWriter};
use greyhound_sdk::Health;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The node is not ready while its clock is further behind the last row than this.
const CLOCK_LAG_MAX: Duration = Duration::from_secs(60);

/// The state of the writer thread.
pub(super) struct WriterThread {
    core: Arc<Core>,
    group_builder: GroupBuilder,
    writer: Box<dyn LogWriter>,
    runtime: Runtime,
    linger: Duration,
    floor_interval: Duration,
    floor_due: Instant,
    log_health: Health,
    clock_health: Health,
    metrics: WriterMetrics,
    topic_metrics: Vec<TopicMetrics>,
}

enum Work {
    Group(Taken),
    /// Nothing is queued: write that no later row has an earlier time than this.
    Floor(i64),
    Close,
    Exit,
}

/// Why the thread cannot continue.
enum Stop {
    /// The deadline of the close has passed. Holds the reason why the log accepts no rows.
    TimeUp(Arc<str>),
    Failed(Arc<str>),
    Abandoned,
}

/// The delay before the next attempt, which doubles up to [`BACKOFF_MAX`].
struct Backoff(Duration);

impl WriterThread {
    pub(super) fn new(
        core: Arc<Core>,
        group_builder: GroupBuilder,
        writer: Box<dyn LogWriter>,
        runtime: Runtime,
        linger: Duration,
        floor_interval: Duration,
    ) -> Self {
        let (log_health, clock_health) = (core.health.of("log"), core.health.of("clock"));
        log_health.ready();
        clock_health.ready();
        let topic_metrics = core.topics.iter().map(|t| TopicMetrics::of(&t.name)).collect();
        let metrics = WriterMetrics::new();
        let floor_due = Instant::now();
        Self {
            core,
            group_builder,
            writer,
            runtime,
            linger,
            floor_interval,
            floor_due,
            log_health,
            clock_health,
            metrics,
            topic_metrics,
        }
    }

    /// Runs until the bus is closed or dropped, or the log fails, and always reports how it ended.
    pub(super) fn run_to_end(self) {
        let core = self.core.clone();
        // The thread ends after a panic, so no state that it left half-done is used again.
        let end = catch_unwind(AssertUnwindSafe(|| self.run()));
        core.end(end.unwrap_or_else(|_| End::Failed("the writer thread panicked".into())));
    }

    fn run(mut self) -> End {
        loop {
            let done = match self.next() {
                Work::Group(taken) => self.commit(taken),
                Work::Floor(time) => self.floor(time),
                Work::Close => break self.close(None),
                Work::Exit => break End::Abandoned,
            };
            match done {
                Ok(()) => self.watch_clock(),
                Err(Stop::TimeUp(why)) => break self.close(Some(why)),
                Err(Stop::Failed(why)) => break self.fail(why),
                Err(Stop::Abandoned) => break End::Abandoned,
            }
        }
    }

    /// Waits for work. Lingers before it takes rows that no task waits for, so that one group holds more of them.
    fn next(&mut self) -> Work {
        let core = self.core.clone();
        let mut queue = core.queue();
        loop {
            match queue.phase {
                Phase::Abandoned | Phase::Ended => return Work::Exit,
                Phase::Closing(_) if queue.is_empty() => return Work::Close,
                Phase::Open | Phase::Closing(_) => {}
            }
            if !queue.is_empty() {
                break;
            }
            if !core.sleep(&mut queue, self.floor_due) {
                return Work::Floor(queue.time(core.clock.now()));
            }
        }
        let until = Instant::now() + self.linger;
        while matches!(queue.phase, Phase::Open) && !queue.urgent && !queue.is_large() && core.sleep(&mut queue, until)
        {
        }
        if matches!(queue.phase, Phase::Abandoned) {
            return Work::Exit;
        }
        Work::Group(queue.take(core.clock.now(), &mut self.group_builder.spares))
    }

    fn commit(&mut self, taken: Taken) -> Result<(), Stop> {
        let mut group = self.group_builder.build(taken);
        let result = self.write(&mut group);
        if let Err(Stop::TimeUp(_)) = result {
            return self.give_up(group).and(result);
        }
        result?;
        self.durable(group);
        Ok(())
    }

    /// Appends the group, and retries until it succeeds.
    fn write(&mut self, group: &mut Group) -> Result<(), Stop> {
        let mut backoff = Backoff(BACKOFF_MIN);
        let mut rest = None;
        loop {
            let frames = rest.as_ref().unwrap_or(&group.frames);
            let started = Instant::now();
            let mut result = self.runtime.block_on(self.writer.append(frames));
            if matches!(result, Err(LogError::Retry { full: true, .. })) && group.has_only_gaps() {
                result = self.runtime.block_on(self.writer.append_reserved(frames));
            }
            match result {
                Ok(()) => {
                    self.metrics.append_seconds.record(started.elapsed());
                    self.log_succeeded();
                    return Ok(());
                }
                Err(LogError::Unknown(why)) => {
                    tracing::warn!(%why, "the outcome of an append is unknown; opening a new writer");
                    self.reopen()?;
                    rest = Some(self.missing(&group.frames));
                    if rest.as_ref().is_some_and(Vec::is_empty) {
                        return Ok(());
                    }
                    self.back_off(LogError::Unknown(why), &mut backoff)?;
                }
                Err(other) => self.back_off(other, &mut backoff)?,
            }
        }
    }

    /// Opens a new writer after an append whose outcome is unknown.
    fn reopen(&mut self) -> Result<(), Stop> {
        let mut backoff = Backoff(BACKOFF_MIN);
        loop {
            let opened = self.runtime.block_on(async {
                let mut writer = self.core.log.writer().await?;
                for topic in &self.core.topics {
                    writer.register(&topic.name, topic.schema.fingerprint(), topic.schema.avro()).await?;
                }
                Ok(writer)
            });
            match opened {
                Ok(writer) => {
                    self.writer = writer;
                    return Ok(());
                }
                Err(e) => self.back_off(e, &mut backoff)?,
            }
        }
    }

    /// Returns the frames that the log does not hold.
    fn missing(&self, frames: &[Frame]) -> Vec<Frame> {
        let is_missing = |f: &&Frame| f.first + u64::from(f.rows) > self.core.log.bounds(&f.topic).end;
        frames.iter().filter(is_missing).cloned().collect()
    }

    /// Reports the failure and, if a retry may help, waits for the next attempt.
    fn back_off(&mut self, error: LogError, backoff: &mut Backoff) -> Result<(), Stop> {
        let (why, full): (Arc<str>, bool) = match error {
            LogError::Retry { reason, full } => (reason.into(), full),
            LogError::Unknown(why) => (why.into(), false),
            other => return Err(Stop::Failed(other.to_string().into())),
        };
        let effect = "rows wait in memory; when the queue is full, they are shed and recorded as a gap";
        self.log_health.not_ready(match full {
            true => format!("the disk is full: {why}; {effect}; free disk space"),
            false => format!("the log accepts no rows: {why}; {effect}"),
        });
        let mut queue = self.core.queue();
        let reason = if full { Reason::DiskFull } else { Reason::WriteFailed };
        if queue.log_failure.replace(reason) != Some(reason) {
            tracing::warn!(%why, full, "the log accepts no rows; retrying until it does");
        }
        let until = Instant::now() + backoff.next();
        loop {
            let until = match queue.phase {
                Phase::Abandoned | Phase::Ended => return Err(Stop::Abandoned),
                Phase::Closing(deadline) if Instant::now() >= deadline => return Err(Stop::TimeUp(why)),
                Phase::Closing(deadline) => until.min(deadline),
                Phase::Open => until,
            };
            if !self.core.sleep(&mut queue, until) {
                return Ok(());
            }
        }
    }

    /// Notes that the log accepts rows.
    fn log_succeeded(&mut self) {
        self.floor_due = Instant::now() + self.floor_interval;
        if self.core.queue().log_failure.take().is_some() {
            tracing::info!("the log accepts rows again");
            self.log_health.ready();
        }
    }

    /// The group is durable: wakes the tasks that wait for its rows, and releases its memory.
    fn durable(&mut self, group: Group) {
        self.metrics.groups.increment(1);
        let topics = &self.core.topics;
        for frame in &group.frames {
            if let (Body::Rows { batch, .. }, Some(at)) =
                (&frame.body, topics.iter().position(|t| t.name == frame.topic))
            {
                self.topic_metrics[at].rows.increment(u64::from(frame.rows));
                self.topic_metrics[at].bytes.increment(batch.len() as u64);
            }
        }
        group.holes.iter().for_each(|(at, first, last, reason)| topics[*at].add_loss(*first, *last, *reason));
        group.ends.iter().for_each(|(at, end)| topics[*at].advance(*end));
        self.metrics.queue_bytes.set(self.core.release(group.bytes, &group.row_bytes) as f64);
        if !group.gaps.is_empty() {
            self.core.record(group.gaps);
        }
    }

    /// Writes the floor after a time without publications.
    fn floor(&mut self, time: i64) -> Result<(), Stop> {
        match self.runtime.block_on(self.writer.floor(time)) {
            Ok(()) => self.log_succeeded(),
            Err(LogError::Unknown(_)) => self.reopen()?,
            Err(other) => self.back_off(other, &mut Backoff(BACKOFF_MIN))?,
        }
        Ok(())
    }

    fn watch_clock(&self) {
        let now = self.core.clock.now();
        let behind = u64::try_from(self.core.queue().last_time() - now).unwrap_or(0);
        self.metrics.clock_behind.set(behind as f64 / 1e6);
        let behind = Duration::from_micros(behind);
        if behind <= CLOCK_LAG_MAX {
            return self.clock_health.ready();
        }
        let behind = Duration::from_secs(behind.as_secs());
        let behind = humantime::format_duration(behind);
        self.clock_health.not_ready(format!(
            "the machine's clock is {behind} behind the last row: until it catches up, new rows get the last row's time; set the clock"
        ));
    }

    /// The deadline has passed and the log accepts no rows: records the group and all queued rows as gaps.
    fn give_up(&mut self, mut group: Group) -> Result<(), Stop> {
        let core = self.core.clone();
        let mut queue = core.queue();
        let reason = queue.log_failure.unwrap_or(Reason::WriteFailed);
        group.give_up(&core.topics, reason);
        group.gaps.drain(..).for_each(|gap| queue.record(&gap));
        queue.give_up(reason);
        let taken = queue.take(core.clock.now(), &mut self.group_builder.spares);
        drop(queue);
        group.join(self.group_builder.build(taken));
        let recorded = self.runtime.block_on(self.writer.append_reserved(&group.frames));
        recorded.map_err(|e| {
            Stop::Failed(format!("the rows that could not be written cannot be recorded as a gap: {e}").into())
        })?;
        self.durable(group);
        Ok(())
    }

    fn close(self, gave_up: Option<Arc<str>>) -> End {
        match (self.runtime.block_on(self.writer.close()), gave_up) {
            (Err(e), _) => End::Failed(format!("cannot close the log: {e}").into()),
            (Ok(()), Some(why)) => End::GaveUp(why),
            (Ok(()), None) => End::Clean,
        }
    }

    fn fail(&self, why: Arc<str>) -> End {
        tracing::error!(%why, "the log has failed; the bus is closed");
        self.log_health.not_ready(format!("the log has failed: {why}"));
        End::Failed(why)
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(BACKOFF_MAX);
        now
    }
}
