//! Failing disks and full disks.

use super::super::{Journal, OpenError};
use super::ground::{Found, Owed, TOPICS, group, open, run, segments, start};
use crate::log::conformance::history::{History, end};
use crate::log::conformance::{ITEM, take_over};
use crate::log::{Frame, Log, LogError, LogWriter};
use greyhound_sdk::testing::power_cut::PowerCut;
use std::sync::Arc;

const GROUPS: usize = 16;

/// An open journal and its acknowledged frames.
struct Running {
    disk: PowerCut,
    log: Arc<Journal>,
    writer: Box<dyn LogWriter>,
    history: History,
}

impl Running {
    async fn new() -> Self {
        let disk = PowerCut::new();
        let (log, writer) = start(&disk).await;
        Self { disk, log, writer, history: History::default() }
    }

    async fn append(&mut self, groups: std::ops::Range<usize>) {
        for at in groups {
            let group = group(&mut self.history, at);
            self.persist(group).await;
        }
    }

    /// Appends a group and retries until it succeeds, like the bus. Returns the number of attempts.
    async fn persist(&mut self, group: Vec<Frame>) -> usize {
        let mut rest = group.clone();
        for attempt in 1..20 {
            match self.writer.append(&rest).await {
                Ok(()) => {
                    self.history.acknowledge(&group);
                    self.history.check(&*self.log).await;
                    return attempt;
                }
                Err(LogError::Retry { .. }) => self.history.check(&*self.log).await,
                Err(LogError::Unknown(_)) => {
                    self.writer = take_over(&*self.log).await;
                    rest.retain(|f| end(f) > self.log.bounds(&f.topic).end);
                }
                Err(other) => panic!("{other}"),
            }
        }
        panic!("the journal does not recover");
    }

    /// Checks that all frames survive a power cut, and another one after more appends.
    async fn check(self, what: &str) {
        for seed in [0, 5, 6] {
            let disk = self.disk.after_power_cut(seed);
            let found = Found::on(&disk).await;
            found.check(&self.history, Owed::All, what);
            assert_eq!(found.lost, [], "{what}: no row is lost");
            found.continue_and_reopen(&disk, what).await;
        }
    }
}

#[test]
fn any_failed_write_can_be_retried() {
    run(async {
        for at in 0..GROUPS {
            for failures in 1..4 {
                let mut running = Running::new().await;
                running.append(0..at).await;
                running.disk.fail_writes(failures);
                let group = group(&mut running.history, at);
                assert_eq!(running.persist(group).await, 1 + usize::try_from(failures).unwrap());
                running.append(at + 1..GROUPS).await;
                running.check(&format!("{failures} writes fail at group {at}")).await;
            }
        }
    });
}

#[test]
fn after_any_failed_sync_its_data_is_written_again() {
    run(async {
        for at in 0..GROUPS {
            for failures in 1..4 {
                let mut running = Running::new().await;
                running.append(0..at).await;
                running.disk.fail_syncs(failures);
                let group = group(&mut running.history, at);
                assert!(running.persist(group).await > 1);
                running.append(at + 1..GROUPS).await;
                running.check(&format!("{failures} syncs fail at group {at}")).await;
            }
        }
    });
}

#[test]
fn a_journal_opens_after_a_process_ended_with_a_failure() {
    run(async {
        for at in 0..GROUPS {
            for fails in
                [PowerCut::fail_writes, PowerCut::fail_syncs, |disk: &PowerCut, _| disk.set_capacity(Some(disk.used()))]
            {
                for cut in [|disk: &PowerCut| disk.after_kill(), |disk: &PowerCut| disk.after_power_cut(3)] {
                    let mut running = Running::new().await;
                    running.append(0..at).await;
                    fails(&running.disk, 2);
                    let group = [running.history.rows(ITEM, 2, 5_000_000)];
                    assert!(matches!(running.writer.append(&group).await, Err(LogError::Retry { .. })));
                    assert!(matches!(running.writer.append(&group).await, Err(LogError::Retry { .. })));
                    let disk = cut(&running.disk);
                    let found = Found::on(&disk).await;
                    let what = format!("the process ends after group {at}");
                    let mut history = running.history.clone();
                    if found.log.bounds(ITEM).end > history.end(ITEM) {
                        history.acknowledge(&group);
                    }
                    found.check(&history, Owed::All, &what);
                    assert_eq!(found.lost, [], "{what}: no row is lost");
                    found.continue_and_reopen(&disk, &what).await;
                }
            }
        }
    });
}

/// Fills the disk until it has no room for another group.
async fn fill_up(running: &mut Running) {
    running.disk.set_capacity(Some(running.disk.used()));
    loop {
        let group = vec![running.history.rows(ITEM, 1, 200_000)];
        match running.writer.append(&group).await {
            Ok(()) => running.history.acknowledge(&group),
            Err(LogError::Retry { full: true, .. }) => break running.history.continue_at(ITEM, group[0].first),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn use_reserve(running: &mut Running) {
    let group = [running.history.rows(ITEM, 1, 20_000), running.history.hole(TOPICS[0], 4)];
    running.writer.append_reserved(&group).await.unwrap();
    running.history.acknowledge(&group);
    running.history.check(&*running.log).await;
}

#[test]
fn a_full_disk_accepts_gaps_and_accepts_rows_again_once_there_is_room() {
    run(async {
        let mut running = Running::new().await;
        for at in 0..3 {
            running.append(5 * at..5 * at + 5).await;
            fill_up(&mut running).await;
            for _ in 0..10 {
                use_reserve(&mut running).await;
                let group = [running.history.clone().rows(ITEM, 1, 200_000)];
                assert!(matches!(running.writer.append(&group).await, Err(LogError::Retry { full: true, .. })));
            }
            running.disk.set_capacity(None);
        }
        running.append(15..20).await;
        running.check("a full disk").await;
    });
}

#[test]
fn a_journal_opens_on_a_full_disk_and_accepts_a_writer() {
    run(async {
        let mut running = Running::new().await;
        running.append(0..5).await;
        fill_up(&mut running).await;
        let disk = running.disk.after_kill();
        disk.set_capacity(Some(disk.used()));
        drop(running.log);
        let log = open(&disk);
        running.history.check(&*log).await;
        let writer = take_over(&*log).await;
        disk.set_capacity(None);
        Running { disk, log, writer, history: running.history }.check("opened on a full disk").await;
    });
}

#[test]
fn a_second_open_fails_and_names_the_holder() {
    let disk = PowerCut::new();
    let first = open(&disk);
    let error = super::ground::open_at(&disk, super::super::SyncPolicy::Memory).err().unwrap();
    assert!(matches!(&error, OpenError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    open(&disk);
}

#[test]
fn a_segment_begins_without_free_descriptors() {
    run(async {
        let mut running = Running::new().await;
        running.append(0..2).await;
        let before = segments(&running.disk).len();
        running.disk.exhaust_descriptors(true);
        for at in 2.. {
            let group = group(&mut running.history, at);
            running.writer.append(&group).await.expect("the append needs no new descriptor");
            running.history.acknowledge(&group);
            if segments(&running.disk).len() > before {
                break;
            }
        }
        running.disk.exhaust_descriptors(false);
        running.append(20..30).await;
        running.check("descriptors were used up").await;
    });
}
