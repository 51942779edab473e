//! What the operator sees at start.

use super::is_coloured;
use std::io::Write;

/// Prints what is where, one line each.
pub(super) fn print(lines: &[(String, String)]) {
    let mut out = std::io::stdout().lock();
    let (bold, plain) = if is_coloured(&out) { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    // A closed pipe is no reason not to run.
    let _ = writeln!(out, "{bold}Greyhound {} is running{plain}", env!("CARGO_PKG_VERSION"));
    for (name, value) in lines {
        let _ = writeln!(out, "  {name:width$}  {bold}{value}{plain}");
    }
    let _ = out.flush();
}
