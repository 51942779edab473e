//! Tests of retention.

use super::history::{History, assert_same, end, read_all};
use super::{Engine, ITEM, ORDER, Opened};
use crate::log::{Log, Lost, Retention};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const KEEP_ALL: Retention = Retention { bytes: u64::MAX, age: Duration::MAX, disk_cap: u64::MAX };

/// Returns a log of about 400 KiB: 100 orders and 100 items, alternating.
async fn filled(engine: &impl Engine) -> (Opened, History) {
    let mut history = History::default();
    let mut opened = Opened::of(engine).await;
    for _ in 0..100 {
        let group = vec![history.rows(ORDER, 2, 2_000), history.rows(ITEM, 3, 2_000)];
        history.append(&mut *opened.writer, group).await;
    }
    (opened, history)
}

async fn retain(log: &dyn Log, policy: Retention, required: &[(&str, u64)], now: i64) -> Vec<Lost> {
    let required: HashMap<Arc<str>, u64> = required.iter().map(|(topic, from)| ((*topic).into(), *from)).collect();
    log.retain(&policy, &required, now).await.expect("retention succeeds")
}

/// Checks that the log holds all rows within its bounds.
async fn check_rest(log: &dyn Log, history: &History) {
    for topic in [ORDER, ITEM] {
        let bounds = log.bounds(topic);
        assert_eq!((bounds.end, bounds.floor), (history.end(topic), history.floor));
        assert_same(&read_all(log, topic, 0).await, &history.stored(topic, bounds.earliest));
        let first = history.stored(topic, bounds.earliest).first().map_or(bounds.end, |s| s.frame.first);
        assert_eq!(first, bounds.earliest, "{topic} begins at its bound");
    }
    assert_eq!(log.damage(), [], "deleted rows are not damage");
}

pub(crate) async fn rows_within_the_policy_are_kept(engine: impl Engine) {
    let (opened, history) = filled(&engine).await;
    let size = opened.log.size();
    assert!(size > 400_000, "{size} bytes");
    assert_eq!(retain(&*opened.log, KEEP_ALL, &[], history.floor).await, []);
    assert_eq!(retain(&*opened.log, Retention { bytes: 2 * size, ..KEEP_ALL }, &[], history.floor).await, []);
    let young = Duration::from_micros(u64::try_from(2 * history.floor).expect("a time"));
    assert_eq!(retain(&*opened.log, Retention { age: young, ..KEEP_ALL }, &[], history.floor).await, []);
    history.check(&*opened.log).await;
    history.check(&*opened.again(&engine).await.log).await;
}

pub(crate) async fn the_size_limit_deletes_the_oldest_rows(engine: impl Engine) {
    let (opened, history) = filled(&engine).await;
    assert_eq!(retain(&*opened.log, Retention { bytes: 200_000, ..KEEP_ALL }, &[], history.floor).await, []);
    assert!(opened.log.size() <= 232_000, "{} bytes are kept", opened.log.size());
    let earliest = opened.log.bounds(ORDER).earliest;
    assert!((80..140).contains(&earliest), "the orders from {earliest} on are kept");
    check_rest(&*opened.log, &history).await;
    let opened = opened.again(&engine).await;
    assert_eq!(opened.log.bounds(ORDER).earliest, earliest);
    assert_eq!(opened.log.recovery().damage, []);
    check_rest(&*opened.log, &history).await;
}

pub(crate) async fn the_age_limit_deletes_old_rows(engine: impl Engine) {
    let (opened, history) = filled(&engine).await;
    let policy = Retention { age: Duration::from_micros(80), ..KEEP_ALL };
    assert_eq!(retain(&*opened.log, policy, &[], history.floor + 20).await, []);
    let kept = read_all(&*opened.log, ORDER, 0).await;
    let oldest = kept.first().expect("young rows are kept").frame.time;
    assert!(oldest <= history.floor - 59, "all young rows are kept; the oldest is at {oldest}");
    assert!(oldest > history.floor - 100, "no old row is kept; the oldest is at {oldest}");
    check_rest(&*opened.log, &history).await;
}

pub(crate) async fn rows_that_a_consumer_needs_are_kept(engine: impl Engine) {
    let (opened, history) = filled(&engine).await;
    let policy = Retention { bytes: 0, age: Duration::ZERO, disk_cap: u64::MAX };
    let now = history.floor + 1_000;
    assert_eq!(retain(&*opened.log, policy.clone(), &[(ORDER, 0), (ITEM, 300)], now).await, []);
    history.check(&*opened.log).await;
    assert_eq!(retain(&*opened.log, policy.clone(), &[(ORDER, 101), (ITEM, 300)], now).await, []);
    let earliest = opened.log.bounds(ORDER).earliest;
    assert!(earliest > 60 && earliest <= 101, "the orders from {earliest} on are kept");
    check_rest(&*opened.log, &history).await;
    assert_eq!(retain(&*opened.log, policy, &[(ORDER, 200), (ITEM, 297)], now).await, []);
    assert_eq!(opened.log.read(ITEM, 297, 1).await.expect("the log is read").len(), 1);
    check_rest(&*opened.log, &history).await;
}

pub(crate) async fn the_disk_cap_deletes_needed_rows_and_reports_them(engine: impl Engine) {
    let (opened, history) = filled(&engine).await;
    let policy = Retention { disk_cap: 200_000, ..KEEP_ALL };
    let lost = retain(&*opened.log, policy.clone(), &[(ORDER, 21), (ITEM, 300)], history.floor).await;
    assert!(opened.log.size() <= 200_000, "{} bytes are kept", opened.log.size());
    check_rest(&*opened.log, &history).await;
    let earliest = opened.log.bounds(ORDER).earliest;
    assert_eq!(numbers(&lost), (21..earliest).collect::<Vec<_>>());
    for gone in history.frames.iter().filter(|f| &*f.topic == ORDER && end(f) > 21 && f.first < earliest) {
        let told =
            lost.iter().any(|l| l.range.is_some_and(|r| r.0 < end(gone) && r.1 >= gone.first) && covers(l, gone.time));
        assert!(told, "the time of row {} is reported", gone.first);
    }
    assert_eq!(retain(&*opened.log, policy, &[(ORDER, earliest)], history.floor).await, [], "it is reported once");
    assert_eq!(opened.again(&engine).await.log.recovery().damage, []);
}

fn covers(lost: &Lost, time: i64) -> bool {
    lost.from <= time && time <= lost.to
}

/// Returns the numbers of the lost orders. No other rows may be lost.
fn numbers(lost: &[Lost]) -> Vec<u64> {
    assert!(lost.iter().all(|l| l.topic.as_deref() == Some(ORDER)), "{lost:?}");
    lost.iter().flat_map(|l| l.range.map_or(0..=0, |(first, last)| first..=last)).collect()
}

pub(crate) async fn numbers_outlive_their_rows(engine: impl Engine) {
    let (mut opened, mut history) = filled(&engine).await;
    for _ in 0..100 {
        history.append_rows(&mut *opened.writer, ORDER, 1, 2_000).await;
    }
    let policy = Retention { bytes: 0, age: Duration::ZERO, disk_cap: u64::MAX };
    assert_eq!(retain(&*opened.log, policy, &[], history.floor + 1_000).await, []);
    check_rest(&*opened.log, &history).await;
    opened = opened.again(&engine).await;
    check_rest(&*opened.log, &history).await;
    assert_eq!(opened.log.bounds(ITEM).earliest, 300, "no item is kept");
    assert_eq!(opened.log.recovery().damage, []);
    history.append_rows(&mut *opened.writer, ITEM, 1, 100).await;
    opened = opened.closed(&engine).await;
    check_rest(&*opened.log, &history).await;
    assert_eq!(opened.log.schemas(ITEM).len(), 1);
}
