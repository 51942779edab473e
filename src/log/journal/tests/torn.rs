//! Torn tails: intact frames are returned, and nothing is reported as damage.

use super::ground::{Found, Owed, run, segments, written};
use crate::log::Log;
use crate::log::conformance::history::{History, end};
use greyhound_sdk::testing::power_cut::PowerCut;
use std::path::PathBuf;

/// A journal whose last segment a test replaces.
struct Torn {
    disk: PowerCut,
    history: History,
    last: PathBuf,
    content: Vec<u8>,
}

impl Torn {
    async fn new(closed: bool) -> Self {
        let (disk, history) = written(closed).await;
        let last = segments(&disk).pop().unwrap();
        let content = disk.content(&last).unwrap();
        Self { disk, history, last, content }
    }

    fn with(&self, content: Vec<u8>) -> PowerCut {
        let disk = self.disk.after_kill();
        disk.put(&self.last, content);
        disk
    }

    /// Returns how many frames of the history are before the last segment.
    async fn before(&self) -> usize {
        let found = Found::on(&self.with(Vec::new())).await;
        self.history.frames.iter().take_while(|f| found.log_end(&f.topic) >= end(f)).count()
    }
}

impl Found {
    fn log_end(&self, topic: &str) -> u64 {
        self.log.bounds(topic).end
    }

    /// Returns how many frames of the history the journal holds. They must be the first.
    fn whole(&self, history: &History) -> usize {
        history.frames.iter().filter(|f| self.log_end(&f.topic) >= end(f)).count()
    }
}

#[test]
fn a_file_truncated_at_any_byte_keeps_its_intact_frames() {
    run(async {
        let torn = Torn::new(false).await;
        let mut least = torn.before().await;
        for cut in 0..=torn.content.len() {
            let (what, disk) = (format!("cut at {cut}"), torn.with(torn.content[..cut].to_vec()));
            let found = Found::on(&disk).await;
            found.check(&torn.history, Owed::Before(least), &what);
            assert_eq!(found.lost, [], "{what}: a torn tail is not damage");
            least = found.whole(&torn.history);
            found.continue_and_reopen(&disk, &what).await;
        }
        assert_eq!(least, torn.history.frames.len());
    });
}

#[test]
fn a_file_truncated_at_any_byte_and_padded_with_zeros_keeps_its_intact_frames() {
    run(async {
        let torn = Torn::new(true).await;
        let mut least = torn.before().await;
        for cut in (0..=torn.content.len()).step_by(4) {
            let (what, mut content) = (format!("zeros from {cut}"), torn.content.clone());
            content[cut..].fill(0);
            let disk = torn.with(content);
            let found = Found::on(&disk).await;
            found.check(&torn.history, Owed::Before(least), &what);
            assert_eq!(found.lost, [], "{what}: a torn tail is not damage");
            least = found.whole(&torn.history);
            found.continue_and_reopen(&disk, &what).await;
        }
    });
}

#[test]
fn garbage_after_the_end_is_cut_off() {
    run(async {
        for closed in [false, true] {
            let torn = Torn::new(closed).await;
            let first_frame = torn.content[..400].to_vec();
            for garbage in [vec![0; 5_000], vec![0xff; 13], b"GHJ1".repeat(100), first_frame, torn.content.clone()] {
                let disk = torn.with([torn.content.clone(), garbage].concat());
                let found = Found::on(&disk).await;
                found.check(&torn.history, Owed::All, "garbage");
                assert_eq!(found.lost, []);
                found.continue_and_reopen(&disk, "garbage").await;
            }
        }
    });
}
