//! A table's `_SUCCESS` files begin with the hour in which its shard began, with rows and without, whatever happens in
//! that hour.

use super::{NOON, Running, TOPIC, bus, eventually, numbers, publish, start, success};
use crate::hours::FIRST_HOUR;
use crate::layout::{HOUR_US, Hour, directory};
use crate::success::SUCCESS;
use greyhound_sdk::fs::FileSystem;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::testing::power_cut::PowerCut;
use greyhound_sdk::{Shard, Start};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinSet;

const HALF_PAST: i64 = NOON + HOUR_US / 2;

/// A journal that begins at half past noon, with so many rows.
fn journal(rows: u64) -> MemoryBus {
    let memory = bus();
    memory.set_time(HALF_PAST);
    publish(&memory, 0..rows);
    memory
}

async fn started(memory: &MemoryBus, disk: &PowerCut) -> Running {
    start(memory, disk, Duration::from_millis(1)).await
}

/// A file in the directory of an hour after noon.
fn path(hour: i64, name: &str) -> PathBuf {
    format!("/tables/{}/{name}", directory(TOPIC, Hour(NOON / HOUR_US + hour), &Shard::new("test", 1))).into()
}

/// The hours after noon, some before it as well, that have a `_SUCCESS`.
fn closed(disk: &PowerCut) -> Vec<i64> {
    (-30..30).filter(|hour| disk.content(&path(*hour, SUCCESS)).is_some()).collect()
}

/// Runs until all rows are committed and the hours before `hour` are closed.
async fn run_to(memory: &MemoryBus, disk: &PowerCut, hour: i64, rows: u64) {
    let table = begun(memory, disk).await;
    memory.set_time(NOON + hour * HOUR_US);
    let is_committed = || rows == 0 || memory.cursor("activity", TOPIC) == Some(rows);
    eventually("the hours are closed", || is_committed() && closed(disk).contains(&(hour - 1))).await;
    table.drained().await.unwrap();
}

/// Runs until the table has files.
async fn begin(memory: &MemoryBus, disk: &PowerCut) {
    begun(memory, disk).await.drained().await.unwrap();
}

async fn begun(memory: &MemoryBus, disk: &PowerCut) -> Running {
    let table = started(memory, disk).await;
    let is_of_table = |file: &PathBuf| file.starts_with(format!("/tables/{TOPIC}"));
    eventually("the table has files", || disk.files().iter().any(is_of_table)).await;
    table
}

#[tokio::test]
async fn no_hour_before_the_shard_began_is_closed() {
    for rows in [0, 10] {
        let (memory, disk) = (journal(rows), PowerCut::new());
        run_to(&memory, &disk, 2, rows).await;
        assert_eq!(closed(&disk), [0, 1], "{rows} rows");
        run_to(&memory, &disk, 5, rows).await;
        assert_eq!(closed(&disk), [0, 1, 2, 3, 4], "{rows} rows, after a downtime");
    }
}

#[tokio::test]
async fn a_restart_within_the_first_hour_loses_no_hour() {
    for rows in [0, 10] {
        for lost_cursor in [false, true] {
            let (memory, disk) = (journal(rows), PowerCut::new());
            begin(&memory, &disk).await;
            begin(&memory, &disk).await;
            if lost_cursor {
                memory.bus().consumer("activity", TOPIC, Start::Earliest).await.unwrap().commit(0).await.unwrap();
            }
            run_to(&memory, &disk, 3, rows).await;
            assert_eq!(closed(&disk), [0, 1, 2], "{rows} rows, cursor lost: {lost_cursor}");
        }
    }
}

/// What a first life leaves whose disk fails at a step, and whether it failed.
async fn cut_short(rows: u64, step: u64) -> (MemoryBus, PowerCut, bool) {
    let (memory, disk) = (journal(rows), PowerCut::new());
    disk.fail_after(step);
    let table = started(&memory, &disk).await;
    let is_well = || table.health.parts().iter().all(|(_, why)| why.is_none());
    let has_begun = || match rows {
        0 => disk.content(&path(0, FIRST_HOUR)).is_some(),
        _ => memory.cursor("activity", TOPIC) == Some(rows),
    };
    eventually("it has begun, or fails", || has_begun() || !is_well()).await;
    let has_failed = !is_well();
    table.task.abort();
    let _ = table.task.await;
    (memory, disk.after_power_cut(step), has_failed)
}

#[tokio::test]
async fn whatever_step_of_the_first_hour_the_power_is_cut_at_its_hours_are_closed() {
    let mut lives = JoinSet::new();
    for (rows, restart) in [(0, HALF_PAST), (10, HALF_PAST), (10, NOON + 3 * HOUR_US)] {
        for step in 0.. {
            let (memory, disk, has_failed) = cut_short(rows, step).await;
            memory.set_time(restart);
            lives.spawn(async move {
                begin(&memory, &disk).await;
                run_to(&memory, &disk, 4, rows).await;
                (rows, restart, step, closed(&disk))
            });
            if !has_failed {
                break;
            }
        }
    }
    assert!(lives.len() > 20, "each has several steps");
    while let Some(ended) = lives.join_next().await {
        let (rows, restart, step, closed) = ended.unwrap();
        assert_eq!(closed, [0, 1, 2, 3], "{rows} rows, restarted at {restart}, step {step}");
    }
}

#[tokio::test]
async fn a_table_of_an_earlier_version_goes_on_after_the_hour_that_was_closed_too_early() {
    let (memory, disk) = (journal(0), PowerCut::new());
    begin(&memory, &disk).await;
    run_to(&memory, &disk, 1, 0).await;
    // An earlier version that began in hour 1 left the same, without the file that marks the first hour.
    disk.remove(&path(0, FIRST_HOUR)).unwrap();
    memory.set_time(NOON + 3 * HOUR_US);
    run_to(&memory, &disk, 4, 0).await;
    assert_eq!(closed(&disk), [0, 1, 2, 3]);
    assert!(disk.files().iter().all(|file| !file.ends_with(FIRST_HOUR)), "it began before");
}

/// Removes the shard's hours before `hour`, as retention does.
fn remove_before(disk: &PowerCut, hour: i64) {
    for earlier in 0..hour {
        disk.files()
            .iter()
            .filter(|file| file.starts_with(path(earlier, "")))
            .for_each(|file| disk.remove(file).unwrap());
    }
}

/// The first row, the last one and the gaps of an hour.
fn content(disk: &PowerCut, hour: i64) -> (Option<u64>, Option<u64>, Vec<(u64, u64)>) {
    let success = success(disk, NOON / HOUR_US + hour).unwrap();
    (success.first, success.last, success.gaps)
}

#[tokio::test]
async fn a_shard_whose_hours_were_removed_begins_again_after_the_rows_that_they_had() {
    for restarts in [false, true] {
        let (memory, disk) = (journal(10), PowerCut::new());
        run_to(&memory, &disk, 2, 10).await;
        remove_before(&disk, 3);
        memory.set_time(NOON + 10 * HOUR_US);
        if restarts {
            begin(&memory, &disk).await;
        }
        publish(&memory, 10..20);
        run_to(&memory, &disk, 12, 20).await;
        assert_eq!(closed(&disk), [10, 11]);
        assert_eq!(content(&disk, 10), (Some(10), Some(19), vec![]));
    }
}

#[tokio::test]
async fn an_hour_whose_predecessors_were_removed_before_it_was_closed_begins_with_its_rows() {
    let (memory, disk) = (journal(10), PowerCut::new());
    run_to(&memory, &disk, 1, 10).await;
    publish(&memory, 10..20);
    let table = started(&memory, &disk).await;
    eventually("the rows are committed", || memory.cursor("activity", TOPIC) == Some(20)).await;
    table.drained().await.unwrap();
    remove_before(&disk, 1);
    run_to(&memory, &disk, 2, 20).await;
    assert_eq!(content(&disk, 1), (Some(10), Some(19), vec![]));
}

#[tokio::test]
async fn a_journal_without_cursor_and_without_its_first_rows_begins_with_those_that_it_has() {
    let (memory, disk) = (bus(), PowerCut::new());
    memory.skip(TOPIC, 5);
    publish(&memory, 5..10);
    run_to(&memory, &disk, 1, 10).await;
    assert_eq!(content(&disk, 0), (Some(5), Some(9), vec![]));
}

#[tokio::test]
async fn the_first_rows_of_the_first_hour_are_written_again_if_their_file_is_lost() {
    let (memory, disk) = (journal(0), PowerCut::new());
    begin(&memory, &disk).await;
    for rows in [0..10, 10..20] {
        let end = rows.end;
        publish(&memory, rows);
        let table = started(&memory, &disk).await;
        eventually("the rows are committed", || memory.cursor("activity", TOPIC) == Some(end)).await;
        table.drained().await.unwrap();
    }
    disk.remove(&path(0, "00000000000000000000.parquet")).unwrap();
    run_to(&memory, &disk, 1, 20).await;
    assert_eq!(numbers(&disk), (0..20).collect::<Vec<_>>());
}
