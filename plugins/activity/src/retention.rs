//! Removes old days from the tables, for all shards, including those of decommissioned nodes.

use crate::compact::swap::Swaps;
use crate::layout::{Hour, parse};
use crate::metrics as names;
use crate::store::staging::STAGING;
use crate::store::{Store, StoreError};
use greyhound_sdk::Shard;
use metrics::counter;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

const DAY_HOURS: i64 = 24;
/// Nothing is removed unless so many days stay: if the clock jumps ahead, every day before the jump looks old.
const DAYS_KEPT_MIN: usize = 2;
/// So many days are removed in one step: meanwhile, the table's writer cannot commit.
const DAYS_PER_STEP: usize = 10;

/// Removes the old days of one table.
pub struct Retention {
    store: Arc<dyn Store>,
    topic: String,
    /// `None` keeps all days.
    age: Option<Duration>,
    /// All days before this one were removed.
    enforced: Option<Hour>,
    /// What could not be removed and was logged, to log it only once.
    told: HashSet<String>,
}

impl Retention {
    /// Removes days of `topic`'s table that ended more than `age` ago.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, age: Option<Duration>) -> Self {
        Self { store, topic: topic.to_owned(), age, enforced: None, told: HashSet::new() }
    }

    /// Removes the days that are too old at the beginning of `now`, at most once a day: from the table, and from
    /// staging, because otherwise they could be restored from there. What only an operator can remove is logged, and
    /// stays.
    ///
    /// # Errors
    /// If the store fails; then call it again.
    pub async fn enforce(&mut self, now: Hour) -> Result<(), StoreError> {
        let oldest = self.age.and_then(|age| oldest_kept(now, age));
        let Some(oldest) = oldest.filter(|oldest| self.enforced < Some(*oldest)) else { return Ok(()) };
        let mut days = self.store.list(&self.topic).await?;
        days.retain(|day| parse(day, "hour=00").is_some());
        let (old, kept): (Vec<_>, Vec<_>) = days.into_iter().partition(|day| parse(day, "hour=00") < Some(oldest));
        if kept.len() < DAYS_KEPT_MIN {
            if let Some(day) = old.first()
                && self.told.insert(format!("{day} waits"))
            {
                tracing::info!(
                    topic = self.topic,
                    day,
                    "an old day stays until the table has two newer days, because the clock may have jumped"
                );
            }
            return Ok(());
        }
        let mut removed = 0;
        for day in old {
            if removed == DAYS_PER_STEP {
                return Ok(());
            }
            let gone = self.store.remove_tree(&format!("{}/{day}", self.topic)).await;
            if self.is_done(gone)? {
                removed += 1;
                counter!(names::DAYS_REMOVED, "topic" => self.topic.clone()).increment(1);
                tracing::info!(topic = self.topic, day, "removed a day that is older than plugins.activity.retention");
            }
        }
        for shard in self.store.list(STAGING).await?.iter().filter_map(|name| name.parse::<Shard>().ok()) {
            let forgotten = Swaps::new(self.store.clone(), &self.topic, shard).forget_before(oldest).await;
            self.is_done(forgotten)?;
        }
        self.enforced = Some(oldest);
        Ok(())
    }

    /// Whether something was removed. If it stays until an operator acts, this is logged once.
    fn is_done(&mut self, removed: Result<(), StoreError>) -> Result<bool, StoreError> {
        match removed {
            Err(error) if error.is_refused() => {
                if self.told.insert(error.to_string()) {
                    tracing::warn!(topic = self.topic, %error, "data older than plugins.activity.retention cannot be removed");
                }
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }
}

/// The first hour of the oldest day that is kept: the day ended no more than `age` before `now`.
pub(crate) fn oldest_kept(now: Hour, age: Duration) -> Option<Hour> {
    let hours = i64::try_from(age.as_secs().div_ceil(3600)).ok()?;
    Some(Hour(now.0.checked_sub(hours)?.div_euclid(DAY_HOURS) * DAY_HOURS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::local::LocalStore;
    use greyhound_sdk::fs::OsFileSystem;

    #[test]
    fn a_day_goes_when_all_of_it_is_too_old() {
        let day = |days: u64| Duration::from_secs(days * 86_400);
        let noon = Hour(100 * 24 + 12);
        assert_eq!(oldest_kept(noon, day(1)), Some(Hour(99 * 24)), "yesterday was over 12 hours ago");
        assert_eq!(oldest_kept(Hour(100 * 24 + 23), day(1)), Some(Hour(99 * 24)));
        assert_eq!(oldest_kept(Hour(101 * 24), day(1)), Some(Hour(100 * 24)));
        assert_eq!(oldest_kept(noon, Duration::from_secs(1)), Some(Hour(100 * 24)), "never the day that is not over");
    }

    struct Tables {
        home: tempfile::TempDir,
        store: Arc<dyn Store>,
    }

    impl Tables {
        fn new(directories: &[&str]) -> Self {
            let home = tempfile::tempdir().unwrap();
            directories.iter().for_each(|directory| std::fs::create_dir_all(home.path().join(directory)).unwrap());
            let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
            Self { home, store }
        }

        fn has(&self, path: &str) -> bool {
            self.home.path().join(path).exists()
        }

        fn retention(&self, days: u64) -> Retention {
            Retention::new(self.store.clone(), "t", Some(Duration::from_secs(days * 86_400)))
        }
    }

    /// The noon of a day.
    fn noon(day: &str) -> Hour {
        parse(day, "hour=12").unwrap()
    }

    #[tokio::test]
    async fn days_go_from_the_oldest_on_some_at_a_time_and_foreign_names_stay() {
        let old: Vec<String> =
            (1..=25).map(|day| format!("t/dt=2026-01-{day:02}/hour=00/shard=gone-00000001")).collect();
        let mut all: Vec<&str> = old.iter().map(String::as_str).collect();
        all.extend(["t/dt=2026-02-23", "t/dt=2026-03-01", "t/dt=2026-03-02", "t/dt=old", "t/other"]);
        let tables = Tables::new(&all);
        let mut retention = tables.retention(7);
        let left = || old.iter().filter(|path| tables.has(path)).count();
        for expected in [15, 5, 0] {
            retention.enforce(noon("dt=2026-03-02")).await.unwrap();
            assert_eq!(left(), expected);
            assert!(expected == 0 || tables.has(&old[24]));
        }
        assert!(all[25..].iter().all(|path| tables.has(path)));
        // It is looked once a day.
        std::fs::create_dir_all(tables.home.path().join(&old[0])).unwrap();
        retention.enforce(noon("dt=2026-03-02")).await.unwrap();
        assert_eq!(left(), 1);
        retention.enforce(noon("dt=2026-03-03")).await.unwrap();
        assert_eq!(left(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_told_once_and_the_rest_goes() {
        let tables = Tables::new(&["t/dt=2026-01-12", "t/dt=2026-03-01", "t/dt=2026-03-02", "_staging/gone-00000001"]);
        for day in 1..=11 {
            std::fs::write(tables.home.path().join(format!("t/dt=2026-01-{day:02}")), "a file").unwrap();
        }
        std::fs::write(tables.home.path().join("_staging/gone-00000001/t"), "a file").unwrap();
        let mut retention = tables.retention(7);
        for day in ["dt=2026-03-02", "dt=2026-03-03"] {
            retention.enforce(noon(day)).await.unwrap();
            assert!(!tables.has("t/dt=2026-01-12") && tables.has("t/dt=2026-01-11") && tables.has("t/dt=2026-03-01"));
            assert_eq!(retention.told.len(), 12);
        }
    }

    #[tokio::test]
    async fn nobody_can_bring_back_an_hour_of_a_day_that_was_removed() {
        let old = "_staging/gone-00000001/t/1-x-1.490000.old";
        let young = format!("_staging/gone-00000001/t/1-x-2.{}.old", noon("dt=2026-03-01").0);
        let tables = Tables::new(&["t/dt=2026-01-01", "t/dt=2026-03-01", "t/dt=2026-03-02", old, &young]);
        tables.retention(7).enforce(noon("dt=2026-03-02")).await.unwrap();
        assert!(!tables.has("t/dt=2026-01-01") && !tables.has(old) && tables.has(&young));
    }

    #[tokio::test]
    async fn a_clock_that_leaps_removes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let make = |day: &str| std::fs::create_dir_all(home.path().join("t").join(day)).unwrap();
        let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
        let mut retention = Retention::new(store, "t", Some(Duration::from_secs(400 * 86_400)));
        let leapt = parse("dt=2036-01-02", "hour=05").unwrap();
        ["dt=2026-01-01", "dt=2026-01-02", "dt=2036-01-02"].into_iter().for_each(make);
        retention.enforce(leapt).await.unwrap();
        assert!(home.path().join("t/dt=2026-01-01").exists());
        make("dt=2036-01-01");
        retention.enforce(leapt).await.unwrap();
        assert!(!home.path().join("t/dt=2026-01-01").exists() && home.path().join("t/dt=2036-01-01").exists());
    }
}
