//! What the program says while it runs, on stderr.

use super::is_coloured;
use crate::config::LogFormat;
use serde_json::{Map, Value};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::time::SystemTime;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The client of HDFS warns at each try of each call; the sink says once what is wrong, in words for operators.
const QUIET: &str = "hdfs_native=off";

/// Sets up logging to stderr: what `RUST_LOG` asks for, `info` where it does not say. Does nothing where the
/// program has set up logging already.
pub fn init(format: LogFormat) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|it| !it.trim().is_empty());
    let (filter, wrong) = match filter(asked.as_deref().unwrap_or("info")) {
        Ok(filter) => (filter, None),
        Err(wrong) => (EnvFilter::new(format!("{QUIET},info")), Some(wrong)),
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
    std::panic::set_hook(Box::new(tell_panic));
    if let Some(wrong) = wrong {
        tracing::warn!(error = %wrong, "RUST_LOG is ignored: expected such as `info` or `warn,greyhound=debug`");
    }
}

/// A line as logging writes it with `log_format = "json"`, whatever `RUST_LOG` says.
#[must_use]
pub fn json_line(level: &str, message: &str, fields: impl IntoIterator<Item = (String, String)>) -> String {
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let head = [("timestamp", now.as_str()), ("level", level), ("message", message)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let line: Map<String, Value> = head.into_iter().chain(fields).map(|(key, value)| (key, value.into())).collect();
    Value::Object(line).to_string()
}

fn filter(asked: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("{QUIET},{asked}"))
}

/// A panic is a line like any other.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    let what = panic.payload_as_str().unwrap_or("no text");
    tracing::error!(thread = thread.name(), place, backtrace, "panicked: {what}");
}
