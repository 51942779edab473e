//! The sink under thousands of schedules of faults: every row is in the tables once, whatever the store says and does.
//!
//! A schedule is a seed. `FAULT_SEED=17 cargo test -p greyhound-activity faults` runs that one alone,
//! `FAULT_SEEDS=100000` as many. (Of two tables at once, whose calls meet depends on the encoder's threads as well.)

use super::faulty_store::{Dice, FaultyStore};
use super::{NOON, Order, Running, TOPIC, bus, publish, read, start_on};
use crate::layout::{HOUR_US, Hour, parse};
use crate::roll_policy::Policy;
use crate::success::Success;
use crate::table::Stop;
use greyhound_sdk::testing::memory::MemoryBus;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SEEDS: u64 = 1_000;
/// Every read is committed: files end where the schedule says, not when a clock does.
pub(super) const POLICY: Policy = Policy { file_size: 1, age: Duration::from_secs(3600) };

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    match number("FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FAULT_SEEDS").unwrap_or(SEEDS),
    }
}

pub(super) fn each_seed<F: Future<Output = ()>>(schedule: impl Fn(u64) -> F) {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        // Where it fails, this is the last line.
        println!("FAULT_SEED={seed}");
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(30), schedule(seed)).await.expect("an end") });
    }
}

/// Publishes a few batches, at times after a hole, at times in a later hour.
fn publish_some(memory: &MemoryBus, dice: &mut Dice, hour: &mut i64, next: &mut u64) {
    for _ in 0..=dice.below(3) {
        if dice.below(4) == 0 {
            *hour += 1 + dice.below(2) as i64;
            memory.set_time(NOON + *hour * HOUR_US);
        }
        if dice.below(5) == 0 {
            memory.skip(TOPIC, 1 + dice.below(3));
        }
        let rows = 1 + dice.below(9);
        publish(memory, *next..*next + rows);
        *next += rows;
    }
}

/// What the journal has: number and buyer of each row.
pub(super) fn journal(memory: &MemoryBus) -> Vec<(i64, String)> {
    let rows = memory.rows::<Order>(TOPIC);
    let numbers = memory.batches(TOPIC).into_iter().flat_map(|b| b.first..b.end());
    numbers.zip(rows).map(|(seq, row)| (seq as i64, row.buyer_id)).collect()
}

/// What the tables have, in the order of the files.
pub(super) fn tables(files: &BTreeMap<String, bytes::Bytes>) -> Vec<(i64, String)> {
    files
        .iter()
        .filter(|(path, _)| path.ends_with(".parquet"))
        .flat_map(|(_, content)| read(content.to_vec()))
        .collect()
}

/// How a life ended.
#[derive(Debug)]
enum Ended {
    Killed,
    Committed,
    Stopped(Stop),
}

/// Lets a table run until it has committed everything, or is killed, or stops.
async fn life(memory: &MemoryBus, store: &FaultyStore) -> Ended {
    let table = start_on(memory, Arc::new(store.clone()), POLICY).await;
    finish(memory, store, table).await
}

async fn finish(memory: &MemoryBus, store: &FaultyStore, table: Running) -> Ended {
    let end = memory.batches(TOPIC).last().map(|b| b.end());
    loop {
        if store.killed() {
            table.task.abort();
            let _ = table.task.await;
            return Ended::Killed;
        }
        if table.task.is_finished() {
            return match table.task.await.unwrap() {
                // What it was told to stop in came after the last row.
                Ok(()) | Err(Stop::Drained(_)) => Ended::Committed,
                Err(stop) => Ended::Stopped(stop),
            };
        }
        if memory.cursor("activity", TOPIC) == end {
            // It may still be killed in what it does beside.
            table.drain.request(Duration::from_secs(10));
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn whatever_fails_every_row_is_there_once() {
    each_seed(|seed| async move {
        let mut dice = Dice::new(seed);
        let (memory, store) = (bus(), FaultyStore::new(Dice::new(!seed)));
        let (mut hour, mut next) = (0, 0);
        for _ in 0..2 + dice.below(4) {
            publish_some(&memory, &mut dice, &mut hour, &mut next);
            let kill_in = (dice.below(2) == 0).then(|| 1 + dice.below(30));
            store.trouble([0, 5, 15, 35][dice.below(4) as usize], kill_in);
            if let Ended::Stopped(stop) = life(&memory, &store).await {
                panic!("seed {seed}: stopped: {stop}");
            }
        }
        store.settle();
        store.trouble(0, None);
        publish_some(&memory, &mut dice, &mut hour, &mut next);
        assert!(matches!(life(&memory, &store).await, Ended::Committed));
        let files = store.files();
        assert_eq!(tables(&files), journal(&memory));
        assert_eq!(files.keys().filter(|path| path.starts_with("_staging")).count(), 0, "{:?}", files.keys());
        check_closed_hours(&files);

        let (first, now) = (memory.batches(TOPIC).first().map(|batch| Hour::of(batch.time)), NOON / HOUR_US + hour);
        let last = Some(Hour(now - 1)).filter(|last| first <= Some(*last));
        let table = start_on(&memory, Arc::new(store.clone()), POLICY).await;
        while closed(&store.files()).last().copied() != last {
            tokio::task::yield_now().await;
        }
        table.drained().await.unwrap();
        let files = store.files();
        assert!(
            closed(&files).windows(2).all(|pair| pair[0].0 + 1 == pair[1].0),
            "an hour is left open: {:?}",
            files.keys()
        );
        check_closed_hours(&files);
    });
}

/// The hours that are closed.
pub(super) fn closed(files: &BTreeMap<String, bytes::Bytes>) -> Vec<Hour> {
    let hour = |path: &str| {
        let [_, day, hour, _, "_SUCCESS"] = path.split('/').collect::<Vec<_>>()[..] else { return None };
        parse(day, hour)
    };
    files.keys().filter_map(|path| hour(path)).collect()
}

/// Every `_SUCCESS` tells of all the files beside it.
fn check_closed_hours(files: &BTreeMap<String, bytes::Bytes>) {
    for (path, content) in files.iter().filter(|(path, _)| path.ends_with("_SUCCESS")) {
        let success: Success = serde_json::from_slice(content).unwrap();
        let directory = path.trim_end_matches("_SUCCESS");
        let beside: BTreeMap<_, _> =
            files.iter().filter(|(p, _)| p.starts_with(directory)).map(|(p, c)| (p.clone(), c.clone())).collect();
        let rows = tables(&beside);
        assert_eq!(success.rows, rows.len() as u64, "{path}");
        assert_eq!(
            (success.first, success.last),
            (rows.first().map(|r| r.0 as u64), rows.last().map(|r| r.0 as u64)),
            "{path}"
        );
    }
}

#[test]
fn of_two_journals_with_one_shard_one_stops_and_the_others_rows_are_there_once() {
    each_seed(|seed| async move {
        let mut dice = Dice::new(seed);
        let store = FaultyStore::new(Dice::new(!seed));
        let journals = [bus(), bus()];
        let split = dice.clone();
        for memory in &journals {
            publish_some(memory, &mut split.clone(), &mut 0, &mut 0);
        }
        // From here on they differ.
        for (memory, buyers) in journals.iter().zip([1_000, 2_000]) {
            publish(memory, buyers..buyers + 1 + dice.below(5));
        }
        store.trouble([0, 10, 30][dice.below(3) as usize], None);
        let running = [
            start_on(&journals[0], Arc::new(store.clone()), POLICY).await,
            start_on(&journals[1], Arc::new(store.clone()), POLICY).await,
        ];
        let [first, second] = running;
        let (first, second) = tokio::join!(finish(&journals[0], &store, first), finish(&journals[1], &store, second));
        let winner = match (first, second) {
            (Ended::Committed, Ended::Stopped(Stop::Stranger { .. })) => &journals[0],
            (Ended::Stopped(Stop::Stranger { .. }), Ended::Committed) => &journals[1],
            ends => panic!("seed {seed}: expected one to stop: {ends:?}"),
        };
        assert_eq!(tables(&store.files()), journal(winner));
    });
}
