//! Tests of numbers and times.

use super::history::History;
use super::{BASKET, Engine, ITEM, ORDER, Opened, within};
use greyhound_sdk::Bounds;

pub(crate) async fn numbers_continue_after_many_crashes(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    let shard = opened.log.shard().clone();
    for round in 0..6 {
        history.check(&*opened.log).await;
        for rows in 1..4 {
            let group = vec![history.rows(ORDER, rows, 300), history.rows(ITEM, 2 * rows, 9_000)];
            history.append(&mut *opened.writer, group).await;
        }
        opened = if round % 2 == 0 { opened.again(&engine).await } else { opened.closed(&engine).await };
        assert_eq!(*opened.log.shard(), shard);
        assert_eq!(opened.log.recovery().damage, []);
    }
    history.check(&*opened.log).await;
}

pub(crate) async fn the_floor_never_decreases_and_survives_a_crash(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    history.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
    history.append_floor(&mut *opened.writer).await;
    history.check(&*opened.log).await;
    opened.writer.floor(history.floor - 5).await.ok();
    history.check(&*opened.log).await;
    opened = opened.again(&engine).await;
    assert_eq!(opened.log.recovery().floor, history.floor);
    history.check(&*opened.log).await;
}

pub(crate) async fn an_append_raises_the_floor(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    history.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
    history.append_floor(&mut *opened.writer).await;
    history.append_rows(&mut *opened.writer, ITEM, 1, 100).await;
    history.check(&*opened.log).await;
    opened = opened.again(&engine).await;
    assert_eq!(opened.log.recovery().floor, history.floor);
    history.check(&*opened.log).await;
}

pub(crate) async fn every_append_and_every_floor_wakes_waiting_readers(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    let mut changes = opened.log.changes();
    for _ in 0..3 {
        changes.mark_unchanged();
        history.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
        within(changes.changed()).await.expect("the log is open");
        changes.mark_unchanged();
        history.append_floor(&mut *opened.writer).await;
        within(changes.changed()).await.expect("the log is open");
    }
}

pub(crate) async fn an_unknown_topic_is_empty_and_has_the_floor(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    history.append_rows(&mut *opened.writer, ORDER, 3, 100).await;
    let opened = opened.again(&engine).await;
    assert_eq!(opened.log.bounds(BASKET), Bounds { earliest: 0, end: 0, floor: history.floor });
    assert_eq!(opened.log.read(BASKET, 0, 1 << 20).await.expect("the log is read"), []);
    assert_eq!(opened.log.schemas(BASKET), []);
}
