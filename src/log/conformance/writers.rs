//! Tests of writers: takeover, close and reserve.

use super::history::History;
use super::{BASKET, Engine, ITEM, ORDER, Opened, take_over};
use crate::log::{LogError, LogWriter};

pub(crate) async fn a_log_knows_whether_it_is_new_and_whether_it_was_closed(engine: impl Engine) {
    let mut history = History::default();
    let state = |opened: &Opened| (opened.log.recovery().new, opened.log.recovery().clean);
    let mut opened = Opened::of(&engine).await;
    assert!(state(&opened).0);
    history.append_rows(&mut *opened.writer, ORDER, 1, 10).await;
    opened = opened.again(&engine).await;
    assert_eq!(state(&opened), (false, false));
    history.append_rows(&mut *opened.writer, ORDER, 1, 10).await;
    opened = opened.closed(&engine).await;
    assert_eq!(state(&opened), (false, true));
    assert_eq!(opened.log.recovery().floor, history.floor);
    history.append_rows(&mut *opened.writer, ORDER, 1, 10).await;
    opened = opened.again(&engine).await;
    assert_eq!(state(&opened), (false, false));
    history.check(&*opened.log).await;
}

/// Its bus may have accepted rows that it did not append in time.
pub(crate) async fn a_writer_that_never_appended_must_be_closed_too(engine: impl Engine) {
    let opened = Opened::of(&engine).await.again(&engine).await;
    assert!(!opened.log.recovery().clean);
    let opened = opened.closed(&engine).await;
    assert!(opened.log.recovery().clean);
    let opened = opened.again(&engine).await;
    assert!(!opened.log.recovery().clean);
}

pub(crate) async fn a_new_writer_fences_the_old_one(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    history.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
    let mut old = std::mem::replace(&mut opened.writer, take_over(&*opened.log).await);
    stay_out(&mut *old, &history).await;
    history.append_rows(&mut *opened.writer, ORDER, 1, 100).await;
    stay_out(&mut *old, &history).await;
    history.append_rows(&mut *opened.writer, ITEM, 1, 100).await;
    history.check(&*opened.log).await;
    drop(old);
    opened = opened.again(&engine).await;
    history.check(&*opened.log).await;
    assert_eq!(opened.log.schemas(ORDER).len(), 1);
    assert_eq!(opened.log.schemas(BASKET), []);
}

async fn stay_out(old: &mut dyn LogWriter, history: &History) {
    let mut intended = history.clone();
    let group = [intended.rows(ORDER, 5, 200)];
    assert!(matches!(old.append(&group).await, Err(LogError::Fenced)));
    assert!(matches!(old.append_reserved(&group).await, Err(LogError::Fenced)));
    assert!(matches!(old.floor(intended.tick()).await, Err(LogError::Fenced)));
    assert!(matches!(old.register(ORDER, 99, "a stranger's").await, Err(LogError::Fenced)));
    assert!(matches!(old.register(BASKET, 99, "a stranger's").await, Err(LogError::Fenced)));
}

pub(crate) async fn a_fenced_writer_does_not_close_the_log(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    history.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
    let old = std::mem::replace(&mut opened.writer, take_over(&*opened.log).await);
    assert!(matches!(old.close().await, Err(LogError::Fenced)));
    history.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
    let opened = opened.again(&engine).await;
    assert!(!opened.log.recovery().clean);
    history.check(&*opened.log).await;
}

pub(crate) async fn the_reserve_accepts_rows_like_any_append(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    for _ in 0..3 {
        history.append_rows(&mut *opened.writer, ORDER, 2, 100).await;
        let group = [history.rows(ITEM, 1, 100), history.hole(ORDER, 4)];
        opened.writer.append_reserved(&group).await.expect("the append succeeds");
        history.acknowledge(&group);
    }
    history.check(&*opened.log).await;
    history.check(&*opened.again(&engine).await.log).await;
}
