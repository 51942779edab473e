//! Tests of reads.

use super::history::{History, assert_same, end, read_all};
use super::{Engine, ITEM, ORDER, Opened, within};
use crate::log::{Body, Log, Stored};
use std::sync::Arc;

const SIZES: [usize; 10] = [1, 7, 8, 9, 63, 64, 1_000, 5_000, 70_000, 3];

pub(crate) async fn frames_are_read_back_as_they_were_appended(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    for bytes in SIZES {
        let group =
            vec![history.rows(ORDER, 2, bytes), history.rows(ITEM, 1, bytes + 1), history.rows(ORDER, 1, 2 * bytes)];
        history.append(&mut *opened.writer, group).await;
        history.append_rows(&mut *opened.writer, ITEM, 5, bytes).await;
    }
    history.check(&*opened.log).await;
    history.check(&*opened.again(&engine).await.log).await;
}

pub(crate) async fn reading_starts_at_the_frame_that_holds_the_row(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    for rows in [1, 4, 2, 7] {
        let group = vec![history.rows(ORDER, rows, 8_000), history.hole(ORDER, 2), history.rows(ITEM, rows, 8_000)];
        history.append(&mut *opened.writer, group).await;
    }
    for _ in 0..2 {
        for from in 0..history.end(ORDER) + 3 {
            assert_same(&read_all(&*opened.log, ORDER, from).await, &history.stored(ORDER, from));
        }
        opened = opened.again(&engine).await;
    }
}

pub(crate) async fn a_chunk_has_about_the_requested_size_and_is_never_empty(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    for at in 0..60 {
        let group = vec![history.rows(ORDER, 1, 100 + 37 * (at % 20)), history.rows(ITEM, 1, 2_000)];
        history.append(&mut *opened.writer, group).await;
    }
    for max in [0, 1, 100, 1_000, 5_000, usize::MAX] {
        for from in 0..60 {
            let chunk = opened.log.read(ORDER, from, max).await.expect("the log is read");
            assert_same(&chunk, &history.stored(ORDER, from)[..chunk.len()]);
            let (_, before) = chunk.split_last().expect("at least one frame");
            assert!(bytes(before) <= max, "{} bytes before the last frame, of {max}", bytes(before));
        }
    }
    let most = opened.log.read(ORDER, 0, 1 << 20).await.expect("the log is read");
    assert!(most.len() > 3, "a read returns more than one frame");
}

fn bytes(chunk: &[Stored]) -> usize {
    let length = |s: &Stored| if let Body::Rows { batch, .. } = &s.frame.body { batch.len() } else { 0 };
    chunk.iter().map(length).sum()
}

pub(crate) async fn holes_are_omitted_and_keep_their_numbers(engine: impl Engine) {
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    history.append_rows(&mut *opened.writer, ORDER, 2, 50).await;
    let group = vec![history.hole(ORDER, 3), history.rows(ORDER, 1, 50), history.hole(ORDER, 1_000_000)];
    history.append(&mut *opened.writer, group).await;
    assert_eq!(history.end(ORDER), 1_000_006);
    history.check(&*opened.log).await;
    opened = opened.again(&engine).await;
    history.check(&*opened.log).await;
    let at_end = opened.log.read(ORDER, 6, 1 << 20).await.expect("the log is read");
    assert_eq!(at_end, [], "a hole at the end returns nothing");
    history.append_rows(&mut *opened.writer, ORDER, 1, 50).await;
    history.check(&*opened.again(&engine).await.log).await;
}

pub(crate) async fn a_concurrent_reader_sees_durable_rows_and_nothing_else(engine: impl Engine) {
    const GROUPS: usize = 200;
    let mut history = History::default();
    let mut opened = Opened::of(&engine).await;
    let groups: Vec<_> =
        (0..GROUPS).map(|at| vec![history.rows(ORDER, 2, 90 * (at % 9) + 1), history.rows(ITEM, 1, 500)]).collect();
    let mut planned = history.clone();
    groups.iter().for_each(|group| planned.acknowledge(group));
    let reader = tokio::spawn(follow(opened.log.clone(), planned, GROUPS as u64 * 2));
    for group in groups {
        history.append(&mut *opened.writer, group).await;
    }
    within(reader).await.expect("the reader sees all rows");
}

/// Reads the frames of `planned` up to row `last` as they become durable.
async fn follow(log: Arc<dyn Log>, planned: History, last: u64) {
    let mut changes = log.changes();
    let mut at = 0;
    while at < last {
        changes.mark_unchanged();
        let before = log.bounds(ORDER).end;
        let read = log.read(ORDER, at, 2_000).await.expect("the log is read");
        let after = log.bounds(ORDER).end;
        assert!(read.is_empty() == (before == at) || after > before, "a read at row {at} of {before} returns rows");
        assert_same(&read, &planned.stored(ORDER, at)[..read.len()]);
        at = read.last().map_or(at, |s| end(&s.frame));
        assert!(at <= after, "no row is seen before it is durable");
        if at == before && at < last {
            changes.changed().await.expect("the log is open");
        }
    }
}
