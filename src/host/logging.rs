//! What the program says while it runs, on stderr.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sets up logging to stderr: what `RUST_LOG` asks for, `info` where it does not say. Does nothing where the
/// program has set up logging already.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal() && !super::banner::no_color();
    // The first one stays.
    let _ = match format {
        LogFormat::Text => base.with_ansi(colours).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
}
