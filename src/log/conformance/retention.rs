//! What may be deleted.

use super::book::{Book, assert_same, end, read_all};
use super::{Engine, ITEM, ORDER, Opened};
use crate::log::{Log, Lost, Retention};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const KEEP_ALL: Retention = Retention { bytes: u64::MAX, age: Duration::MAX, disk_cap: u64::MAX };

/// A log of some 400 KiB: orders and items by turns, 100 of each.
async fn filled(engine: &impl Engine) -> (Opened, Book) {
    let mut book = Book::default();
    let mut opened = Opened::of(engine).await;
    for _ in 0..100 {
        let group = vec![book.rows(ORDER, 2, 2_000), book.rows(ITEM, 3, 2_000)];
        book.append(&mut *opened.writer, group).await;
    }
    (opened, book)
}

async fn retain(log: &dyn Log, policy: Retention, required: &[(&str, u64)], now: i64) -> Vec<Lost> {
    let required: HashMap<Arc<str>, u64> = required.iter().map(|(topic, from)| ((*topic).into(), *from)).collect();
    log.retain(&policy, &required, now).await.expect("rows are let go")
}

/// Holds the log to all that it says that it has.
async fn check_rest(log: &dyn Log, book: &Book) {
    for topic in [ORDER, ITEM] {
        let bounds = log.bounds(topic);
        assert_eq!((bounds.end, bounds.floor), (book.end(topic), book.floor));
        assert_same(&read_all(log, topic, 0).await, &book.stored(topic, bounds.earliest));
        let first = book.stored(topic, bounds.earliest).first().map_or(bounds.end, |s| s.frame.first);
        assert_eq!(first, bounds.earliest, "{topic} begins where it says");
    }
    assert_eq!(log.damage(), [], "what was let go is not damage");
}

pub(crate) async fn what_the_policy_keeps_is_kept(engine: impl Engine) {
    let (opened, book) = filled(&engine).await;
    let size = opened.log.size();
    assert!(size > 400_000, "{size} bytes");
    assert_eq!(retain(&*opened.log, KEEP_ALL, &[], book.floor).await, []);
    assert_eq!(retain(&*opened.log, Retention { bytes: 2 * size, ..KEEP_ALL }, &[], book.floor).await, []);
    let young = Duration::from_micros(u64::try_from(2 * book.floor).expect("a time"));
    assert_eq!(retain(&*opened.log, Retention { age: young, ..KEEP_ALL }, &[], book.floor).await, []);
    book.check(&*opened.log).await;
    book.check(&*opened.again(&engine).await.log).await;
}

pub(crate) async fn too_many_bytes_let_the_oldest_rows_go(engine: impl Engine) {
    let (opened, book) = filled(&engine).await;
    assert_eq!(retain(&*opened.log, Retention { bytes: 200_000, ..KEEP_ALL }, &[], book.floor).await, []);
    assert!(opened.log.size() <= 232_000, "{} bytes are left", opened.log.size());
    let earliest = opened.log.bounds(ORDER).earliest;
    assert!((80..140).contains(&earliest), "the orders from {earliest} on are left");
    check_rest(&*opened.log, &book).await;
    let opened = opened.again(&engine).await;
    assert_eq!(opened.log.bounds(ORDER).earliest, earliest);
    assert_eq!(opened.log.recovery().damage, []);
    check_rest(&*opened.log, &book).await;
}

pub(crate) async fn old_age_lets_rows_go(engine: impl Engine) {
    let (opened, book) = filled(&engine).await;
    let policy = Retention { age: Duration::from_micros(80), ..KEEP_ALL };
    assert_eq!(retain(&*opened.log, policy, &[], book.floor + 20).await, []);
    let kept = read_all(&*opened.log, ORDER, 0).await;
    let oldest = kept.first().expect("there are young rows").frame.time;
    assert!(oldest <= book.floor - 59, "a row at {oldest} was young enough");
    assert!(oldest > book.floor - 100, "a row at {oldest} is too old");
    check_rest(&*opened.log, &book).await;
}

pub(crate) async fn what_a_consumer_needs_is_kept(engine: impl Engine) {
    let (opened, book) = filled(&engine).await;
    let policy = Retention { bytes: 0, age: Duration::ZERO, disk_cap: u64::MAX };
    let now = book.floor + 1_000;
    assert_eq!(retain(&*opened.log, policy.clone(), &[(ORDER, 0), (ITEM, 300)], now).await, []);
    book.check(&*opened.log).await;
    assert_eq!(retain(&*opened.log, policy.clone(), &[(ORDER, 101), (ITEM, 300)], now).await, []);
    let earliest = opened.log.bounds(ORDER).earliest;
    assert!(earliest > 60 && earliest <= 101, "the orders from {earliest} on are left");
    check_rest(&*opened.log, &book).await;
    assert_eq!(retain(&*opened.log, policy, &[(ORDER, 200), (ITEM, 297)], now).await, []);
    assert_eq!(opened.log.read(ITEM, 297, 1).await.expect("the log is read").len(), 1);
    check_rest(&*opened.log, &book).await;
}

pub(crate) async fn above_the_disk_cap_even_that_goes_and_is_told(engine: impl Engine) {
    let (opened, book) = filled(&engine).await;
    let policy = Retention { disk_cap: 200_000, ..KEEP_ALL };
    let lost = retain(&*opened.log, policy.clone(), &[(ORDER, 21), (ITEM, 300)], book.floor).await;
    assert!(opened.log.size() <= 200_000, "{} bytes are left", opened.log.size());
    check_rest(&*opened.log, &book).await;
    let earliest = opened.log.bounds(ORDER).earliest;
    assert_eq!(numbers(&lost), (21..earliest).collect::<Vec<_>>());
    for gone in book.frames.iter().filter(|f| &*f.topic == ORDER && end(f) > 21 && f.first < earliest) {
        let told =
            lost.iter().any(|l| l.range.is_some_and(|r| r.0 < end(gone) && r.1 >= gone.first) && covers(l, gone.time));
        assert!(told, "the time of row {} is not told", gone.first);
    }
    assert_eq!(retain(&*opened.log, policy, &[(ORDER, earliest)], book.floor).await, [], "it is told once");
    assert_eq!(opened.again(&engine).await.log.recovery().damage, []);
}

fn covers(lost: &Lost, time: i64) -> bool {
    lost.from <= time && time <= lost.to
}

/// The numbers of the orders in it, which must be the only rows.
fn numbers(lost: &[Lost]) -> Vec<u64> {
    assert!(lost.iter().all(|l| l.topic.as_deref() == Some(ORDER)), "{lost:?}");
    lost.iter().flat_map(|l| l.range.map_or(0..=0, |(first, last)| first..=last)).collect()
}

pub(crate) async fn numbers_outlive_their_rows(engine: impl Engine) {
    let (mut opened, mut book) = filled(&engine).await;
    for _ in 0..100 {
        book.append_rows(&mut *opened.writer, ORDER, 1, 2_000).await;
    }
    let policy = Retention { bytes: 0, age: Duration::ZERO, disk_cap: u64::MAX };
    assert_eq!(retain(&*opened.log, policy, &[], book.floor + 1_000).await, []);
    check_rest(&*opened.log, &book).await;
    opened = opened.again(&engine).await;
    check_rest(&*opened.log, &book).await;
    assert_eq!(opened.log.bounds(ITEM).earliest, 300, "no item is left");
    assert_eq!(opened.log.recovery().damage, []);
    book.append_rows(&mut *opened.writer, ITEM, 1, 100).await;
    opened = opened.closed(&engine).await;
    check_rest(&*opened.log, &book).await;
    assert_eq!(opened.log.schemas(ITEM).len(), 1);
}
