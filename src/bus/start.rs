//! Starts the bus: checks the log's schemas against the declared ones, and records lost rows.

use super::consume::Watchers;
use super::core::Core;
use super::cursors::{BadCursors, Cursors};
use super::gap::{Gap, Reason, gap_schema};
use super::group::GroupBuilder;
use super::inner::Inner;
use super::metrics;
use super::options::BusOptions;
use super::queue::Queue;
use super::topic::Topic;
use super::writer_thread::WriterThread;
use crate::log::{Log, LogError, LogWriter, Lost};
use greyhound_sdk::sql::table_name;
use greyhound_sdk::{SchemaError, TopicSchema};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Why the bus cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two plugins declare the same topic, or one declares `greyhound.gap`.
    #[error("topic {0} is declared twice; rename one of the two")]
    DuplicateTopic(String),
    /// Two different topics have the same table name.
    #[error(
        "the topics {0} and {1} would have the same table, because engines ignore case and a dot becomes `_`; rename one of them"
    )]
    SharedTable(String, String),
    /// A declared schema does not fit the rows in the log.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A schema stored in the log cannot be read.
    #[error(
        "the log's copy of an older schema of {topic} is damaged ({why}): restore it from a backup; without it, the rows written with it cannot be read"
    )]
    DamagedSchema {
        /// The topic.
        topic: String,
        /// The cause.
        why: String,
    },
    /// No rows can be built for a schema.
    #[error("schema {topic}: cannot build rows for it: {why}")]
    Rows {
        /// The topic.
        topic: String,
        /// The cause.
        why: String,
    },
    /// The cursors cannot be read.
    #[error(transparent)]
    Cursors(#[from] BadCursors),
    /// The log accepts no writer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operating system refuses a thread.
    #[error("cannot start the bus's thread: {0}")]
    Thread(io::Error),
}

pub(super) async fn start(
    log: Arc<dyn Log>,
    topics: Vec<TopicSchema>,
    options: BusOptions,
) -> Result<Inner, StartError> {
    metrics::describe();
    let schemas = declared(topics)?;
    check_against(&*log, &schemas)?;
    let writer = take_over(&*log, &schemas).await?;
    let cursors = open_cursors(&*log, &options).await?;
    let topics: Vec<_> = schemas.into_iter().map(|s| Arc::new(topic(&*log, s))).collect();
    let rows = |e: serde_arrow::Error| StartError::Rows { topic: "?".to_owned(), why: e.to_string() };
    let mut queue = Queue::new(&topics, options.queue_bytes, log.recovery().floor).map_err(rows)?;
    let group_builder = GroupBuilder::new(topics.clone()).map_err(rows)?;
    skip_lost_numbers(&mut queue, &topics, &cursors);
    let core = Arc::new(Core::new(log, topics, queue, options.clock, options.health));
    record_recovery(&core);
    record_deleted(&core, &cursors);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let writer =
        WriterThread::new(core.clone(), group_builder, writer, runtime, options.linger, options.floor_interval);
    std::thread::Builder::new()
        .name("bus-writer".to_owned())
        .spawn(|| writer.run_to_end())
        .map_err(StartError::Thread)?;
    let schemas = core.topics.iter().map(|t| t.schema.clone()).collect();
    Ok(Inner { core, schemas, cursors, watchers: Watchers::default(), retention: options.retention })
}

fn declared(mut topics: Vec<TopicSchema>) -> Result<Vec<TopicSchema>, StartError> {
    topics.push(gap_schema());
    let mut tables = HashMap::new();
    for name in topics.iter().map(TopicSchema::name) {
        match tables.insert(table_name(name).to_ascii_lowercase(), name) {
            Some(other) if other == name => return Err(StartError::DuplicateTopic(name.to_owned())),
            Some(other) => return Err(StartError::SharedTable(other.to_owned(), name.to_owned())),
            None => {}
        }
    }
    Ok(topics)
}

/// Checks that each topic's present schema is compatible with every schema whose rows the log holds.
fn check_against(log: &dyn Log, schemas: &[TopicSchema]) -> Result<(), StartError> {
    for schema in schemas {
        for old in log.schemas(schema.name()) {
            let unreadable =
                |why: SchemaError| StartError::DamagedSchema { topic: schema.name().to_owned(), why: why.to_string() };
            schema.check_successor_of(&TopicSchema::from_avro(&old).map_err(unreadable)?)?;
        }
    }
    Ok(())
}

async fn take_over(log: &dyn Log, schemas: &[TopicSchema]) -> Result<Box<dyn LogWriter>, LogError> {
    let mut writer = log.writer().await?;
    for schema in schemas {
        writer.register(schema.name(), schema.fingerprint(), schema.avro()).await?;
    }
    Ok(writer)
}

async fn open_cursors(log: &dyn Log, options: &BusOptions) -> Result<Arc<Cursors>, StartError> {
    let (fs, dir, shard) = (options.fs.clone(), options.cursors_dir.clone(), log.shard().clone());
    let opened = tokio::task::spawn_blocking(move || Cursors::open(fs, &dir, &shard)).await;
    Ok(Arc::new(opened.map_err(|e| StartError::Thread(io::Error::other(e)))??))
}

fn topic(log: &dyn Log, schema: TopicSchema) -> Topic {
    let end = log.bounds(schema.name()).end;
    Topic::new(schema, end)
}

/// Skips the numbers of rows that a consumer has committed but the log no longer holds. Below the level `fsync`, a
/// power cut can cause this. Numbers must not be assigned twice: the consumer would miss the new rows, and its output
/// would hold two rows with one number.
fn skip_lost_numbers(queue: &mut Queue, topics: &[Arc<Topic>], cursors: &Cursors) {
    for (consumer, name, next) in cursors.all() {
        let Some(at) = topics.iter().position(|t| *t.name == *name) else { continue };
        if let Some(lost) = next.checked_sub(queue.next(at)).filter(|lost| *lost > 0) {
            tracing::warn!(
                consumer,
                topic = name,
                lost,
                "consumed rows are no longer in the log; their numbers are skipped"
            );
            queue.shed(at, lost, Reason::UncleanStop);
        }
    }
}

/// Records the losses that were found when the log was opened.
fn record_recovery(core: &Core) {
    let recovery = core.log.recovery();
    if !recovery.clean && !recovery.new {
        tracing::warn!("the last process did not close the log; rows that it accepted but did not write are lost");
        core.record([Gap::unclean_stop(recovery.floor, core.clock.now().max(recovery.floor))]);
    }
    core.record_lost(&recovery.damage, Reason::Damage);
}

/// Records rows that retention deleted before a consumer had read them, if the last process ended before it recorded
/// their gap.
fn record_deleted(core: &Core, cursors: &Cursors) {
    for (consumer, topic, next) in cursors.all() {
        let bounds = core.log.bounds(&topic);
        if next < bounds.earliest {
            tracing::warn!(
                consumer,
                topic,
                next,
                earliest = bounds.earliest,
                "rows were deleted before they were consumed"
            );
            let lost =
                Lost { topic: Some(topic.into()), range: Some((next, bounds.earliest - 1)), from: 0, to: bounds.floor };
            core.record_lost(&[lost], Reason::Retention);
        }
    }
}
