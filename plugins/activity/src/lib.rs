//! Greyhound's sink: every topic of the bus into Parquet tables, exactly once.
//!
//! Generic over topics: it reads schemas and batches from the bus and knows nobody's topics. A table is
//! `<store>/<topic>/dt=YYYY-MM-DD/hour=HH/shard=<shard>/<first row>.parquet`, by the time of append (UTC): one
//! writer a directory, one contiguous range of numbers a file, and a `_SUCCESS` once an hour is complete.

mod age;
mod committer;
mod compact;
mod config;
pub mod ddl;
pub mod encode;
mod failpoint;
mod find;
mod hours;
mod layout;
mod metrics;
mod quarantine;
mod read;
mod record;
pub mod repair;
mod repair_api;
mod retention;
mod retry;
pub mod roll_policy;
mod sink;
pub mod store;
mod success;
mod table;
mod value_digests;
pub mod verify;

use async_trait::async_trait;
use compact::Compactor;
pub use config::Config;
use greyhound_sdk::config::Problems;
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::paths;
use greyhound_sdk::{Check, Component, Context, Error, Plugin, SchemaError, TopicSchema};
use repair_api::RunningTables;
use sink::Sink;
use std::path::Path;
use std::sync::Arc;
use store::hdfs::HdfsStore;
use store::local::LocalStore;
use store::{Location, Probe, check};
use table::Tables;

#[cfg(test)]
mod tests;

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
        // Here, because the admin listener answers before the tables run.
        for topic in context.bus.topics() {
            context.health.of(topic.name()).not_ready("the store has not answered yet");
        }
        let tables = Tables {
            bus: context.bus,
            store,
            compactor,
            policy: config.policy(),
            encodings: config.encoding,
            running: RunningTables::of_process(),
        };
        Ok(Box::new(Sink { tables, health: context.health, shown }))
    }
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
