//! Decodes msgpack to JSON.

use super::malformed::{ATTACHMENTS_MAX, DEPTH_MAX, Malformed};
use super::token::Token;
use super::tokens::{Dialect, Tokens};
use super::{date, text};
use bytes::Bytes;
use std::fmt::Write;

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

/// A body as read in one dialect.
pub(super) struct Reading {
    pub(super) json: Json,
    /// Whether a key is not a text. JavaScript's codecs write only texts, codecs of other languages may write other
    /// keys.
    pub(super) odd: bool,
}

/// Decodes a whole body in one dialect.
pub(super) fn decode(body: &Bytes, dialect: Dialect) -> Result<Reading, Malformed> {
    // Quotes and commas make most bodies a little longer.
    let json = Json { text: String::with_capacity(body.len() + body.len() / 4 + 32), ..Json::default() };
    let mut decoder = Decoder { body, tokens: Tokens::new(body, dialect), depth: 0, odd: false, json };
    decoder.element()?;
    decoder.tokens.end()?;
    Ok(Reading { json: decoder.json, odd: decoder.odd })
}

struct Decoder<'a> {
    body: &'a Bytes,
    tokens: Tokens<'a>,
    depth: usize,
    odd: bool,
    json: Json,
}

/// Whether a value was written. JSON omits `undefined`.
#[derive(PartialEq, Eq)]
enum Written {
    Value,
    Nothing,
}

impl Decoder<'_> {
    /// Writes a value that cannot be omitted: `undefined` becomes null.
    fn element(&mut self) -> Result<(), Malformed> {
        if self.value()? == Written::Nothing {
            self.json.text.push_str("null");
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Written, Malformed> {
        let at = self.tokens.at();
        let token = self.tokens.next()?;
        let text = &mut self.json.text;
        match token {
            Token::Text(bytes) => text::string(text, bytes),
            Token::Unsigned(n) => text::unsigned(text, n),
            Token::Signed(n) => text::signed(text, n),
            Token::Float(n) => text::float(text, n),
            Token::Nil => text.push_str("null"),
            Token::Bool(b) => text.push_str(if b { "true" } else { "false" }),
            Token::Undefined => return Ok(Written::Nothing),
            Token::Map(len) => self.nested(at, |decoder| decoder.map(len))?,
            Token::Array(len) => self.nested(at, |decoder| decoder.array(len))?,
            Token::Binary(_) | Token::Ext(..) if self.json.attachments.len() == ATTACHMENTS_MAX => {
                return Err(Malformed::Attachments { at });
            }
            Token::Binary(bytes) => self.binary(bytes),
            Token::Date(millis) => date::push(text, millis),
            Token::Ext(kind, bytes) => self.ext(kind, bytes),
        }
        Ok(Written::Value)
    }

    fn nested(&mut self, at: usize, of: impl FnOnce(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if self.depth == DEPTH_MAX {
            return Err(Malformed::Deep { at });
        }
        self.depth += 1;
        of(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, len: usize) -> Result<(), Malformed> {
        self.json.text.push('[');
        for n in 0..len {
            if n > 0 {
                self.json.text.push(',');
            }
            self.element()?;
        }
        self.json.text.push(']');
        Ok(())
    }

    fn map(&mut self, len: usize) -> Result<(), Malformed> {
        self.json.text.push('{');
        let start = self.json.text.len();
        for _ in 0..len {
            let before = self.json.text.len();
            if before > start {
                self.json.text.push(',');
            }
            self.key()?;
            self.json.text.push(':');
            if self.value()? == Written::Nothing {
                self.json.text.truncate(before);
            }
        }
        self.json.text.push('}');
        Ok(())
    }

    /// Writes a key. Keys of other types become texts, as in JavaScript.
    fn key(&mut self) -> Result<(), Malformed> {
        let at = self.tokens.at();
        let token = self.tokens.next()?;
        let text = &mut self.json.text;
        if let Token::Text(bytes) = token {
            text::string(text, bytes);
            return Ok(());
        }
        self.odd = true;
        if let Token::Binary(bytes) = token {
            text::string(text, bytes);
            return Ok(());
        }
        text.push('"');
        match token {
            Token::Unsigned(n) => text::push_javascript(text, n as f64),
            Token::Signed(n) => text::push_javascript(text, n as f64),
            Token::Float(n) => text::push_javascript(text, n),
            Token::Bool(b) => text.push_str(if b { "true" } else { "false" }),
            Token::Nil => text.push_str("null"),
            _ => return Err(Malformed::Key { at }),
        }
        text.push('"');
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) {
        let Json { text, attachments, placed } = &mut self.json;
        placed.push(text.len());
        text.push_str(r#"{"_placeholder":true,"num":"#);
        text::unsigned(text, attachments.len() as u64);
        text.push('}');
        attachments.push(self.body.slice_ref(bytes));
    }

    /// Writes an unknown extension as notepack decodes it.
    fn ext(&mut self, kind: i8, bytes: &[u8]) {
        write!(self.json.text, "[{kind},").expect("writing to a string does not fail");
        self.binary(bytes);
        self.json.text.push(']');
    }
}
