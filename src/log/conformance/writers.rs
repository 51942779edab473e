//! Who may append, and how a writer ends.

use super::book::Book;
use super::{BASKET, Engine, ITEM, ORDER, Opened, take_over};
use crate::log::{LogError, LogWriter};

pub(crate) async fn a_log_tells_whether_it_is_new_and_whether_it_was_closed(engine: impl Engine) {
    let mut book = Book::default();
    let state = |opened: &Opened| (opened.log.recovery().new, opened.log.recovery().clean);
    let mut opened = Opened::of(&engine).await;
    assert!(state(&opened).0);
    book.append_rows(&mut *opened.writer, ORDER, 1, 10).await;
    opened = opened.again(&engine).await;
    assert_eq!(state(&opened), (false, false));
    book.append_rows(&mut *opened.writer, ORDER, 1, 10).await;
    opened = opened.closed(&engine).await;
    assert_eq!(state(&opened), (false, true));
    assert_eq!(opened.log.recovery().floor, book.floor);
    book.append_rows(&mut *opened.writer, ORDER, 1, 10).await;
    opened = opened.again(&engine).await;
    assert_eq!(state(&opened), (false, false));
    book.check(&*opened.log).await;
}

/// It may have accepted rows that it had no time to append.
pub(crate) async fn a_writer_that_has_not_appended_must_close_as_well(engine: impl Engine) {
    let opened = Opened::of(&engine).await.again(&engine).await;
    assert!(!opened.log.recovery().clean);
    let opened = opened.closed(&engine).await;
    assert!(opened.log.recovery().clean);
    let opened = opened.again(&engine).await;
    assert!(!opened.log.recovery().clean);
}

pub(crate) async fn a_new_writer_fences_the_old_one(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    book.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
    let mut old = std::mem::replace(&mut opened.writer, take_over(&*opened.log).await);
    stay_out(&mut *old, &book).await;
    book.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
    stay_out(&mut *old, &book).await;
    book.append_rows(&mut *opened.writer, ITEM, 1, 100).await;
    book.check(&*opened.log).await;
    drop(old);
    opened = opened.again(&engine).await;
    book.check(&*opened.log).await;
    assert_eq!(opened.log.schemas(ORDER).len(), 1);
    assert_eq!(opened.log.schemas(BASKET), []);
}

async fn stay_out(old: &mut dyn LogWriter, book: &Book) {
    let mut intended = book.clone();
    let group = [intended.rows(ORDER, 5, 200)];
    assert!(matches!(old.append(&group).await, Err(LogError::Fenced)));
    assert!(matches!(old.append_reserved(&group).await, Err(LogError::Fenced)));
    assert!(matches!(old.floor(intended.tick()).await, Err(LogError::Fenced)));
    assert!(matches!(old.register(ORDER, 99, "a stranger's").await, Err(LogError::Fenced)));
    assert!(matches!(old.register(BASKET, 99, "a stranger's").await, Err(LogError::Fenced)));
}

pub(crate) async fn a_fenced_writer_does_not_close_the_log(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    book.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
    let old = std::mem::replace(&mut opened.writer, take_over(&*opened.log).await);
    assert!(matches!(old.close().await, Err(LogError::Fenced)));
    book.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
    let opened = opened.again(&engine).await;
    assert!(!opened.log.recovery().clean);
    book.check(&*opened.log).await;
}

pub(crate) async fn the_reserve_takes_rows_like_any_append(engine: impl Engine) {
    let mut book = Book::default();
    let mut opened = Opened::of(&engine).await;
    for _ in 0..3 {
        book.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
        let group = [book.rows(ITEM, 1, 100), book.hole(ORDER, 4)];
        opened.writer.append_reserved(&group).await.expect("it is appended");
        book.acknowledge(&group);
    }
    book.check(&*opened.log).await;
    book.check(&*opened.again(&engine).await.log).await;
}
