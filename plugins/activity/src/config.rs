//! `[plugins.activity]`.

use crate::encode::Encodings;
use crate::roll_policy::Policy;
use crate::store::{Location, hdfs};
use greyhound_sdk::config::{ByteSize, Problems, duration};
use serde::Deserialize;
use std::time::Duration;

/// How much of `freshness` is left for the commit.
const COMMIT_TIME: Duration = Duration::from_secs(5);

/// The sink's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The place of the tables: see [`Location`].
    pub store: String,
    /// How the tables are written to HDFS.
    pub hdfs: hdfs::Settings,
    /// How soon a row can be read in its table.
    #[serde(with = "duration")]
    pub freshness: Duration,
    /// A table's file is committed once it has this size.
    pub file_size: ByteSize,
    /// The encodings of the files.
    pub encoding: Encodings,
    /// Days that ended longer ago are removed; `None` keeps all days.
    #[serde(with = "duration::option")]
    pub retention: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: "data/tables".into(),
            hdfs: hdfs::Settings::default(),
            freshness: Duration::from_secs(60),
            file_size: ByteSize::mib(256),
            encoding: Encodings::default(),
            retention: None,
        }
    }
}

impl Config {
    /// When files are committed.
    pub(crate) fn policy(&self) -> Policy {
        let age = self.freshness - COMMIT_TIME.min(self.freshness / 2);
        Policy { file_size: usize::try_from(self.file_size.as_u64()).unwrap_or(usize::MAX), age }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        match self.store.parse() {
            Ok(Location::Local(_)) if self.hdfs != hdfs::Settings::default() => {
                problems
                    .report("hdfs", "applies only to a store \"hdfs://...\": remove it, or set plugins.activity.store");
            }
            Ok(_) => self.hdfs.check(problems),
            Err(why) => problems.report("store", why.to_string()),
        }
        if self.freshness < Duration::from_secs(1) {
            problems.report(
                "freshness",
                "is too short: expected at least \"1s\", because each table's file is written and synced that often",
            );
        }
        if self.retention.is_some_and(|age| age < Duration::from_secs(86_400)) {
            problems.report("retention", "is too short: expected at least \"1day\", because whole days are removed");
        }
        if !(ByteSize::mib(1)..=ByteSize::gib(2)).contains(&self.file_size) {
            problems.report("file_size", "expected \"1MiB\" to \"2GiB\": a file is encoded in memory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        let config = Config {
            store: "s3://bucket".into(),
            freshness: Duration::ZERO,
            file_size: ByteSize::b(1),
            ..Config::default()
        };
        let mut problems = Problems::below("plugins.activity");
        config.check(&mut problems);
        let keys: Vec<_> = problems.into_list().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["plugins.activity.store", "plugins.activity.freshness", "plugins.activity.file_size"]);
        let mut none = Problems::default();
        Config::default().check(&mut none);
        assert!(none.into_list().is_empty());
    }
}
