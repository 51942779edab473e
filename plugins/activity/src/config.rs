//! `[plugins.activity]`.

use greyhound_sdk::config::{ByteSize, Problems, duration};
use serde::Deserialize;
use std::time::Duration;

/// The sink's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the tables are: a local directory.
    pub store: String,
    /// How soon a row is readable in its table.
    #[serde(with = "duration")]
    pub freshness: Duration,
    /// A table's file is committed when it has grown to this.
    pub file_size: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { store: "data/tables".into(), freshness: Duration::from_secs(60), file_size: ByteSize::mib(256) }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if let Some((scheme, _)) = self.store.split_once("://") {
            problems.report("store", format!("no store speaks `{scheme}://`: expected the path of a local directory"));
        } else if self.store.trim().is_empty() {
            problems.report("store", "is empty: expected the path of a local directory");
        }
        if self.freshness < Duration::from_secs(1) {
            problems
                .report("freshness", "is too short: expected at least \"1s\", because each table's file is written and synced that often");
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
        let config = Config { store: "s3://bucket".into(), freshness: Duration::ZERO, file_size: ByteSize::b(1) };
        let mut problems = Problems::below("plugins.activity");
        config.check(&mut problems);
        let keys: Vec<_> = problems.into_list().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["plugins.activity.store", "plugins.activity.freshness", "plugins.activity.file_size"]);
        let mut none = Problems::default();
        Config::default().check(&mut none);
        assert!(none.into_list().is_empty());
    }
}
