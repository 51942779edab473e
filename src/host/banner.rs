//! Prints addresses and paths for the operator at start, on stdout.

use super::logging::{is_coloured, json_line};
use crate::config::LogFormat;
use std::io::{self, Write};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints a name and a value for each of `lines`.
pub(super) fn print(lines: Vec<(String, String)>, format: LogFormat) {
    // The program also runs if stdout is closed.
    let _ = match format {
        LogFormat::Text => print_text(&lines),
        LogFormat::Json => print_json(lines),
    };
}

fn print_text(lines: &[(String, String)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (bold, plain) = if is_coloured(&out) { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    writeln!(out, "{bold}Greyhound {VERSION} is running{plain}")?;
    for (name, value) in lines {
        writeln!(out, "  {name:width$}  {bold}{value}{plain}")?;
    }
    out.flush()
}

/// Prints one JSON line with a field for each line.
fn print_json(lines: Vec<(String, String)>) -> io::Result<()> {
    let fields = lines.into_iter().map(|(name, value)| (name.replace(' ', "_"), value));
    let version = ("version".to_owned(), VERSION.to_owned());
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json_line("INFO", "running", [version].into_iter().chain(fields)))?;
    out.flush()
}
