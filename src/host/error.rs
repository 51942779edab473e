//! Why the program could not start, or ended.

use crate::bus::StartError;
use crate::config::{ConfigError, TokenFileError};
use greyhound_sdk::{Error, SchemaError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the program could not start, or ended; says what the operator must do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file with the admin listener's token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
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
    /// The admin listener cannot be bound.
    #[error("the admin listener cannot listen on {address}: {why}; set admin.listen (GREYHOUND__ADMIN__LISTEN) to an address that is free")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// What happened.
        why: std::io::Error,
    },
    /// A plugin could not be built, or failed and may not be restarted.
    #[error("plugin {name}: {why}")]
    Plugin {
        /// Its name.
        name: &'static str,
        /// What happened.
        why: Error,
    },
    /// The log failed while running, or could not take everything at the end.
    #[error("the log failed: {0}")]
    LogFailed(Arc<str>),
}
