//! Writes JSON strings and numbers as `JSON.stringify` does.

use std::fmt::Write;

/// 2^53. Below it, a double holds every whole number exactly.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

/// How many bytes are compared in one step.
const STEP_BYTES: usize = 16;

/// Appends a string with its quotes. Invalid UTF-8 becomes replacement characters.
pub(super) fn string(out: &mut String, bytes: &[u8]) {
    out.push('"');
    match std::str::from_utf8(bytes) {
        Ok(text) => escaped(out, text),
        Err(_) => escaped(out, &String::from_utf8_lossy(bytes)),
    }
    out.push('"');
}

fn escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = special(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        escape(out, rest.as_bytes()[at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// The position of the first byte that JSON must escape.
fn special(bytes: &[u8]) -> Option<usize> {
    // No early exit within a step: this lets the compiler compare all its bytes at once.
    let any = |step: &[u8; STEP_BYTES]| step.iter().fold(false, |any, byte| any | is_special(*byte));
    let (steps, _) = bytes.as_chunks();
    let skipped = steps.iter().position(any).unwrap_or(steps.len()) * STEP_BYTES;
    bytes[skipped..].iter().position(|byte| is_special(*byte)).map(|at| skipped + at)
}

fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut String, byte: u8) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        0x08 => out.push_str("\\b"),
        0x0c => out.push_str("\\f"),
        control => write!(out, "\\u{control:04x}").expect("writing to a string does not fail"),
    }
}

/// Appends all digits, even those beyond JavaScript's precision, for clients with a higher one.
pub(super) fn unsigned(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

pub(super) fn signed(out: &mut String, number: i64) {
    if number < 0 {
        out.push('-');
    }
    unsigned(out, number.unsigned_abs());
}

pub(super) fn float(out: &mut String, number: f64) {
    if number.is_finite() { push_javascript(out, number) } else { out.push_str("null") }
}

/// Returns a number as JavaScript's `String` writes it.
pub(crate) fn javascript(number: f64) -> String {
    let mut text = String::new();
    push_javascript(&mut text, number);
    text
}

/// Appends a number as JavaScript's `String` writes it.
pub(super) fn push_javascript(out: &mut String, number: f64) {
    let size = number.abs();
    if size < EXACT_INTEGERS_END && number.trunc() == number {
        return signed(out, number as i64);
    }
    let written = match size {
        // Most numbers are in this range, where this faster formatter writes the same.
        1e-4..EXACT_INTEGERS_END => return out.push_str(zmij::Buffer::new().format_finite(number)),
        f64::INFINITY => write!(out, "{}Infinity", if number < 0.0 { "-" } else { "" }),
        1e-6..1e21 => write!(out, "{number}"),
        1e21.. => write!(out, "{}", format!("{number:e}").replace('e', "e+")),
        _ => write!(out, "{number:e}"),
    };
    written.expect("writing to a string does not fail");
}
