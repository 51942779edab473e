//! Why the program could not start, or ended.

use crate::api::BindError;
use crate::bus::StartError;
use crate::config::ConfigError;
use greyhound_sdk::{Error, SchemaError};
use std::path::PathBuf;
use std::sync::Arc;

/// Why the program could not start, or ended; says what the operator must do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A plugin's schema is not valid.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A directory cannot be used.
    #[error("the directory {path} cannot be used: {why}; node.data_dir says where it is", path = path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What happened.
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
    /// A plugin could not be built, or failed and may not be restarted.
    #[error("plugin {name}: {why}")]
    Plugin {
        /// Its name.
        name: &'static str,
        /// What happened.
        why: Error,
    },
    /// The machine gives no threads.
    #[error("the threads of the program could not be started: {0}")]
    Threads(std::io::Error),
    /// A task keeps a thread that plugins run on.
    #[error(
        "a task of a plugin has kept a worker for {}, which is a fault of the plugin; the process ends, so that a supervisor starts it again",
        humantime::format_duration(*.0)
    )]
    Stalled(std::time::Duration),
    /// The admin listener ended while the program ran.
    #[error("the admin listener ended by itself: {0}")]
    AdminEnded(String),
    /// The log failed while running, or could not take everything at the end.
    #[error("the log failed: {0}")]
    LogFailed(Arc<str>),
}
