//! The building blocks of a plugin's configuration.
//!
//! Durations and sizes are strings (`"5s"`, `"64MiB"`): use [`duration`] with `#[serde(with)]` and [`ByteSize`].

pub use bytesize::ByteSize;
/// `#[serde(with = "greyhound_sdk::config::duration")]`: a `Duration` as a string such as `"5s"` or `"1m 30s"`.
pub use humantime_serde as duration;

/// What is wrong with a configuration: all of it, so that the operator mends it in one go.
#[derive(Debug, Default)]
pub struct Problems {
    prefix: String,
    list: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's full path, such as `plugins.messaging.listen`.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problems {
    /// No problems yet; keys are reported below `prefix`.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), list: Vec::new() }
    }

    /// Reports that the value of `key` (below the prefix) is not acceptable.
    pub fn report(&mut self, key: &str, message: impl Into<String>) {
        let key = match (self.prefix.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => self.prefix.clone(),
            _ => format!("{}.{key}", self.prefix),
        };
        self.list.push(Problem { key, message: message.into() });
    }

    /// All that was reported, in the order of the reports.
    #[must_use]
    pub fn into_list(self) -> Vec<Problem> {
        self.list
    }
}
