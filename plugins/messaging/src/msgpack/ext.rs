//! Decodes the codecs' extension types.

use super::token::Token;
use rmp::{Marker, decode};

/// notepack's type: `undefined` (1 byte), a date (8 bytes), or an ArrayBuffer (any length, with an explicit length).
const NOTEPACK: i8 = 0;
/// The specification's timestamp, in one of its three forms. notepack 3 writes dates as timestamps.
const TIMESTAMP: i8 = -1;
/// msgpack-lite's date. The body is a number in msgpack.
const LITE_DATE: i8 = 0x0d;

/// Decodes an extension whose marker implies its length.
pub(super) fn fixed(kind: i8, body: &[u8]) -> Token<'_> {
    match (kind, body) {
        (NOTEPACK, [_]) => Token::Undefined,
        (NOTEPACK, [a, b, c, d, e, f, g, h]) => {
            Token::Date(i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as f64)
        }
        (NOTEPACK, _) => Token::Ext(kind, body),
        _ => either(kind, body),
    }
}

/// Decodes an extension with an explicit length.
pub(super) fn sized(kind: i8, body: &[u8]) -> Token<'_> {
    if kind == NOTEPACK { Token::Binary(body) } else { either(kind, body) }
}

fn either(kind: i8, body: &[u8]) -> Token<'_> {
    match kind {
        TIMESTAMP => timestamp(body).map_or(Token::Ext(kind, body), Token::Date),
        LITE_DATE => number(body).map_or(Token::Ext(kind, body), Token::Date),
        // msgpack-lite's typed arrays (one of them clamped), ArrayBuffer, Buffer and DataView.
        0x11..=0x1b | 0x1d => Token::Binary(body),
        _ => Token::Ext(kind, body),
    }
}

/// Milliseconds since 1970, computed and rounded as in notepack.
fn timestamp(body: &[u8]) -> Option<f64> {
    let (seconds, nanos) = match body.len() {
        4 => (f64::from(u32::from_be_bytes(body.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(body.try_into().ok()?);
            ((both & ((1 << 34) - 1)) as f64, both >> 34)
        }
        12 => {
            let (nanos, seconds) = body.split_first_chunk()?;
            (i64::from_be_bytes(seconds.try_into().ok()?) as f64, u32::from_be_bytes(*nanos).into())
        }
        _ => return None,
    };
    Some(seconds * 1e3 + nanos as f64 / 1e6)
}

/// Reads a body that is a number, and nothing else: an extension in it is not decoded, however deeply it is nested.
fn number(mut body: &[u8]) -> Option<f64> {
    let number = match Marker::from_u8(*body.first()?) {
        Marker::F32 => decode::read_f32(&mut body).ok()?.into(),
        Marker::F64 => decode::read_f64(&mut body).ok()?,
        Marker::U64 => decode::read_u64(&mut body).ok()? as f64,
        _ => decode::read_int::<i64, _>(&mut body).ok()? as f64,
    };
    body.is_empty().then_some(number)
}
