//! Disks that fail and disks that are full.

use super::super::{Journal, OpenError};
use super::ground::{Found, Owed, TOPICS, group, open, run, segments, start};
use crate::log::conformance::book::{Book, end};
use crate::log::conformance::{ITEM, take_over};
use crate::log::{Frame, Log, LogError, LogWriter};
use greyhound_sdk::testing::power_cut::PowerCut;
use std::sync::Arc;

const GROUPS: usize = 16;

/// An open journal, with what was acknowledged.
struct Running {
    disk: PowerCut,
    log: Arc<Journal>,
    writer: Box<dyn LogWriter>,
    book: Book,
}

impl Running {
    async fn new() -> Self {
        let disk = PowerCut::new();
        let (log, writer) = start(&disk).await;
        Self { disk, log, writer, book: Book::default() }
    }

    async fn append(&mut self, groups: std::ops::Range<usize>) {
        for at in groups {
            let group = group(&mut self.book, at);
            self.persist(group).await;
        }
    }

    /// Appends as the bus does: as often as it takes. Returns how often that was.
    async fn persist(&mut self, group: Vec<Frame>) -> usize {
        let mut rest = group.clone();
        for attempt in 1..20 {
            match self.writer.append(&rest).await {
                Ok(()) => {
                    self.book.acknowledge(&group);
                    self.book.check(&*self.log).await;
                    return attempt;
                }
                Err(LogError::Retry { .. }) => self.book.check(&*self.log).await,
                Err(LogError::Unknown(_)) => {
                    self.writer = take_over(&*self.log).await;
                    rest.retain(|f| end(f) > self.log.bounds(&f.topic).end);
                }
                Err(other) => panic!("{other}"),
            }
        }
        panic!("the journal does not recover");
    }

    /// All is there after the power is cut, and after that life as well.
    async fn check(self, what: &str) {
        for seed in [0, 5, 6] {
            let disk = self.disk.after_power_cut(seed);
            let found = Found::on(&disk).await;
            found.check(&self.book, Owed::All, what);
            assert_eq!(found.lost, [], "{what}: nothing is lost");
            found.go_on(&disk, what).await;
        }
    }
}

#[test]
fn whatever_write_fails_it_can_be_tried_again() {
    run(async {
        for at in 0..GROUPS {
            for failures in 1..4 {
                let mut running = Running::new().await;
                running.append(0..at).await;
                running.disk.fail_writes(failures);
                let group = group(&mut running.book, at);
                assert_eq!(running.persist(group).await, 1 + usize::try_from(failures).unwrap());
                running.append(at + 1..GROUPS).await;
                running.check(&format!("{failures} writes fail at group {at}")).await;
            }
        }
    });
}

#[test]
fn whatever_sync_fails_what_it_was_for_is_written_again() {
    run(async {
        for at in 0..GROUPS {
            for failures in 1..4 {
                let mut running = Running::new().await;
                running.append(0..at).await;
                running.disk.fail_syncs(failures);
                let group = group(&mut running.book, at);
                assert!(running.persist(group).await > 1);
                running.append(at + 1..GROUPS).await;
                running.check(&format!("{failures} syncs fail at group {at}")).await;
            }
        }
    });
}

#[test]
fn a_process_that_ends_after_a_failure_leaves_a_journal_that_goes_on() {
    run(async {
        for at in 0..GROUPS {
            for fails in
                [PowerCut::fail_writes, PowerCut::fail_syncs, |disk: &PowerCut, _| disk.set_capacity(Some(disk.used()))]
            {
                for cut in [|disk: &PowerCut| disk.after_kill(), |disk: &PowerCut| disk.after_power_cut(3)] {
                    let mut running = Running::new().await;
                    running.append(0..at).await;
                    fails(&running.disk, 2);
                    let group = [running.book.rows(ITEM, 2, 5_000_000)];
                    assert!(matches!(running.writer.append(&group).await, Err(LogError::Retry { .. })));
                    assert!(matches!(running.writer.append(&group).await, Err(LogError::Retry { .. })));
                    let disk = cut(&running.disk);
                    let found = Found::on(&disk).await;
                    let what = format!("the end comes after group {at}");
                    let mut book = running.book.clone();
                    if found.log.bounds(ITEM).end > book.end(ITEM) {
                        book.acknowledge(&group);
                    }
                    found.check(&book, Owed::All, &what);
                    assert_eq!(found.lost, [], "{what}: nothing is lost");
                    found.go_on(&disk, &what).await;
                }
            }
        }
    });
}

/// Lets the disk have no room for another group.
async fn fill_up(running: &mut Running) {
    running.disk.set_capacity(Some(running.disk.used()));
    loop {
        let group = vec![running.book.rows(ITEM, 1, 200_000)];
        match running.writer.append(&group).await {
            Ok(()) => running.book.acknowledge(&group),
            Err(LogError::Retry { full: true, .. }) => break running.book.go_on_at(ITEM, group[0].first),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn use_reserve(running: &mut Running) {
    let group = [running.book.rows(ITEM, 1, 20_000), running.book.hole(TOPICS[0], 4)];
    running.writer.append_reserved(&group).await.unwrap();
    running.book.acknowledge(&group);
    running.book.check(&*running.log).await;
}

#[test]
fn a_full_disk_takes_what_tells_of_gaps_and_goes_on_once_there_is_room() {
    run(async {
        let mut running = Running::new().await;
        for at in 0..3 {
            running.append(5 * at..5 * at + 5).await;
            fill_up(&mut running).await;
            for _ in 0..10 {
                use_reserve(&mut running).await;
                let group = [running.book.clone().rows(ITEM, 1, 200_000)];
                assert!(matches!(running.writer.append(&group).await, Err(LogError::Retry { full: true, .. })));
            }
            running.disk.set_capacity(None);
        }
        running.append(15..20).await;
        running.check("a full disk").await;
    });
}

#[test]
fn a_journal_opens_on_a_full_disk_and_takes_a_writer() {
    run(async {
        let mut running = Running::new().await;
        running.append(0..5).await;
        fill_up(&mut running).await;
        let disk = running.disk.after_kill();
        disk.set_capacity(Some(disk.used()));
        drop(running.log);
        let log = open(&disk);
        running.book.check(&*log).await;
        let writer = take_over(&*log).await;
        disk.set_capacity(None);
        Running { disk, log, writer, book: running.book }.check("opened on a full disk").await;
    });
}

#[test]
fn a_journal_is_opened_by_one_and_the_other_is_told_by_whom() {
    let disk = PowerCut::new();
    let first = open(&disk);
    let error = super::ground::open_at(&disk, super::super::Level::Memory).err().unwrap();
    assert!(matches!(&error, OpenError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    open(&disk);
}

#[test]
fn segments_begin_when_nothing_more_can_be_opened() {
    run(async {
        let mut running = Running::new().await;
        running.append(0..2).await;
        let before = segments(&running.disk).len();
        running.disk.use_up_descriptors(true);
        for at in 2.. {
            let group = group(&mut running.book, at);
            running.writer.append(&group).await.expect("it needs no new descriptor");
            running.book.acknowledge(&group);
            if segments(&running.disk).len() > before {
                break;
            }
        }
        running.disk.use_up_descriptors(false);
        running.append(20..30).await;
        running.check("descriptors were used up").await;
    });
}
