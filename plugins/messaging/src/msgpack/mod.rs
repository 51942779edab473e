//! Converts between the msgpack bodies that socket.io's emitters and adapters publish and the JSON text that socket.io
//! sends to clients, without a tree of values in between.
//!
//! Four codecs have written such bodies over the years: msgpack-js 0.3, msgpack-lite, notepack 1 and 2, and notepack 3.
//! `fixtures.jsonl` has the body that each writes for a JavaScript value.

mod date;
mod decode;
mod encode;
mod ext;
mod malformed;
mod text;
mod token;
mod tokens;

#[cfg(test)]
mod tests;

use bytes::Bytes;
pub(crate) use decode::Json;
use decode::Reading;
pub(crate) use encode::FromJson;
pub(crate) use malformed::Malformed;
pub(crate) use text::javascript;
use tokens::Dialect;

/// Returns the JSON text that a client of Node's server would receive for a body.
///
/// A body does not say whether it is in the dialect of msgpack-js 0.3 or in the standard one. If it is not valid
/// standard msgpack to its last byte, or has keys that JavaScript's codecs do not write, and if it is valid in
/// msgpack-js's dialect, then it is read in that dialect. Hardly any other body is valid there by chance.
pub(crate) fn to_json(body: &Bytes) -> Result<Json, Malformed> {
    let standard = decode::decode(body, Dialect::Standard);
    if let Ok(Reading { json, odd: false }) = standard {
        return Ok(json);
    }
    match decode::decode(body, Dialect::MsgpackJs) {
        Ok(Reading { json, odd: false }) => Ok(json),
        _ => standard.map(|reading| reading.json),
    }
}
