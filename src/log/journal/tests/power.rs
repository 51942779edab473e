//! Cuts the power at every step of a journal's life, and again after a restart.

use super::super::{Journal, SyncPolicy};
use super::ground::{Found, Owed, TOPICS, group, open_at, run};
use crate::log::conformance::history::{History, assert_same, end, read_all};
use crate::log::conformance::{ITEM, ORDER, ROWS, take_over};
use crate::log::{Frame, Log, LogError, Retention};
use greyhound_sdk::Shard;
use greyhound_sdk::testing::power_cut::PowerCut;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// No consumer needs orders and items before these rows.
const READ: [u64; 2] = [20, 30];

/// What a process appended and what the journal acknowledged, across restarts.
#[derive(Default)]
struct Witness {
    history: History,
    shard: Option<Shard>,
    schemas: Vec<(u64, &'static str)>,
    /// The group whose append did not return.
    pending: Vec<Frame>,
    /// Whether rows may have been deleted.
    retained: bool,
    closing: bool,
}

impl Witness {
    /// Runs until the end or until the power is cut.
    async fn live(&mut self, disk: &PowerCut, groups: usize) -> Result<(), LogError> {
        let fatal = |e: super::super::OpenError| LogError::Fatal(e.to_string());
        let log = open_at(disk, SyncPolicy::Fsync).map_err(fatal)?;
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
            self.pending = group(&mut self.history, at);
            writer.append(&self.pending).await?;
            self.history.acknowledge(&std::mem::take(&mut self.pending));
            if at % 5 == 3 {
                let time = self.history.tick();
                writer.floor(time).await?;
                self.history.floor = time;
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
        let lost = log.retain(&policy, &required, self.history.now()).await?;
        assert_eq!(lost, []);
        Ok(())
    }

    /// Checks the journal on `disk` against what was acknowledged, and notes what it holds beyond that.
    async fn find(&mut self, disk: &PowerCut, what: &str) {
        let log = open_at(disk, SyncPolicy::Fsync).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(log.recovery().damage, [], "{what}: a power cut is not damage");
        assert!(self.shard.as_ref().is_none_or(|shard| shard == log.shard()), "{what}: the shard has changed");
        assert!(log.recovery().floor >= self.history.floor, "{what}: the floor has decreased");
        assert!(self.closing || !log.recovery().clean, "{what}: it was not closed");
        self.find_pending(&*log, what);
        for (topic, read) in TOPICS.iter().zip(READ) {
            let bounds = log.bounds(topic);
            assert_eq!(bounds.end, self.history.end(topic), "{what}: the end of {topic}");
            assert!(
                bounds.earliest <= if self.retained { read } else { 0 },
                "{what}: {topic} begins at {}",
                bounds.earliest
            );
            assert_same(&read_all(&*log, topic, 0).await, &self.history.stored(topic, bounds.earliest));
            let known = log.schemas(topic);
            let acknowledged = self.schemas.iter().map(|(_, avro)| *avro);
            assert!(
                known.iter().map(|s| &**s).take(self.schemas.len()).eq(acknowledged),
                "{what}: {topic} has the schemas {known:?}"
            );
        }
        assert_eq!(log.damage(), [], "{what}: a power cut is not damage");
    }

    /// Checks that the journal holds a prefix of the group that was not acknowledged.
    fn find_pending(&mut self, log: &dyn Log, what: &str) {
        let pending = std::mem::take(&mut self.pending);
        let there = |frame: &&Frame| log.bounds(&frame.topic).end >= end(frame);
        let whole = pending.iter().take_while(there).count();
        assert_eq!(pending.iter().filter(there).count(), whole, "{what}: a frame exists without an earlier one");
        self.history.acknowledge(&pending[..whole]);
        for topic in [ORDER, ITEM] {
            self.history.continue_at(topic, self.history.end(topic));
        }
    }
}

#[test]
fn for_a_power_cut_at_any_step_every_acknowledged_row_is_recorded_once() {
    for seed in 0..8 {
        for step in 0.. {
            if run(three_lives(step, seed)) {
                assert!(step > 60, "{step} steps");
                break;
            }
        }
    }
}

/// Cuts the power at the given step, and later at another. Returns whether the first run completed.
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
    assert!(open_at(&disk, SyncPolicy::Fsync).unwrap().recovery().clean, "{what}: it was closed");
    whole
}

#[test]
fn below_fsync_a_power_cut_loses_only_the_end_or_reports_lost_rows() {
    for seed in 0..200 {
        run(async {
            let (disk, mut history) = (PowerCut::new(), History::default());
            let log = open_at(&disk, SyncPolicy::Memory).unwrap();
            let mut writer = take_over(&*log).await;
            for at in 0..seed % 20 {
                let group = group(&mut history, at);
                history.append(&mut *writer, group).await;
            }
            let (disk, what) = (disk.after_power_cut(seed as u64), format!("seed {seed}"));
            let found = Found::on(&disk).await;
            found.check(&history, Owed::Before(0), &what);
            found.continue_and_reopen(&disk, &what).await;
        });
    }
}
