//! The power is cut at every step of a journal's life, and again in the life after it.

use super::super::{Journal, Level};
use super::ground::{Found, Owed, TOPICS, group, open_at, run};
use crate::log::conformance::book::{Book, assert_same, end, read_all};
use crate::log::conformance::{ITEM, ORDER, ROWS, take_over};
use crate::log::{Frame, Log, LogError, Retention};
use greyhound_sdk::Shard;
use greyhound_sdk::testing::power_cut::PowerCut;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Orders and items before these rows are not needed once they are read.
const READ: [u64; 2] = [20, 30];

/// What a process did and was told, over all its lives.
#[derive(Default)]
struct Witness {
    book: Book,
    shard: Option<Shard>,
    schemas: Vec<(u64, &'static str)>,
    /// The group whose append did not return.
    pending: Vec<Frame>,
    /// Whether rows may have been let go.
    retained: bool,
    closing: bool,
}

impl Witness {
    /// One life, until its end or the power's.
    async fn live(&mut self, disk: &PowerCut, groups: usize) -> Result<(), LogError> {
        let fatal = |e: super::super::OpenError| LogError::Fatal(e.to_string());
        let log = open_at(disk, Level::Fsync).map_err(fatal)?;
        self.shard = Some(log.shard().clone());
        let mut writer = log.writer().await?;
        self.closing = false;
        for (fingerprint, avro) in [ROWS, (8, "a later schema")] {
            for topic in TOPICS {
                writer.register(topic, fingerprint, avro).await?;
            }
            if !self.schemas.contains(&(fingerprint, avro)) {
                self.schemas.push((fingerprint, avro));
            }
        }
        for at in 0..groups {
            self.pending = group(&mut self.book, at);
            writer.append(&self.pending).await?;
            self.book.acknowledge(&std::mem::take(&mut self.pending));
            if at % 5 == 3 {
                let time = self.book.tick();
                writer.floor(time).await?;
                self.book.floor = time;
            }
            if at % 6 == 5 {
                self.retain(&log).await?;
            }
        }
        self.closing = true;
        writer.close().await
    }

    async fn retain(&mut self, log: &Journal) -> Result<(), LogError> {
        self.retained = true;
        let policy = Retention { bytes: 4_000, age: Duration::MAX, disk_cap: u64::MAX };
        let required: HashMap<Arc<str>, u64> =
            TOPICS.iter().zip(READ).map(|(topic, read)| ((*topic).into(), read)).collect();
        let lost = log.retain(&policy, &required, self.book.now()).await?;
        assert_eq!(lost, []);
        Ok(())
    }

    /// Holds the journal on `disk` to what this process was told, and takes note of what it finds beyond that.
    async fn find(&mut self, disk: &PowerCut, what: &str) {
        let log = open_at(disk, Level::Fsync).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(log.recovery().damage, [], "{what}: a power cut is not damage");
        assert!(self.shard.as_ref().is_none_or(|shard| shard == log.shard()), "{what}: the shard is another one");
        assert!(log.recovery().floor >= self.book.floor, "{what}: the floor fell");
        assert!(self.closing || !log.recovery().clean, "{what}: nobody closed it");
        self.find_pending(&*log, what);
        for (topic, read) in TOPICS.iter().zip(READ) {
            let bounds = log.bounds(topic);
            assert_eq!(bounds.end, self.book.end(topic), "{what}: the end of {topic}");
            assert!(
                bounds.earliest <= if self.retained { read } else { 0 },
                "{what}: {topic} begins at {}",
                bounds.earliest
            );
            assert_same(&read_all(&*log, topic, 0).await, &self.book.stored(topic, bounds.earliest));
            let known = log.schemas(topic);
            let acknowledged = self.schemas.iter().map(|(_, avro)| *avro);
            assert!(
                known.iter().map(|s| &**s).take(self.schemas.len()).eq(acknowledged),
                "{what}: {topic} has the schemas {known:?}"
            );
        }
        assert_eq!(log.damage(), [], "{what}: a power cut is not damage");
    }

    /// The group that was not acknowledged is there up to any frame, and from there on not.
    fn find_pending(&mut self, log: &dyn Log, what: &str) {
        let pending = std::mem::take(&mut self.pending);
        let there = |frame: &&Frame| log.bounds(&frame.topic).end >= end(frame);
        let whole = pending.iter().take_while(there).count();
        assert_eq!(pending.iter().filter(there).count(), whole, "{what}: a frame is there without one before it");
        self.book.acknowledge(&pending[..whole]);
        for topic in [ORDER, ITEM] {
            self.book.go_on_at(topic, self.book.end(topic));
        }
    }
}

#[test]
fn whatever_step_the_power_is_cut_at_every_acknowledged_row_is_there_once() {
    for seed in 0..8 {
        for step in 0.. {
            if run(three_lives(step, seed)) {
                assert!(step > 60, "{step} steps");
                break;
            }
        }
    }
}

/// The first life ends at the given step, the next at another. Returns whether the first was whole.
async fn three_lives(step: u64, seed: u64) -> bool {
    let what = format!("step {step}, seed {seed}");
    let (mut disk, mut witness) = (PowerCut::new(), Witness::default());
    disk.fail_after(step);
    let whole = witness.live(&disk, 14).await.is_ok();
    disk = disk.after_power_cut(seed);
    witness.find(&disk.after_kill(), &what).await;
    disk.fail_after((step * 7 + seed * 3) % 40);
    witness.live(&disk, 5).await.ok();
    disk = disk.after_power_cut(seed + step);
    witness.find(&disk, &what).await;
    witness.live(&disk, 9).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    disk = disk.after_power_cut(seed);
    witness.find(&disk, &what).await;
    assert!(open_at(&disk, Level::Fsync).unwrap().recovery().clean, "{what}: it was closed");
    whole
}

#[test]
fn below_fsync_a_power_cut_loses_rows_at_the_end_or_tells_which() {
    for seed in 0..200 {
        run(async {
            let (disk, mut book) = (PowerCut::new(), Book::default());
            let log = open_at(&disk, Level::Memory).unwrap();
            let mut writer = take_over(&*log).await;
            for at in 0..seed % 20 {
                let group = group(&mut book, at);
                book.append(&mut *writer, group).await;
            }
            let (disk, what) = (disk.after_power_cut(seed as u64), format!("seed {seed}"));
            let found = Found::on(&disk).await;
            found.check(&book, Owed::Before(0), &what);
            found.go_on(&disk, &what).await;
        });
    }
}
