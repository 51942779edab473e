//! Reads the values of claims.

use crate::msgpack::javascript;
use serde_json::Value;

/// A claim that is a string or a number. Numbers are written as in JavaScript, so that Node's servers use the same
/// rooms.
pub(super) fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => number.as_f64().map(javascript),
        _ => None,
    }
}

/// A time in seconds since 1970, rounded by `round`. Times before 1970 count as 0.
// Saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn seconds(claim: &Value, round: impl FnOnce(f64) -> f64) -> Option<u64> {
    claim.as_u64().or_else(|| claim.as_f64().map(|time| round(time) as u64))
}
