//! The configuration of the program. Each plugin has a section of its own, `[plugins.NAME]`.
//!
//! There are three layers, of which later ones override earlier ones: defaults, the file, and environment variables
//! `GREYHOUND__SECTION__KEY`. [`Tree`] joins the layers and reads the sections, and collects every problem.

mod misspelt;
mod problem;
mod secret;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use misspelt::knows;
pub use problem::{ConfigError, nearest};
pub use secret::Secret;
pub(crate) use tree::ENABLED;
pub use tree::{Layers, Tree};

use bytesize::ByteSize;
use greyhound_sdk::config::{Problems, duration};
use greyhound_sdk::paths;
use greyhound_sdk::tls::TlsFiles;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything except the sections of plugins.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The name of this node, and its data directory.
    pub node: Node,
    /// The log under the bus.
    pub log: Log,
    /// The HTTP listener for operators and backends.
    pub admin: Admin,
    /// Start, supervision and shutdown.
    pub host: Host,
    /// Each plugin reads its own section.
    plugins: BTreeMap<String, IgnoredAny>,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// The name of the node, with which the name of its shard begins. Default: the name of the host.
    pub name: String,
    /// The directory of the journal, the cursors and the data of plugins.
    pub data_dir: PathBuf,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The storage engine.
    pub engine: Engine,
    /// What an acknowledged row survives.
    pub durability: Level,
    /// With `durability = "interval"`: how often to sync the journal.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// The size of a journal file.
    pub segment_size: ByteSize,
    /// When to delete rows.
    pub retention: Retention,
    /// The hard size limit of the log: once it is reached, the oldest rows are deleted even if a consumer needs them.
    pub disk_cap: ByteSize,
    /// How many bytes of rows may wait for the disk before the bus sheds more.
    pub queue: ByteSize,
}

/// The storage engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The embedded journal.
    Journal,
}

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is on disk: it survives a crash of the machine.
    Fsync,
    /// It is written, and synced a little later: it survives a crash of the process.
    Interval,
    /// It is written, and synced by the operating system: it survives a crash of the process.
    Memory,
}

/// `[log.retention]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Keep at most this many bytes, and more if a required consumer has not read them.
    pub bytes: ByteSize,
    /// Keep rows this long, and longer if a required consumer has not read them.
    #[serde(with = "duration")]
    pub age: Duration,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// The bearer token for publishing and reading.
    pub token: Option<Secret>,
    /// The file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Whether programs on this machine need no token.
    pub allow_loopback: bool,
    /// Topics that accept rows over HTTP although their plugins do not declare them open.
    pub open_topics: Vec<String>,
    /// The certificate with which it speaks TLS.
    pub tls: AdminTls,
}

/// `[admin.tls]`. Without files, it speaks HTTP without TLS.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTls {
    /// The certificate, followed by those of its issuers, in PEM.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub key: Option<PathBuf>,
    /// The authorities whose certificates programs need to connect, in PEM. They need no token then.
    pub client_ca: Option<PathBuf>,
}

/// The prefix of the program's own topics, to which nobody else publishes.
pub(crate) const OWN_TOPICS: &str = "greyhound.";

/// The file with the token of the admin listener cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("admin.token_file: {why}")]
pub struct TokenFileError {
    /// What is wrong with it.
    pub why: String,
}

/// `[host]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// How long a drain may take before the rest is abandoned.
    #[serde(with = "duration")]
    pub shutdown_deadline: Duration,
    /// How long a task may block a worker thread before the process ends.
    #[serde(with = "duration")]
    pub watchdog: Duration,
    /// How long `/readyz` returns 503 before a drain begins, so that load balancers stop sending clients.
    #[serde(with = "duration")]
    pub drain_wait: Duration,
    /// What to do if a plugin fails.
    pub on_failure: OnFailure,
    /// The format of log lines.
    pub log_format: LogFormat,
}

/// What to do if a plugin fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Build and run it again, after 1 s, then 2 s, up to 30 s.
    Restart,
    /// Drain, and end the process with an error.
    Exit,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

// === impl Settings ===

impl Settings {
    /// Reports every invalid value.
    pub fn validate(&self, problems: &mut Problems) {
        self.node.validate(problems);
        self.log.validate(problems);
        self.admin.validate(problems);
        if self.host.shutdown_deadline.is_zero() {
            problems.report("host.shutdown_deadline", "must be longer than 0s, such as \"30s\"");
        }
        if self.host.watchdog < Duration::from_secs(1) {
            problems.report("host.watchdog", "must be at least \"1s\"");
        }
    }

    /// The directory of the plugin `name`.
    #[must_use]
    pub fn plugin_dir(&self, name: &str) -> PathBuf {
        self.node.data_dir.join("plugins").join(name)
    }
}

// === impl Node ===

impl Default for Node {
    fn default() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        Self { name: node_name(&host), data_dir: "data".into() }
    }
}

impl Node {
    fn validate(&self, problems: &mut Problems) {
        if self.name.is_empty() || self.name != node_name(&self.name) {
            problems.report(
                "node.name",
                "must be 1 to 64 lower-case letters, digits, `-`, `_` or `.`: it becomes part of paths",
            );
        }
        if self.data_dir.as_os_str().is_empty() {
            problems.report("node.data_dir", "must be a directory, such as \"data\"");
        }
    }
}

/// The name of the host, reduced to characters that are allowed in a path.
fn node_name(host: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let name: String = host.chars().map(|c| if fits(c) { c } else { '-' }).take(64).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "node".to_owned() } else { name.to_owned() }
}

// === impl Log ===

impl Default for Log {
    fn default() -> Self {
        Self {
            engine: Engine::Journal,
            durability: Level::Fsync,
            interval: Duration::from_millis(50),
            segment_size: ByteSize::mib(128),
            retention: Retention::default(),
            disk_cap: ByteSize::gib(20),
            queue: ByteSize::mib(64),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { bytes: ByteSize::gib(10), age: Duration::from_secs(7 * 24 * 3600) }
    }
}

impl Log {
    fn validate(&self, problems: &mut Problems) {
        if self.interval.is_zero() || self.interval > Duration::from_secs(60) {
            problems.report("log.interval", "must be between \"1ms\" and \"60s\"");
        }
        if self.segment_size < ByteSize::mib(1) || self.segment_size > ByteSize::gib(2) {
            problems.report("log.segment_size", "must be between \"1MiB\" and \"2GiB\"");
        }
        if self.disk_cap < self.retention.bytes {
            problems.report(
                "log.disk_cap",
                "must be at least log.retention.bytes: it limits rows that retention may not delete",
            );
        }
        if self.disk_cap < ByteSize(self.segment_size.0.saturating_mul(2)) {
            problems.report(
                "log.disk_cap",
                "must be at least twice log.segment_size: the file that is written to is never deleted",
            );
        }
        if self.queue < ByteSize::mib(1) {
            problems.report("log.queue", "must be at least \"1MiB\"");
        }
    }
}

// === impl Admin ===

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 3001).into(),
            token: None,
            token_file: None,
            allow_loopback: true,
            open_topics: Vec::new(),
            tls: AdminTls::default(),
        }
    }
}

impl Admin {
    /// The token that callers must send, from the configuration or from its file.
    ///
    /// # Errors
    /// If the file cannot be read or is empty.
    pub fn bearer(&self) -> Result<Option<Secret>, TokenFileError> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let error = |why: String| TokenFileError { why };
        paths::check_file(path).map_err(|why| error(format!("{why}: put the token into it, or name another file")))?;
        let text = std::fs::read_to_string(path)
            .map_err(|e| error(format!("{} cannot be read: {e}", paths::redacted(path))))?;
        Ok(Some(Secret::new(text.trim())))
    }

    fn validate(&self, problems: &mut Problems) {
        if self.token.is_some() && self.token_file.is_some() {
            problems.report("admin.token_file", "must not be set together with admin.token: leave one of them out");
        }
        if self.token.as_ref().is_some_and(|t| t.reveal().trim().is_empty()) {
            problems.report("admin.token", "must not be empty; leave it out to have no token");
        }
        self.tls.validate(problems);
        if let Some(own) = self.open_topics.iter().find(|topic| topic.starts_with(OWN_TOPICS)) {
            problems
                .report("admin.open_topics", format!("must not have {own}: only the program itself publishes to it"));
        }
    }
}

// === impl AdminTls ===

impl AdminTls {
    /// The files, if certificate and key are named.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(TlsFiles { certificate, key, client_ca: self.client_ca.clone() })
    }

    fn validate(&self, problems: &mut Problems) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => problems.report("admin.tls.key", "is missing: name the key of admin.tls.certificate"),
            (None, Some(_)) => {
                problems.report("admin.tls.certificate", "is missing: name the certificate of admin.tls.key")
            }
            (None, None) if self.client_ca.is_some() => {
                problems.report("admin.tls.certificate", "is missing: clients have certificates only over TLS");
            }
            _ => {}
        }
    }
}

// === impl Host ===

impl Default for Host {
    fn default() -> Self {
        Self {
            shutdown_deadline: Duration::from_secs(30),
            watchdog: Duration::from_secs(30),
            drain_wait: Duration::ZERO,
            on_failure: OnFailure::Restart,
            log_format: LogFormat::Text,
        }
    }
}
