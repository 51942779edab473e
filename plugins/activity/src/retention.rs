//! Days that are old enough are removed from the tables, of all shards: also of nodes that are no more.

use crate::hours::parse;
use crate::metrics as names;
use crate::roll::Hour;
use crate::store::{Store, StoreError};
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;

const DAY_HOURS: i64 = 24;
/// A clock that leaps makes all days old but the one that it leapt to: it must be wrong for longer before anything is removed.
const LEAST_KEPT: usize = 2;
/// So many days are removed in one step, which keeps the table's writer from commits.
const AT_ONCE: usize = 10;

/// Removes the old days of one table.
pub struct Retention {
    store: Arc<dyn Store>,
    topic: String,
    /// None: all are kept.
    age: Option<Duration>,
    /// Days before this one were removed.
    enforced: Option<Hour>,
}

impl Retention {
    /// Removes days of `topic`'s table that have been over for `age`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, age: Option<Duration>) -> Self {
        Self { store, topic: topic.to_owned(), age, enforced: None }
    }

    /// Removes what is too old at the beginning of `now`, if a day has become so since the last time; then the first hour
    /// that is kept.
    ///
    /// # Errors
    /// Where the store cannot: then it must be done again.
    pub async fn enforce(&mut self, now: Hour) -> Result<Option<Hour>, StoreError> {
        let Some(oldest) = self.age.and_then(|age| oldest_kept(now, age)) else { return Ok(None) };
        if self.enforced >= Some(oldest) {
            return Ok(None);
        }
        let is_old = |day: &String| parse(day, "hour=00").is_some_and(|begin| begin < oldest);
        let mut days = self.store.list(&self.topic).await?;
        days.retain(|day| day.starts_with("dt="));
        let (old, kept): (Vec<_>, Vec<_>) = days.into_iter().partition(is_old);
        if !old.is_empty() && kept.len() < LEAST_KEPT {
            return Ok(None);
        }
        for day in old.iter().take(AT_ONCE) {
            match self.store.remove_tree(&format!("{}/{day}", self.topic)).await {
                Err(e) if e.is_obstacle() => {
                    tracing::warn!(topic = self.topic, day, error = %e, "this is no day, and is left as it is");
                    continue;
                }
                removed => removed?,
            }
            counter!(names::DAYS_REMOVED, "topic" => self.topic.clone()).increment(1);
            tracing::info!(topic = self.topic, day, "a day is removed: it is older than plugins.activity.retention");
        }
        if old.len() <= AT_ONCE {
            self.enforced = Some(oldest);
        }
        Ok(Some(oldest))
    }
}

/// The begin of the oldest day that is kept: it ended no longer than `age` before `now`.
fn oldest_kept(now: Hour, age: Duration) -> Option<Hour> {
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

    #[tokio::test]
    async fn a_clock_that_leaps_removes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let make = |day: &str| std::fs::create_dir_all(home.path().join("t").join(day)).unwrap();
        let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
        let mut retention = Retention::new(store, "t", Some(Duration::from_secs(400 * 86_400)));
        let leapt = parse("dt=2036-01-02", "hour=05").unwrap();
        ["dt=2026-01-01", "dt=2026-01-02", "dt=2036-01-02"].into_iter().for_each(make);
        assert_eq!(retention.enforce(leapt).await.unwrap(), None);
        assert!(home.path().join("t/dt=2026-01-01").exists());
        make("dt=2036-01-01");
        assert!(retention.enforce(leapt).await.unwrap().is_some());
        assert!(!home.path().join("t/dt=2026-01-01").exists() && home.path().join("t/dt=2036-01-01").exists());
    }

    #[tokio::test]
    async fn what_is_no_day_is_left_and_holds_nothing_up() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
        ["dt=2026-01-02", "dt=2026-03-01", "dt=2026-03-02"]
            .into_iter()
            .for_each(|day| std::fs::create_dir_all(home.path().join("t").join(day)).unwrap());
        std::fs::write(home.path().join("t/dt=2026-01-01"), "a note").unwrap();
        let mut retention = Retention::new(store, "t", Some(Duration::from_secs(30 * 86_400)));
        assert!(retention.enforce(parse("dt=2026-03-02", "hour=05").unwrap()).await.unwrap().is_some());
        assert!(home.path().join("t/dt=2026-01-01").exists() && !home.path().join("t/dt=2026-01-02").exists());
    }
}
