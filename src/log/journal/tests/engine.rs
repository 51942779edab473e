//! The conformance suite, at each level, over kills; at `fsync` over power cuts as well.

use super::super::{Journal, Level, Options};
use crate::log::Log;
use crate::log::conformance::{Engine, conformance};
use async_trait::async_trait;
use greyhound_sdk::fs::{OsFileSystem, SharedFs};
use greyhound_sdk::testing::power_cut::PowerCut;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

fn options(level: Level) -> Options {
    Options { node: "test".to_owned(), level, segment_size: 16 << 10 }
}

/// On real files. A killed process leaves them as they are.
struct Files {
    dir: TempDir,
    level: Level,
}

impl Files {
    fn new(level: Level) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), level }
    }
}

#[async_trait]
impl Engine for Files {
    async fn open(&self) -> Arc<dyn Log> {
        Journal::open(Arc::new(OsFileSystem), &self.dir.path().join("journal"), options(self.level)).unwrap()
    }

    async fn crash(&self) {}
}

/// On a disk that loses what was not synced, or a part of it.
struct Cut {
    disk: Mutex<PowerCut>,
    seed: u64,
}

impl Cut {
    fn new(seed: u64) -> Self {
        Self { disk: Mutex::new(PowerCut::new()), seed }
    }
}

#[async_trait]
impl Engine for Cut {
    async fn open(&self) -> Arc<dyn Log> {
        let fs: SharedFs = Arc::new(self.disk.lock().clone());
        Journal::open(fs, Path::new("/journal"), options(Level::Fsync)).unwrap()
    }

    async fn crash(&self) {
        let mut disk = self.disk.lock();
        *disk = disk.after_power_cut(self.seed);
    }
}

mod fsync {
    use super::*;
    conformance!(Files::new(Level::Fsync));
}

mod interval {
    use super::*;
    conformance!(Files::new(Level::Interval(Duration::from_millis(5))));
}

mod memory {
    use super::*;
    conformance!(Files::new(Level::Memory));
}

mod power_cut {
    use super::*;
    conformance!(Cut::new(0));
}

mod torn_power_cut {
    use super::*;
    conformance!(Cut::new(17));
}
