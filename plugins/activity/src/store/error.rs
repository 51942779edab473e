//! What keeps a store from doing what it is told, by who can end it.

use std::io;

/// A call of the store failed. Whether it was carried out nobody knows: look, then try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {trouble}")]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// On which path.
    pub path: String,
    /// What happened.
    pub trouble: Trouble,
    /// The file that cannot be read, below the root of the tables; none if something else failed.
    pub unreadable: Option<String>,
}

/// What happened, by what ends it. Either way the call is tried again: nobody tells the sink when an operator has
/// acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It ends by itself.
    #[error("{why}")]
    Passing {
        /// What kind.
        cause: Passing,
        /// What the store said.
        why: String,
    },
    /// It ends when an operator acts.
    #[error("{why}: {}", cause.remedy())]
    Refused {
        /// What kind.
        cause: Refusal,
        /// What the store said.
        why: String,
    },
}

/// Troubles that end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// No answer within the limit of the call.
    Timeout,
    /// It cannot be reached, or too few of its parts can.
    Unreachable,
    /// It closes the connection instead of an answer: it is going down, or it lets us in no more.
    HungUp,
    /// It is starting, or is kept from writing for maintenance.
    SafeMode,
    /// Anything else.
    Other,
}

/// Troubles that only an operator ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The quota of the directory is used up.
    Quota,
    /// The disk is full.
    Full,
    /// The user may not.
    Permission,
    /// It does not believe who we are.
    Identity,
    /// The user may not give files to the group.
    Group,
    /// Something else is where a file or directory belongs.
    Obstacle,
    /// It cannot be used as configured.
    Settings,
    /// Not the store: the node's own disk cannot be written.
    DataDir,
}

// === impl StoreError ===

impl StoreError {
    /// Whether an operator must act before the call can be carried out.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.trouble, Trouble::Refused { .. })
    }

    /// The same error, of reading `file`, a path below the root of the tables.
    #[must_use]
    pub fn reading(self, file: &str) -> Self {
        Self { unreadable: Some(file.to_owned()), ..self }
    }

    /// Whether something else is where a file or directory belongs.
    #[must_use]
    pub fn is_obstacle(&self) -> bool {
        matches!(self.trouble, Trouble::Refused { cause: Refusal::Obstacle, .. })
    }
}

// === impl Trouble ===

impl Trouble {
    /// A trouble that ends by itself.
    pub fn passing(cause: Passing, why: impl ToString) -> Self {
        Self::Passing { cause, why: why.to_string() }
    }

    /// A trouble that an operator must end.
    pub fn refused(cause: Refusal, why: impl ToString) -> Self {
        Self::Refused { cause, why: why.to_string() }
    }

    /// At `operation` on `path`.
    #[must_use]
    pub fn at(self, operation: &'static str, path: impl Into<String>) -> StoreError {
        StoreError { operation, path: path.into(), trouble: self, unreadable: None }
    }

    /// The kind, as metrics name it.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Passing { cause, .. } => cause.name(),
            Self::Refused { cause, .. } => cause.name(),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::refused(Refusal::Full, error),
            io::ErrorKind::QuotaExceeded => Self::refused(Refusal::Quota, error),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::refused(Refusal::Permission, error)
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::refused(Refusal::Obstacle, error),
            _ => Self::passing(Passing::Other, error),
        }
    }
}

impl Passing {
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

    /// What to do.
    fn remedy(self) -> &'static str {
        match self {
            Self::Quota => "raise the quota, or make room below it",
            Self::Full => "make room",
            Self::Permission => "let Greyhound's user write there",
            Self::Identity => {
                "log Greyhound in with Kerberos (principal and keytab in plugins.activity.hdfs, or a valid ticket in the cache), and \
                 let its principal impersonate plugins.activity.hdfs.user, where that is set"
            }
            Self::Group => {
                "give the tables' directory the group plugins.activity.hdfs.group, or make Greyhound's user the directory's owner and \
                 a member of the group"
            }
            Self::Obstacle => "move away what is in the place of Greyhound's files",
            Self::DataDir => "make room on the disk of node.data_dir, and let Greyhound's user write there",
            Self::Settings => "mend plugins.activity.store and plugins.activity.hdfs, or the files in HADOOP_CONF_DIR",
        }
    }
}
