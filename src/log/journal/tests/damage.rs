//! Bit rot, misplaced blocks and missing files: intact rows are returned, lost rows are reported.

use super::ground::{Found, Owed, group, run, segments, start, written};
use crate::log::Body;
use crate::log::conformance::history::{History, stored};
use greyhound_sdk::fs::FileSystem;
use greyhound_sdk::testing::power_cut::PowerCut;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::path::Path;

/// The number of frames in the last group.
const LAST_GROUP: usize = 3;

fn damaged(disk: &PowerCut, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> PowerCut {
    let disk = disk.after_kill();
    let mut content = disk.content(path).unwrap();
    damage(&mut content);
    disk.put(path, content);
    disk
}

async fn check(disk: &PowerCut, history: &History, owed: Owed, what: &str) {
    let found = Found::on(disk).await;
    found.check(history, owed, what);
    found.continue_and_reopen(disk, what).await;
}

#[test]
fn for_any_damaged_byte_intact_rows_are_kept_and_lost_rows_reported() {
    run(async {
        let (disk, history) = written(true).await;
        let all = segments(&disk);
        for segment in [0, all.len() / 2, all.len() - 1] {
            damage_every_byte(&disk, &all[segment], &history, Owed::All).await;
        }
    });
}

/// In a journal that was not closed, damage in the last group looks like a torn tail.
#[test]
fn for_any_damaged_byte_of_an_open_journal_all_but_the_last_group_is_kept_or_reported() {
    run(async {
        let (disk, history) = written(false).await;
        let last = segments(&disk).pop().unwrap();
        damage_every_byte(&disk, &last, &history, Owed::Before(history.frames.len() - LAST_GROUP)).await;
    });
}

async fn damage_every_byte(disk: &PowerCut, segment: &Path, history: &History, owed: Owed) {
    for at in 0..disk.content(segment).unwrap().len() {
        let what = format!("{} at {at}", segment.display());
        let disk = damaged(disk, segment, |bytes| bytes[at] ^= 1 << (at % 8));
        let found = Found::on(&disk).await;
        found.check(history, owed, &what);
        if at % 5 == 0 {
            found.continue_and_reopen(&disk, &what).await;
        }
    }
}

#[test]
fn a_damaged_frame_is_reported_with_exactly_its_numbers() {
    run(async {
        let (disk, history) = written(true).await;
        let segment = segments(&disk).remove(2);
        let content = disk.content(&segment).unwrap();
        for frame in history.frames.iter().filter_map(stored) {
            let Body::Rows { batch, .. } = &frame.frame.body else { continue };
            let Some(at) = content.windows(batch.len()).position(|w| w == batch) else { continue };
            let found = Found::on(&damaged(&disk, &segment, |bytes| bytes[at] ^= 0x10)).await;
            let [lost] = &found.lost[..] else { panic!("one loss: {:?}", found.lost) };
            let range = (frame.frame.first, frame.frame.first + u64::from(frame.frame.rows) - 1);
            assert_eq!((lost.topic.as_ref(), lost.range), (Some(&frame.frame.topic), Some(range)));
            assert!(lost.from <= frame.frame.time && frame.frame.time <= lost.to, "{lost:?}");
        }
    });
}

#[test]
fn a_missing_truncated_or_blank_segment_is_reported() {
    run(async {
        let (disk, history) = written(true).await;
        let all = segments(&disk);
        for segment in &all[..all.len() - 1] {
            let len = disk.content(segment).unwrap().len();
            for cut in [0, 1, 64, len / 2, len - 1] {
                let what = format!("{} cut at {cut}", segment.display());
                check(&damaged(&disk, segment, |bytes| bytes.truncate(cut)), &history, Owed::All, &what).await;
                let what = format!("{} blank from {cut} on", segment.display());
                check(&damaged(&disk, segment, |bytes| bytes[cut..].fill(0)), &history, Owed::All, &what).await;
                let what = format!("{} is blank up to {cut}", segment.display());
                check(&damaged(&disk, segment, |bytes| bytes[..cut].fill(0)), &history, Owed::All, &what).await;
            }
        }
        for segment in &all[1..all.len() - 1] {
            let disk = disk.after_kill();
            disk.remove(segment).unwrap();
            check(&disk, &history, Owed::All, &format!("{} gone", segment.display())).await;
        }
    });
}

#[test]
fn a_misplaced_block_is_damage() {
    run(async {
        let (disk, history) = written(true).await;
        let all = segments(&disk);
        for pair in all.windows(2) {
            let other = disk.content(&pair[0]).unwrap();
            for (from, to, len) in [(0, 512, 512), (512, 0, 512), (8, 16, 1_024), (0, 0, 1_024)] {
                let what = format!("{} bytes of {} at {to}", len, pair[0].display());
                let put = |bytes: &mut Vec<u8>| {
                    let len = len.min(bytes.len() - to);
                    bytes[to..to + len].copy_from_slice(&other[from..from + len]);
                };
                check(&damaged(&disk, &pair[1], put), &history, Owed::Before(history.frames.len() - 8), &what).await;
            }
        }
    });
}

#[test]
fn damage_that_was_not_recorded_is_reported_again() {
    run(async {
        let (disk, _) = written(true).await;
        let disk = damaged(&disk, &segments(&disk)[1], |bytes| bytes[900] ^= 1);
        let first = Found::on(&disk).await;
        assert_ne!(first.lost, []);
        let lost = first.lost.clone();
        drop(first);
        assert_eq!(Found::on(&disk).await.lost, lost, "nothing was appended since, so no gap was written");
        let (_log, mut writer) = start(&disk).await;
        writer.append(&[]).await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_damaged_places_are_handled(
        groups in 1..20_usize,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        run(async {
            let (disk, mut history) = (PowerCut::new(), History::default());
            let (log, mut writer) = start(&disk).await;
            for at in 0..groups {
                let group = group(&mut history, at);
                history.append(&mut *writer, group).await;
            }
            drop(log);
            let before = disk.after_kill();
            // A later write ensures that no damage looks like a torn tail.
            history.append_floor(&mut *writer).await;
            writer.close().await.unwrap();
            let segments = segments(&before);
            let mut disk = disk;
            for (segment, at, mask) in &places {
                let segment = &segments[segment.index(segments.len())];
                let at = at.index(before.content(segment).unwrap().len());
                disk = damaged(&disk, segment, |bytes| bytes[at] ^= mask);
            }
            check(&disk, &history, Owed::All, &format!("{places:?}")).await;
        });
    }
}
