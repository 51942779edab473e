//! How a command fails.

use greyhound::config::{ConfigError, TokenFileError};
use greyhound::host::RunError;
use std::io;
use std::process::ExitCode;

/// What is said on stderr, and the exit status.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// Something did not work: exit status 1.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The arguments or the configuration are wrong: exit status 2.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    pub(super) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
        }
        self.status.into()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<TokenFileError> for Failure {
    fn from(error: TokenFileError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Config(e) => e.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `greyhound tail | head`: who reads has seen enough.
            io::ErrorKind::BrokenPipe => Self { message: String::new(), status: 0 },
            _ => Self::failed(error.to_string()),
        }
    }
}
