//! A journal on a disk in memory, and checks of what it holds.

use super::super::{Journal, OpenError, Options, SyncPolicy};
use crate::log::conformance::history::{History, assert_same, end, read_all, stored};
use crate::log::conformance::{ITEM, ORDER, take_over};
use crate::log::{Body, Frame, Log, LogWriter, Lost, Stored};
use greyhound_sdk::testing::power_cut::PowerCut;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const TOPICS: [&str; 2] = [ORDER, ITEM];
/// Large enough for a few groups.
const SEGMENT_BYTES: u64 = 2_000;

pub(super) fn open_at(disk: &PowerCut, sync: SyncPolicy) -> Result<Arc<Journal>, OpenError> {
    let options = Options { node: "test".to_owned(), sync, segment_size: SEGMENT_BYTES };
    Journal::open(Arc::new(disk.clone()), Path::new("/journal"), options)
}

pub(super) fn open(disk: &PowerCut) -> Arc<Journal> {
    open_at(disk, SyncPolicy::Fsync).expect("the journal opens")
}

pub(super) async fn start(disk: &PowerCut) -> (Arc<Journal>, Box<dyn LogWriter>) {
    let log = open(disk);
    let writer = take_over(&*log).await;
    (log, writer)
}

/// Returns the next group: several topics, some with a hole.
pub(super) fn group(history: &mut History, at: usize) -> Vec<Frame> {
    let mut group = vec![history.rows(ORDER, 2, 90 + 13 * (at % 5)), history.rows(ITEM, 1, 20 + at % 8)];
    if at % 3 == 1 {
        group.push(history.hole(ORDER, 3));
    }
    group.push(history.rows(ITEM, 3, 70));
    group
}

/// Returns a journal of about ten segments.
pub(super) async fn written(closed: bool) -> (PowerCut, History) {
    let (disk, mut history) = (PowerCut::new(), History::default());
    let (_log, mut writer) = start(&disk).await;
    for at in 0..30 {
        let group = group(&mut history, at);
        history.append(&mut *writer, group).await;
        if at % 4 == 2 {
            history.append_floor(&mut *writer).await;
        }
    }
    if closed {
        writer.close().await.unwrap();
    }
    (disk, history)
}

/// Returns the paths of the journal's segments, oldest first.
pub(super) fn segments(disk: &PowerCut) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// What a journal returns.
pub(super) struct Found {
    pub log: Arc<Journal>,
    pub rows: [Vec<Stored>; 2],
    pub lost: Vec<Lost>,
}

/// Which acknowledged frames a journal must return, or report as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    /// All frames.
    All,
    /// The frames before this one. Any number of later frames may be cut off unreported.
    Before(usize),
}

impl Found {
    pub async fn on(disk: &PowerCut) -> Self {
        let log = open(disk);
        let from = |topic| log.bounds(topic).earliest;
        let rows = [read_all(&*log, ORDER, from(ORDER)).await, read_all(&*log, ITEM, from(ITEM)).await];
        let lost = [log.recovery().damage.clone(), log.damage()].concat();
        Self { log, rows, lost }
    }

    fn has(&self, topic: &str, first: u64) -> bool {
        self.of(topic).iter().any(|s| s.frame.first == first)
    }

    fn of(&self, topic: &str) -> &[Stored] {
        &self.rows[usize::from(topic == ITEM)]
    }

    fn is_reported(&self, topic: &str, range: (u64, u64)) -> bool {
        let covers = |(first, last): (u64, u64)| first <= range.0 && range.1 <= last;
        self.lost.iter().any(|l| l.topic.as_deref().is_none_or(|t| t == topic) && l.range.is_none_or(covers))
    }

    /// Checks that no row is wrong or duplicated, that lost rows are reported and others are not, and that no number is
    /// reused.
    pub fn check(&self, history: &History, owed: Owed, what: &str) {
        for topic in TOPICS {
            let all = history.stored(topic, 0);
            let found: Vec<Stored> = all.iter().filter(|s| self.has(topic, s.frame.first)).cloned().collect();
            assert_eq!(found.len(), self.of(topic).len(), "{what}: all {topic} frames found were appended");
            assert_same(self.of(topic), &found);
            for there in &found {
                let (first, last) = (there.frame.first, end(&there.frame) - 1);
                let reported = self
                    .lost
                    .iter()
                    .any(|l| l.topic.as_deref() == Some(topic) && l.range.is_some_and(|r| r.0 <= last && first <= r.1));
                assert!(!reported, "{what}: {topic} {first} exists but is reported lost: {:?}", self.lost);
            }
        }
        self.check_missing(history, owed, what);
    }

    fn check_missing(&self, history: &History, owed: Owed, what: &str) {
        let mut cut = false;
        for (at, frame) in history.frames.iter().enumerate() {
            let (topic, range) = (&*frame.topic, (frame.first, end(frame) - 1));
            let reported = self.is_reported(topic, range);
            let is_kept_hole = frame.body == Body::Hole && !reported && self.log.bounds(topic).end > range.1;
            let there = self.has(topic, frame.first) || is_kept_hole;
            let may_be_cut = owed != Owed::All && !matches!(owed, Owed::Before(from) if at < from);
            if !there && !reported {
                assert!(may_be_cut, "{what}: {topic} {range:?} is lost but not reported: {:?}", self.lost);
                cut = true;
            }
            assert!(!(cut && there), "{what}: {topic} {range:?} exists without an earlier frame");
            assert!(may_be_cut || self.log.bounds(topic).end > range.1, "{what}: {topic} {range:?} would be reused");
        }
    }

    /// Appends more rows, and opens the journal twice more: found rows stay, reported damage is not reported again.
    pub async fn continue_and_reopen(self, disk: &PowerCut, what: &str) {
        let Self { log, rows, .. } = self;
        let (mut more, mut expected) = (History::default(), rows);
        while more.now() < log.recovery().floor {
            more.tick();
        }
        for (topic, rows) in TOPICS.iter().zip(&mut expected) {
            more.continue_at(topic, log.bounds(topic).end);
            rows.extend(stored(&more.rows(topic, 4, 300)));
        }
        let mut writer = take_over(&*log).await;
        let group: Vec<_> = expected.iter().filter_map(|rows| rows.last()).map(|s| s.frame.clone()).collect();
        more.append(&mut *writer, group).await;
        drop((writer, log));
        for _ in 0..2 {
            let again = Found::on(disk).await;
            assert_eq!(again.lost, [], "{what}: it is reported once");
            again.rows.iter().zip(&expected).for_each(|(is, must)| assert_same(is, must));
            take_over(&*again.log).await.close().await.unwrap();
        }
    }
}
