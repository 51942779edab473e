//! What the program says while it runs, on stderr.

use super::is_coloured;
use crate::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// The client of HDFS warns at each try of each call; the sink says once what is wrong, in words for operators.
const QUIET: &str = "hdfs_native=off";

/// Sets up logging to stderr: what `RUST_LOG` asks for, `info` where it does not say. Does nothing where the
/// program has set up logging already.
pub fn init(format: LogFormat) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|it| !it.trim().is_empty());
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{}", asked.as_deref().unwrap_or("info")));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = is_coloured(&std::io::stderr());
    // The first one stays.
    let _ = match format {
        LogFormat::Text => base.with_ansi(colours).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
}
