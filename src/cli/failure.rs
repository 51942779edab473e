//! How a command fails.

use crate::config::{ConfigError, LogFormat, TokenFileError};
use crate::host::{RunError, json_line};
use std::io::{self, Write};
use std::process::ExitCode;

/// The message for stderr, and the exit status.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    status: u8,
    format: LogFormat,
}

impl Failure {
    /// The command failed: exit status 1.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1, format: LogFormat::Text }
    }

    /// The arguments or the configuration are wrong: exit status 2.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2, format: LogFormat::Text }
    }

    /// The command succeeded on this node and failed on the others: exit status 3.
    pub(super) fn in_part(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 3, format: LogFormat::Text }
    }

    /// The same failure, reported as a line of the log in this format.
    pub(super) fn logged(self, format: LogFormat) -> Self {
        Self { format, ..self }
    }

    pub(super) fn report(self) -> ExitCode {
        match self.format {
            _ if self.message.is_empty() => {}
            // Writing to a closed terminal fails.
            LogFormat::Text => drop(writeln!(io::stderr(), "error: {}", self.message)),
            LogFormat::Json => drop(writeln!(io::stderr(), "{}", json_line("ERROR", &self.message, []))),
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

/// Writing to stdout failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `greyhound tail | head`: the reader has seen enough.
            io::ErrorKind::BrokenPipe => Self { message: String::new(), status: 0, format: LogFormat::Text },
            _ => Self::failed(error.to_string()),
        }
    }
}
