//! Runs the conformance suite with each sync policy and kills, and with `Fsync` also with power cuts.

use super::super::{Journal, Options, SyncPolicy};
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

fn options(sync: SyncPolicy) -> Options {
    Options { node: "test".to_owned(), sync, segment_size: 16 << 10 }
}

/// A journal in real files, which a kill leaves as they are.
struct Files {
    dir: TempDir,
    sync: SyncPolicy,
}

impl Files {
    fn new(sync: SyncPolicy) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), sync }
    }
}

#[async_trait]
impl Engine for Files {
    async fn open(&self) -> Arc<dyn Log> {
        Journal::open(Arc::new(OsFileSystem), &self.dir.path().join("journal"), options(self.sync)).unwrap()
    }

    async fn crash(&self) {}
}

/// A journal on a disk that loses all or a part of the unsynced data.
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
        Journal::open(fs, Path::new("/journal"), options(SyncPolicy::Fsync)).unwrap()
    }

    async fn crash(&self) {
        let mut disk = self.disk.lock();
        *disk = disk.after_power_cut(self.seed);
    }
}

mod fsync {
    use super::*;
    conformance!(Files::new(SyncPolicy::Fsync));
}

mod interval {
    use super::*;
    conformance!(Files::new(SyncPolicy::Interval(Duration::from_millis(5))));
}

mod memory {
    use super::*;
    conformance!(Files::new(SyncPolicy::Memory));
}

mod power_cut {
    use super::*;
    conformance!(Cut::new(0));
}

mod torn_power_cut {
    use super::*;
    conformance!(Cut::new(17));
}
