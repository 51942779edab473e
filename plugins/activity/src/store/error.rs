//! Errors of stores, by who can end them.

use std::io;

/// A call of the store failed. It may have taken effect nevertheless: look, then try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {failure}")]
pub struct StoreError {
    /// The operation.
    pub operation: &'static str,
    /// The path.
    pub path: String,
    /// What happened.
    pub failure: Failure,
    /// The file that cannot be read, below the root of the tables; `None` if something else failed.
    pub unreadable: Option<String>,
}

/// What happened, by what ends it. In both cases the call is retried, because nobody tells the sink when an operator
/// has acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It ends by itself.
    #[error("{why}")]
    Transient {
        /// The kind.
        cause: Transient,
        /// What the store said.
        why: String,
    },
    /// It ends when an operator acts.
    #[error("{why}: {}", cause.remedy())]
    Refused {
        /// The kind.
        cause: Refusal,
        /// What the store said.
        why: String,
    },
}

/// Failures that end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transient {
    /// No answer within the call's time limit.
    Timeout,
    /// The store, or too many of its parts, cannot be reached.
    Unreachable,
    /// It closes the connection without an answer: it is shutting down, or no longer lets Greyhound in.
    HungUp,
    /// It is starting, or read-only for maintenance.
    SafeMode,
    /// Anything else.
    Other,
}

/// Failures that only an operator can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The quota of the directory is used up.
    Quota,
    /// The disk is full.
    Full,
    /// The user lacks permission.
    Permission,
    /// It does not accept Greyhound's identity.
    Identity,
    /// The user may not give files to the group.
    Group,
    /// Something else is in the place of a file or directory.
    Obstacle,
    /// It cannot be used with this configuration.
    Settings,
    /// Not the store: the node's own disk cannot be written.
    DataDir,
}

// === impl StoreError ===

impl StoreError {
    /// Whether an operator must act before the call can succeed.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.failure, Failure::Refused { .. })
    }

    /// The same error, of reading `file`, a path below the root of the tables.
    #[must_use]
    pub fn reading(self, file: &str) -> Self {
        Self { unreadable: Some(file.to_owned()), ..self }
    }

    /// Whether something else is in the place of a file or directory.
    #[must_use]
    pub fn is_obstacle(&self) -> bool {
        matches!(self.failure, Failure::Refused { cause: Refusal::Obstacle, .. })
    }
}

// === impl Failure ===

impl Failure {
    /// A failure that ends by itself.
    pub fn transient(cause: Transient, why: impl ToString) -> Self {
        Self::Transient { cause, why: why.to_string() }
    }

    /// A failure that an operator must end.
    pub fn refused(cause: Refusal, why: impl ToString) -> Self {
        Self::Refused { cause, why: why.to_string() }
    }

    /// At `operation` on `path`.
    #[must_use]
    pub fn at(self, operation: &'static str, path: impl Into<String>) -> StoreError {
        StoreError { operation, path: path.into(), failure: self, unreadable: None }
    }

    /// The kind, as a label of metrics.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Transient { cause, .. } => cause.name(),
            Self::Refused { cause, .. } => cause.name(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::refused(Refusal::Full, error),
            io::ErrorKind::QuotaExceeded => Self::refused(Refusal::Quota, error),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::refused(Refusal::Permission, error)
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::refused(Refusal::Obstacle, error),
            _ => Self::transient(Transient::Other, error),
        }
    }
}

impl Transient {
    fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::HungUp => "hung_up",
            Self::SafeMode => "safe_mode",
            Self::Other => "other",
        }
    }
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Full => "full",
            Self::Permission => "permission",
            Self::Identity => "identity",
            Self::Group => "group",
            Self::Obstacle => "obstacle",
            Self::Settings => "settings",
            Self::DataDir => "data_dir",
        }
    }

    /// What the operator must do.
    fn remedy(self) -> &'static str {
        match self {
            Self::Quota => "raise the quota, or make room below it",
            Self::Full => "make room",
            Self::Permission => "let Greyhound's user write there",
            Self::Identity => {
                "log Greyhound in with Kerberos (principal and keytab in plugins.activity.hdfs, or a valid ticket in the cache), and \
                 let its principal impersonate plugins.activity.hdfs.user if that is set"
            }
            Self::Group => {
                "give the tables' directory the group plugins.activity.hdfs.group, or make Greyhound's user the directory's owner and \
                 a member of the group"
            }
            Self::Obstacle => "move away what is in the place of Greyhound's files",
            Self::DataDir => "make room on the disk of node.data_dir, and let Greyhound's user write there",
            Self::Settings => "fix plugins.activity.store and plugins.activity.hdfs, or the files in HADOOP_CONF_DIR",
        }
    }
}
