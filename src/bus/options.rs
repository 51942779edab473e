//! The settings of the bus.

use super::clock::Clock;
use crate::log::Retention;
use greyhound_sdk::Health;
use greyhound_sdk::fs::SharedFs;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of the bus; see [`BusOptions::new`] for the defaults.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// Memory limit for rows that are not yet durable. Further rows are shed, and a gap is recorded.
    pub queue_bytes: usize,
    /// How long a row may wait for others to be written with, if no task waits for it.
    pub linger: Duration,
    /// How often the floor is written while nothing is published.
    pub floor_interval: Duration,
    /// When rows may be deleted.
    pub retention: Retention,
    /// How often retention runs.
    pub retention_interval: Duration,
    /// The file layer for the cursors.
    pub fs: SharedFs,
    /// The directory of the cursors; created if it is missing.
    pub cursors_dir: PathBuf,
    /// The source of append times.
    pub clock: Clock,
    /// Reports the bus's readiness on `/readyz`; its parts are `log` and `clock`.
    pub health: Health,
}

impl BusOptions {
    /// The defaults.
    #[must_use]
    pub fn new(fs: SharedFs, cursors_dir: PathBuf, retention: Retention, health: Health) -> Self {
        Self {
            queue_bytes: 64 << 20,
            linger: Duration::from_millis(10),
            floor_interval: Duration::from_secs(5),
            retention,
            retention_interval: Duration::from_secs(10),
            fs,
            cursors_dir,
            clock: Clock::system(),
            health,
        }
    }
}
