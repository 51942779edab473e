//! Converts between the msgpack bodies that socket.io's emitters and adapters publish and the JSON text that socket.io
//! sends to clients, without a tree of values in between.
//!
//! Over the years, four codecs have written such bodies: msgpack-js 0.3, msgpack-lite, notepack 1 and 2, and notepack
//! 3. `fixtures.jsonl` has the body that each writes for a JavaScript value.

mod date;
mod decode;
mod encode;
mod ext;
mod text;
mod tokens;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use decode::Reading;
pub(crate) use encode::FromJson;
pub(crate) use text::javascript;
use tokens::Dialect;

/// Limits the nesting, because the stack is finite.
const DEPTH_MAX: usize = 512;

/// Limits the binary values, because each is a frame of its own to every client. socket.io's parsers limit clients'
/// binary values too.
const ATTACHMENTS_MAX: usize = 10_000;

/// JSON text as socket.io writes it, and its binary values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Json {
    /// Binary values are replaced by `{"_placeholder":true,"num":N}`.
    pub(crate) text: String,
    /// The binary values, slices of the body.
    pub(crate) attachments: Vec<Bytes>,
    /// Where the placeholder of each attachment begins in the text.
    pub(crate) placed: Vec<usize>,
}

/// What is wrong with a body, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{needed} bytes are needed at byte {at}, but only {left} are left")]
    Truncated { at: usize, needed: usize, left: usize },
    #[error("byte {at} is {marker:#04x}, which begins no value")]
    Marker { at: usize, marker: u8 },
    #[error("the map key at byte {at} is not a text, binary value, number, boolean or nil")]
    Key { at: usize },
    #[error("the value at byte {at} is nested deeper than {DEPTH_MAX} levels")]
    Deep { at: usize },
    #[error("the binary value at byte {at} is one too many: at most {ATTACHMENTS_MAX} are allowed")]
    Attachments { at: usize },
    #[error("{left} bytes follow the value, from byte {at}")]
    Trailing { at: usize, left: usize },
}

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
