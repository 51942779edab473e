//! Creates the log and the options of the bus from the configuration.

use super::RunError;
use crate::bus::BusOptions;
use crate::config::{Level, Settings};
use crate::log::journal::{Journal, Options, SyncPolicy};
use crate::log::{Log, Retention};
use greyhound_sdk::Health;
use greyhound_sdk::fs::{FileSystem, OsFileSystem};
use std::sync::Arc;

/// Opens the journal on a blocking thread.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn Log>, RunError> {
    let data_dir = settings.node.data_dir.clone();
    OsFileSystem
        .create_dir_all(&data_dir)
        .map_err(|e| RunError::DataDir { path: data_dir.clone(), why: e.to_string() })?;
    let options = Options {
        node: settings.node.name.clone(),
        sync: match settings.log.durability {
            Level::Fsync => SyncPolicy::Fsync,
            Level::Interval => SyncPolicy::Interval(settings.log.interval),
            Level::Memory => SyncPolicy::Memory,
        },
        segment_size: settings.log.segment_size.as_u64(),
    };
    let opened =
        tokio::task::spawn_blocking(move || Journal::open(Arc::new(OsFileSystem), &data_dir.join("journal"), options))
            .await;
    let journal = opened.map_err(|e| RunError::Log(e.to_string()))?.map_err(|e| RunError::Log(e.to_string()))?;
    Ok(journal)
}

/// Returns the options of the bus.
pub(super) fn bus_options(settings: &Settings, health: &Health) -> BusOptions {
    let retention = Retention {
        bytes: settings.log.retention.bytes.as_u64(),
        age: settings.log.retention.age,
        disk_cap: settings.log.disk_cap.as_u64(),
    };
    let cursors = settings.node.data_dir.join("cursors");
    let mut options = BusOptions::new(Arc::new(OsFileSystem), cursors, retention, health.of("bus"));
    options.queue_bytes = usize::try_from(settings.log.queue.as_u64()).unwrap_or(usize::MAX);
    options
}
