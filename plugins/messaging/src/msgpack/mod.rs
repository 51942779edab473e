//! Between the msgpack bodies that socket.io's emitters and adapters publish and the JSON text that it sends to
//! clients: straight from one to the other, with no tree of values in between.
//!
//! Four codecs have written such bodies over the years: msgpack-js 0.3, msgpack-lite, notepack 1 and 2, notepack 3.
//! What each makes of a JavaScript value is in `fixtures.jsonl`.

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

/// Deeper nesting is refused: the stack is finite.
const DEEPEST: usize = 512;

/// More binary values are refused, as socket.io's parsers refuse them from clients: each is a frame of its own to every
/// client.
const MOST_ATTACHMENTS: usize = 10_000;

/// JSON text as socket.io writes it, and the binary values that stand beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Json {
    /// Binary values are `{"_placeholder":true,"num":N}` in it.
    pub(crate) text: String,
    /// The binary values, slices of the body.
    pub(crate) attachments: Vec<Bytes>,
    /// Where in the text the placeholder of each begins.
    pub(crate) placed: Vec<usize>,
}

/// What is wrong with a body, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{needed} bytes are needed at byte {at}, {left} are there")]
    Truncated { at: usize, needed: usize, left: usize },
    #[error("no value begins with {marker:#04x}, as at byte {at}")]
    Marker { at: usize, marker: u8 },
    #[error("the key of a map at byte {at} is neither text nor binary, nor a number, boolean or nil")]
    Key { at: usize },
    #[error("the value at byte {at} is nested deeper than {DEEPEST} levels")]
    Deep { at: usize },
    #[error("the value at byte {at} is the one binary value too many: {MOST_ATTACHMENTS} are taken")]
    Attachments { at: usize },
    #[error("the value ends before byte {at}, the body {left} bytes later")]
    Trailing { at: usize, left: usize },
}

/// The JSON text that a client of Node's server would get for a body.
///
/// Nothing in a body tells msgpack-js 0.3's dialect from the standard. One that is no msgpack to its last byte, or that
/// has keys which JavaScript's codecs do not write, is read as msgpack-js writes it, if it can be: hardly any can by
/// chance.
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
