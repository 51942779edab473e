//! Numbers and times.

use super::book::Book;
use super::{BASKET, Engine, ITEM, ORDER, Opened, within};
use greyhound_sdk::Bounds;

pub(crate) async fn numbers_go_on_over_many_crashes(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    let shard = opened.log.shard().clone();
    for round in 0..6 {
        book.check(&*opened.log).await;
        for rows in 1..4 {
            let group = vec![book.rows(ORDER, rows, 300), book.rows(ITEM, 2 * rows, 9_000)];
            book.append(&mut *opened.writer, group).await;
        }
        opened = if round % 2 == 0 { opened.again(&engine).await } else { opened.closed(&engine).await };
        assert_eq!(*opened.log.shard(), shard);
        assert_eq!(opened.log.recovery().damage, []);
    }
    book.check(&*opened.log).await;
}

pub(crate) async fn the_floor_never_falls_and_survives_a_crash(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    book.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
    book.tell_floor(&mut *opened.writer).await;
    book.check(&*opened.log).await;
    opened.writer.floor(book.floor - 5).await.ok();
    book.check(&*opened.log).await;
    opened = opened.again(&engine).await;
    assert_eq!(opened.log.recovery().floor, book.floor);
    book.check(&*opened.log).await;
}

pub(crate) async fn an_append_raises_the_floor(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    book.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
    book.tell_floor(&mut *opened.writer).await;
    book.append_rows(&mut *opened.writer, ITEM, 1, 100).await;
    book.check(&*opened.log).await;
    opened = opened.again(&engine).await;
    assert_eq!(opened.log.recovery().floor, book.floor);
    book.check(&*opened.log).await;
}

pub(crate) async fn every_append_and_every_floor_wakes_those_who_wait(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    let mut changes = opened.log.changes();
    for _ in 0..3 {
        changes.mark_unchanged();
        book.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
        within(changes.changed()).await.expect("the log is open");
        changes.mark_unchanged();
        book.tell_floor(&mut *opened.writer).await;
        within(changes.changed()).await.expect("the log is open");
    }
}

pub(crate) async fn an_unknown_topic_is_empty_and_has_the_floor(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    book.append_rows(&mut *opened.writer, ORDER, 3, 100).await;
    let opened = opened.again(&engine).await;
    assert_eq!(opened.log.bounds(BASKET), Bounds { earliest: 0, end: 0, floor: book.floor });
    assert_eq!(opened.log.read(BASKET, 0, 1 << 20).await.expect("the log is read"), []);
    assert_eq!(opened.log.schemas(BASKET), []);
}
