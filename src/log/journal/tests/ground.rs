//! A journal on a disk in memory, and what became of it.

use super::super::{Journal, Level, OpenError, Options};
use crate::log::conformance::book::{Book, assert_same, end, read_all, stored};
use crate::log::conformance::{ITEM, ORDER, take_over};
use crate::log::{Body, Frame, Log, LogWriter, Lost, Stored};
use greyhound_sdk::testing::power_cut::PowerCut;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const TOPICS: [&str; 2] = [ORDER, ITEM];
/// A few groups fit.
const SEGMENT: u64 = 2_000;

pub(super) fn open_at(disk: &PowerCut, level: Level) -> Result<Arc<Journal>, OpenError> {
    let options = Options { node: "test".to_owned(), level, segment_size: SEGMENT };
    Journal::open(Arc::new(disk.clone()), Path::new("/journal"), options)
}

pub(super) fn open(disk: &PowerCut) -> Arc<Journal> {
    open_at(disk, Level::Fsync).expect("the journal opens")
}

pub(super) async fn start(disk: &PowerCut) -> (Arc<Journal>, Box<dyn LogWriter>) {
    let log = open(disk);
    let writer = take_over(&*log).await;
    (log, writer)
}

/// The next groups: several topics, a hole in some.
pub(super) fn group(book: &mut Book, at: usize) -> Vec<Frame> {
    let mut group = vec![book.rows(ORDER, 2, 90 + 13 * (at % 5)), book.rows(ITEM, 1, 20 + at % 8)];
    if at % 3 == 1 {
        group.push(book.hole(ORDER, 3));
    }
    group.push(book.rows(ITEM, 3, 70));
    group
}

/// A journal of some ten segments.
pub(super) async fn written(closed: bool) -> (PowerCut, Book) {
    let (disk, mut book) = (PowerCut::new(), Book::default());
    let (_log, mut writer) = start(&disk).await;
    for at in 0..30 {
        let group = group(&mut book, at);
        book.append(&mut *writer, group).await;
        if at % 4 == 2 {
            book.tell_floor(&mut *writer).await;
        }
    }
    if closed {
        writer.close().await.unwrap();
    }
    (disk, book)
}

/// The journal's segments, oldest first.
pub(super) fn segments(disk: &PowerCut) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// What a journal gives back.
pub(super) struct Found {
    pub log: Arc<Journal>,
    pub rows: [Vec<Stored>; 2],
    pub lost: Vec<Lost>,
}

/// How much of what was acknowledged a journal owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    /// All, or the word that it is lost.
    All,
    /// All but the frames from this one on, of which any number may be cut off without a word.
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

    fn is_told(&self, topic: &str, range: (u64, u64)) -> bool {
        let covers = |(first, last): (u64, u64)| first <= range.0 && range.1 <= last;
        self.lost.iter().any(|l| l.topic.as_deref().is_none_or(|t| t == topic) && l.range.is_none_or(covers))
    }

    /// Holds it to its word: no wrong row, no row twice, nothing lost in silence, nothing told lost that is there,
    /// no number given again.
    pub fn check(&self, book: &Book, owed: Owed, what: &str) {
        for topic in TOPICS {
            let all = book.stored(topic, 0);
            let found: Vec<Stored> = all.iter().filter(|s| self.has(topic, s.frame.first)).cloned().collect();
            assert_eq!(
                found.len(),
                self.of(topic).len(),
                "{what}: as many {topic} frames as were appended and are there"
            );
            assert_same(self.of(topic), &found);
            for there in &found {
                let (first, last) = (there.frame.first, end(&there.frame) - 1);
                let told = self
                    .lost
                    .iter()
                    .any(|l| l.topic.as_deref() == Some(topic) && l.range.is_some_and(|r| r.0 <= last && first <= r.1));
                assert!(!told, "{what}: {topic} {first} is there and told lost: {:?}", self.lost);
            }
        }
        self.check_missing(book, owed, what);
    }

    fn check_missing(&self, book: &Book, owed: Owed, what: &str) {
        let mut cut = false;
        for (at, frame) in book.frames.iter().enumerate() {
            let (topic, range) = (&*frame.topic, (frame.first, end(frame) - 1));
            let told = self.is_told(topic, range);
            let is_kept_hole = frame.body == Body::Hole && !told && self.log.bounds(topic).end > range.1;
            let there = self.has(topic, frame.first) || is_kept_hole;
            let may_be_cut = owed != Owed::All && !matches!(owed, Owed::Before(from) if at < from);
            if !there && !told {
                assert!(may_be_cut, "{what}: {topic} {range:?} is lost in silence; told: {:?}", self.lost);
                cut = true;
            }
            assert!(!(cut && there), "{what}: {topic} {range:?} is there without a frame before it");
            assert!(
                may_be_cut || self.log.bounds(topic).end > range.1,
                "{what}: {topic} {range:?} would be given again"
            );
        }
    }

    /// Goes on appending, and opens it twice more: what was found stays, what was told is not told again.
    pub async fn go_on(self, disk: &PowerCut, what: &str) {
        let Self { log, rows, .. } = self;
        let (mut more, mut expected) = (Book::default(), rows);
        while more.now() < log.recovery().floor {
            more.tick();
        }
        for (topic, rows) in TOPICS.iter().zip(&mut expected) {
            more.go_on_at(topic, log.bounds(topic).end);
            rows.extend(stored(&more.rows(topic, 4, 300)));
        }
        let mut writer = take_over(&*log).await;
        let group: Vec<_> = expected.iter().filter_map(|rows| rows.last()).map(|s| s.frame.clone()).collect();
        more.append(&mut *writer, group).await;
        drop((writer, log));
        for _ in 0..2 {
            let again = Found::on(disk).await;
            assert_eq!(again.lost, [], "{what}: it is told once");
            again.rows.iter().zip(&expected).for_each(|(is, must)| assert_same(is, must));
            take_over(&*again.log).await.close().await.unwrap();
        }
    }
}
