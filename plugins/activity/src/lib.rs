//! Greyhound's sink: every topic of the bus into Parquet tables, exactly once.
//!
//! Generic over topics: it reads schemas and batches from the bus and knows nobody's topics. A table is
//! `<store>/<topic>/dt=YYYY-MM-DD/hour=HH/shard=<shard>/<first row>.parquet`, by the time of append (UTC): one
//! writer a directory, one contiguous range of numbers a file, and a `_SUCCESS` once an hour is complete.

mod age;
mod aside;
pub mod commit;
pub mod compact;
pub mod config;
pub mod ddl;
pub mod desk;
pub mod encode;
mod failpoint;
pub mod hours;
pub mod metrics;
mod read;
pub mod record;
pub mod repair;
pub mod retention;
mod retry;
pub mod roll;
pub mod store;
pub mod table;
pub mod values;
pub mod verify;

use age::Oldest;
use async_trait::async_trait;
use compact::Compactor;
pub use config::Config;
use desk::Desk;
use greyhound_sdk::config::Problems;
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::paths;
use greyhound_sdk::{Check, Component, Context, Drain, Error, Health, Plugin, SchemaError, Start, TopicSchema};
use record::SINK_TOPIC;
use roll::Policy;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::hdfs::HdfsStore;
use store::local::LocalStore;
use store::{Location, Probe, check};
use table::{Stop, Table, Tables};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

#[cfg(test)]
mod tests;

/// The consumer whose cursors say what is committed.
const CONSUMER: &str = "activity";
/// How long a table that failed stays down: at first, and at the most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// How often it is looked whether a stranger's file is gone.
const LOOK: Duration = Duration::from_secs(5);
/// What a commit may take of the time that freshness leaves.
const COMMIT_TIME: Duration = Duration::from_secs(5);

/// The plugin.
#[derive(Debug, Default, Clone, Copy)]
pub struct Activity;

#[async_trait]
impl Plugin for Activity {
    type Config = Config;

    fn name(&self) -> &'static str {
        "activity"
    }

    fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        Ok(vec![record::schema()?])
    }

    fn validate(&self, config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    async fn inspect(&self, config: &Config, _: &Path, problems: &mut Problems) {
        let looked = match config.store.parse() {
            Ok(Location::Local(path)) => paths::check_directory(&path),
            Ok(Location::Hdfs(location)) => HdfsStore::look(location, &config.hdfs).await.map_err(|e| e.to_string()),
            Err(_) => return,
        };
        if let Err(why) = looked {
            problems.report("store", why);
        }
    }

    async fn check(&self, config: &Config) -> Vec<Check> {
        match open(config).await {
            Ok((store, _)) => check::all(store.as_ref(), config.file_size).await,
            Err(e) => check::not_opened(e.as_ref()),
        }
    }

    async fn build(&self, config: Config, context: Context) -> Result<Box<dyn Component>, Error> {
        metrics::describe();
        let (store, shown) = open(&config).await?;
        let compactor =
            Compactor::new(store.clone(), config.file_size.as_u64(), config.retention).encoding(config.encoding);
        let tables = Tables {
            bus: context.bus,
            store,
            compactor,
            policy: config.policy(),
            encodings: config.encoding,
            desk: Desk::of_process(),
        };
        Ok(Box::new(Sink { tables, health: context.health, shown }))
    }
}

struct Sink {
    tables: Tables,
    health: Health,
    /// Where the tables are, for people.
    shown: String,
}

/// Opens the configured store, and tells where it is, for people. One that cannot be reached yet is opened all the
/// same.
///
/// # Errors
/// Where the configuration makes no sense.
pub async fn open(config: &Config) -> Result<(Arc<dyn Probe>, String), Error> {
    Ok(match config.store.parse()? {
        Location::Local(path) => {
            let root = std::path::absolute(path)?;
            (Arc::new(LocalStore::new(Arc::new(OsFileSystem), &root)), root.display().to_string())
        }
        Location::Hdfs(location) => (Arc::new(HdfsStore::open(location, &config.hdfs).await?), config.store.clone()),
    })
}

#[async_trait]
impl Component for Sink {
    fn routes(&mut self) -> axum::Router {
        self.tables.desk.routes()
    }

    fn announce(&self) -> Vec<(String, String)> {
        vec![("tables".into(), self.shown.clone())]
    }

    async fn run(self: Box<Self>, mut drain: Drain) -> Result<(), Error> {
        let sink: Arc<Self> = self.into();
        keep_all(&sink, drain.clone()).await?;
        sink.tell_what_is_left().await?;
        // What is being compacted no table waits for any more: it stops after the call of the store that it is at.
        let _ = timeout_at(drain.requested().await, sink.tables.compactor.idle()).await;
        Ok(())
    }
}

impl Sink {
    /// Waits until nothing is at `path`, or until drained.
    async fn wait_until_gone(&self, path: &str, drain: &mut Drain) {
        let gone = async {
            while !matches!(self.tables.store.exists(path).await, Ok(false)) {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = gone => {}
            _ = drain.requested() => {}
        }
    }

    /// Tells what the tables lack in the end.
    async fn tell_what_is_left(&self) -> Result<(), Error> {
        let (mut rows, mut tables) = (0, Vec::new());
        for topic in self.tables.bus.topics() {
            let consumer = self.tables.bus.consumer(CONSUMER, topic.name(), Start::Earliest).await?;
            let left = consumer.bounds().end.saturating_sub(consumer.position().max(consumer.bounds().earliest));
            if left > 0 {
                rows += left;
                tables.push(topic.name().to_owned());
            }
        }
        if rows > 0 {
            let tables = tables.join(", ");
            tracing::warn!(
                rows,
                tables,
                "rows are not in their tables yet; they are in the journal, and go there after the next start, unless /readyz says why not"
            );
        }
        Ok(())
    }
}

impl Config {
    fn policy(&self) -> Policy {
        let age = self.freshness - COMMIT_TIME.min(self.freshness / 2);
        Policy { file_size: usize::try_from(self.file_size.as_u64()).unwrap_or(usize::MAX), age }
    }
}

/// Keeps every table until drained.
async fn keep_all(sink: &Arc<Sink>, mut drain: Drain) -> Result<(), Error> {
    let mut tables = JoinSet::new();
    // The table of what is committed is told to finish when the others have: until then they have something to record.
    let (last, drain_of_last) = Drain::new();
    for topic in sink.tables.bus.topics() {
        let drain = if topic.name() == SINK_TOPIC { &drain_of_last } else { &drain };
        tables.spawn(keep(sink.clone(), topic.name().to_owned(), drain.clone()));
    }
    while let Some(ended) = tables.join_next().await {
        ended??;
        if tables.len() == 1 {
            last.request(drain.requested().await.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Keeps a table, and tells the age of its oldest row.
async fn keep(sink: Arc<Sink>, topic: String, drain: Drain) -> Result<(), Error> {
    let oldest = Oldest::new(&sink.tables.bus, &topic);
    tokio::select! {
        ended = run(sink, topic, drain) => ended,
        never = oldest.tell() => match never {},
    }
}

/// Runs a table, again where it fails; the others are not held up. Where only an operator can help, it stays down until
/// then, and says so.
async fn run(sink: Arc<Sink>, topic: String, mut drain: Drain) -> Result<(), Error> {
    let health = sink.health.of(&topic);
    let mut pause = FIRST_PAUSE;
    health.not_ready("the store has not answered yet");
    loop {
        let stop = match Table::new(&sink.tables, &topic, health.clone(), drain.clone()).await?.run().await {
            Ok(()) | Err(Stop::Drained) => return Ok(()),
            Err(stop) => stop,
        };
        tracing::error!(error = %stop, "the sink of this table stops");
        health.not_ready(stop.to_string());
        if let Stop::Stranger { path, .. } = &stop {
            sink.wait_until_gone(path, &mut drain).await;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
            _ = drain.requested() => return Ok(()),
        }
    }
}
