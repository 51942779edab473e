//! Building blocks of a plugin's configuration.
//!
//! Durations and sizes are strings (`"5s"`, `"64MiB"`): use [`duration`] with `#[serde(with)]` and [`ByteSize`].

pub use bytesize::ByteSize;
/// For `#[serde(with = "greyhound_sdk::config::duration")]`: reads a `Duration` from a string such as `"5s"` or `"1m
/// 30s"`.
pub use humantime_serde as duration;

/// Collects all problems of a configuration, so that the operator can fix them at once.
#[derive(Debug, Default)]
pub struct Problems {
    prefix: String,
    list: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// A problem with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's full path, such as `plugins.messaging.listen`.
    pub key: String,
    /// The fault, and what was expected.
    pub message: String,
}

impl Problems {
    /// Creates an empty list. Keys are reported below `prefix`.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// Reports that the value of `key`, a path below the prefix, is not acceptable.
    pub fn report(&mut self, key: &str, message: impl Into<String>) {
        let key = self.full(key);
        self.list.push(Problem { key, message: message.into() });
    }

    /// Warns that the program runs with the value of `key`, a path below the prefix, but hardly as meant.
    pub fn warn(&mut self, key: &str, message: impl Into<String>) {
        let key = self.full(key);
        self.warnings.push(Problem { key, message: message.into() });
    }

    fn full(&self, key: &str) -> String {
        match (self.prefix.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => self.prefix.clone(),
            _ => format!("{}.{key}", self.prefix),
        }
    }

    /// Returns all warnings in the order in which they were reported.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Returns all problems in the order in which they were reported.
    #[must_use]
    pub fn into_list(self) -> Vec<Problem> {
        self.list
    }
}
