//! Logging to stderr.

use crate::config::LogFormat;
use serde_json::{Map, Value};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::SystemTime;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Silences the HDFS client, which warns at every attempt of every call. The sink reports a failure once.
const HDFS_CLIENT_OFF: &str = "hdfs_native=off";

/// Sets up logging to stderr with the filter in `RUST_LOG`, or `info` if it is not set. Does nothing if the program has
/// set up logging already.
pub fn init(format: LogFormat) {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|it| !it.trim().is_empty());
    let (filter, invalid) = match filter(directives.as_deref().unwrap_or("info")) {
        Ok(filter) => (filter, None),
        Err(invalid) => (EnvFilter::new(format!("{HDFS_CLIENT_OFF},info")), Some(invalid)),
    };
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = is_coloured(&std::io::stderr());
    let first = match format {
        LogFormat::Text => base.with_ansi(colours).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
    if first.is_err() {
        return;
    }
    std::panic::set_hook(Box::new(log_panic));
    if let Some(invalid) = invalid {
        tracing::warn!(error = %invalid, "RUST_LOG is ignored; expected a filter such as `info` or `warn,greyhound=debug`");
    }
}

/// Whether to use colours on `out`: it is a terminal, and `NO_COLOR` is not set (<https://no-color.org>).
#[must_use]
pub fn is_coloured(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// Formats a line like the log lines of `log_format = "json"`, regardless of `RUST_LOG`.
#[must_use]
pub fn json_line(level: &str, message: &str, fields: impl IntoIterator<Item = (String, String)>) -> String {
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let head = [("timestamp", now.as_str()), ("level", level), ("message", message)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let line: Map<String, Value> = head.into_iter().chain(fields).map(|(key, value)| (key, value.into())).collect();
    Value::Object(line).to_string()
}

fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("{HDFS_CLIENT_OFF},{directives}"))
}

/// Logs a panic as one line.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    let message = panic.payload_as_str().unwrap_or("no text");
    tracing::error!(thread = thread.name(), place, backtrace, "panicked: {message}");
}
