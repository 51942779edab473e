//! What the codecs mean by their extensions.

use super::tokens::{Dialect, Token, Tokens};

/// Of notepack: `undefined` (1 byte), a date (8 bytes) and, of any length and marked as such, an ArrayBuffer.
const NOTEPACK: i8 = 0;
/// A time in one of the specification's three forms; notepack 3 writes dates so.
const TIMESTAMP: i8 = -1;
/// Of msgpack-lite: a date, whose body is a number in msgpack.
const LITE_DATE: i8 = 0x0d;

/// Of an extension whose length is its marker's.
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

/// Of an extension that tells its length.
pub(super) fn sized(kind: i8, body: &[u8]) -> Token<'_> {
    if kind == NOTEPACK { Token::Binary(body) } else { either(kind, body) }
}

fn either(kind: i8, body: &[u8]) -> Token<'_> {
    match kind {
        TIMESTAMP => timestamp(body).map_or(Token::Ext(kind, body), Token::Date),
        LITE_DATE => number(body).map_or(Token::Ext(kind, body), Token::Date),
        // Typed arrays, a clamped one, ArrayBuffer, Buffer and DataView of msgpack-lite.
        0x11..=0x1b | 0x1d => Token::Binary(body),
        _ => Token::Ext(kind, body),
    }
}

/// Reckoned as notepack does, down to its rounding.
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

fn number(body: &[u8]) -> Option<f64> {
    let mut tokens = Tokens::new(body, Dialect::Standard);
    let token = tokens.next().ok()?;
    tokens.end().ok()?;
    match token {
        Token::Unsigned(n) => Some(n as f64),
        Token::Signed(n) => Some(n as f64),
        Token::Float(n) => Some(n),
        _ => None,
    }
}
