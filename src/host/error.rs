//! Errors that prevent the program from starting, or end it.

use crate::api::BindError;
use crate::bus::StartError;
use crate::config::ConfigError;
use greyhound_sdk::{Error, SchemaError};
use std::path::PathBuf;
use std::sync::Arc;

/// Why the program could not start, or ended. The text includes the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A plugin's schema is not valid.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A directory cannot be used.
    #[error("cannot use the directory {path}: {why}; node.data_dir sets its place", path = path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The cause.
        why: String,
    },
    /// The log cannot be opened.
    #[error("{0}")]
    Log(String),
    /// The bus cannot start.
    #[error(transparent)]
    Bus(#[from] StartError),
    /// The admin listener cannot be opened.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// A plugin could not be built, or failed and is configured not to restart.
    #[error("plugin {name}: {why}")]
    Plugin {
        /// The plugin's name.
        name: &'static str,
        /// The cause.
        why: Error,
    },
    /// The operating system refuses threads.
    #[error("cannot start the program's threads: {0}")]
    Threads(std::io::Error),
    /// A task blocks a thread that plugins run on.
    #[error(
        "a task of a plugin has blocked a worker thread for {}, which is a fault of that plugin; the process exits so that a supervisor restarts it",
        humantime::format_duration(*.0)
    )]
    Stalled(std::time::Duration),
    /// The admin listener ended while the program ran.
    #[error("the admin listener ended unexpectedly: {0}")]
    AdminEnded(String),
    /// The log failed, or did not accept all rows before the shutdown deadline.
    #[error("the log failed: {0}")]
    LogFailed(Arc<str>),
}
