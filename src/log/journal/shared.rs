//! The state that readers, the writer and the sync thread share.

use super::active::{Active, NextSegment};
use super::damage::Damage;
use super::hints::Hints;
use super::metrics;
use super::options::SyncPolicy;
use super::schemas::Schemas;
use super::view::View;
use greyhound_sdk::fs::{Directory, SharedFs};
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use tokio::sync::watch;

/// The state that readers, the writer and the sync thread share.
pub(super) struct Shared {
    pub(super) fs: SharedFs,
    pub(super) dir: PathBuf,
    /// The same directory, open, so that a segment can begin when no further file can be opened.
    pub(super) directory: Box<dyn Directory>,
    pub(super) sync: SyncPolicy,
    pub(super) segment_size: u64,
    pub(super) view: RwLock<View>,
    pub(super) tail: Mutex<Tail>,
    pub(super) schemas: RwLock<Schemas>,
    pub(super) damage: Mutex<Damage>,
    pub(super) hints: Mutex<Hints>,
    pub(super) changes: watch::Sender<u64>,
}

/// The end of the journal, to which it appends.
#[derive(Default)]
pub(super) struct Tail {
    /// The epoch of the only writer that may append; earlier ones are fenced.
    pub(super) epoch: u64,
    /// The segment that is being written; if `None`, the next append begins one.
    pub(super) active: Option<Active>,
    /// The file of the next segment.
    pub(super) next: Option<NextSegment>,
}

// === impl Shared ===

impl Shared {
    /// Updates the metrics of the journal's size.
    pub(super) fn measure(&self) {
        let view = self.view.read();
        ::metrics::gauge!(metrics::SIZE_BYTES).set(view.size() as f64);
        ::metrics::gauge!(metrics::SEGMENTS).set(view.segments.len() as f64);
    }
}
