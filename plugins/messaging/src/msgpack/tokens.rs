//! Splits a body into tokens, in either dialect.

use super::ext;
use super::malformed::Malformed;
use super::token::Token;
use rmp::Marker;

/// A dialect of msgpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The specification.
    Standard,
    /// msgpack-js 0.3. It predates the specification's binary and ext types, and uses some of their markers
    /// differently.
    MsgpackJs,
}

/// The tokens of a body.
pub(super) struct Tokens<'a> {
    dialect: Dialect,
    len: usize,
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(body: &'a [u8], dialect: Dialect) -> Self {
        Self { dialect, len: body.len(), rest: body }
    }

    /// The position of the next token.
    pub(super) fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Checks that nothing follows.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing { at: self.at(), left: self.rest.len() }) }
    }

    // Inlining makes it a sixth faster. Debug builds would get a huge stack frame for each level of nesting.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn next(&mut self) -> Result<Token<'a>, Malformed> {
        let at = self.at();
        let [first] = self.bytes()?;
        Ok(match Marker::from_u8(first) {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(n) => Token::Unsigned(n.into()),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.bytes()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.bytes()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.bytes()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.bytes()?)),
            Marker::FixNeg(n) => Token::Signed(n.into()),
            Marker::I8 => Token::Signed(i8::from_be_bytes(self.bytes()?).into()),
            Marker::I16 => Token::Signed(i16::from_be_bytes(self.bytes()?).into()),
            Marker::I32 => Token::Signed(i32::from_be_bytes(self.bytes()?).into()),
            Marker::I64 => Token::Signed(i64::from_be_bytes(self.bytes()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.bytes()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.bytes()?)),
            Marker::FixStr(len) => Token::Text(self.take(len.into())?),
            Marker::Str16 => Token::Text(self.after_len16()?),
            Marker::Str32 => Token::Text(self.after_len32()?),
            Marker::FixArray(len) => self.array(len.into())?,
            Marker::Array16 => self.len16().and_then(|len| self.array(len))?,
            Marker::Array32 => self.len32().and_then(|len| self.array(len))?,
            Marker::FixMap(len) => self.map(len.into())?,
            Marker::Map16 => self.len16().and_then(|len| self.map(len))?,
            Marker::Map32 => self.len32().and_then(|len| self.map(len))?,
            Marker::Reserved => return Err(Malformed::Marker { at, marker: first }),
            other if self.dialect == Dialect::Standard => self.newer(other, at)?,
            other => self.older(other, at)?,
        })
    }

    /// Reads the markers that msgpack-js does not know or uses differently, as specified.
    fn newer(&mut self, marker: Marker, at: usize) -> Result<Token<'a>, Malformed> {
        Ok(match marker {
            Marker::Str8 => Token::Text(self.after_len8()?),
            Marker::Bin8 => Token::Binary(self.after_len8()?),
            Marker::Bin16 => Token::Binary(self.after_len16()?),
            Marker::Bin32 => Token::Binary(self.after_len32()?),
            Marker::FixExt1 => self.fix_ext(1)?,
            Marker::FixExt2 => self.fix_ext(2)?,
            Marker::FixExt4 => self.fix_ext(4)?,
            Marker::FixExt8 => self.fix_ext(8)?,
            // No codec writes this extension, but in msgpack-js a Buffer of up to 255 bytes begins like this. Without
            // this arm, a Buffer of 15 bytes would be taken for an extension of exactly the same length.
            Marker::FixExt16 if self.rest.first() == Some(&0) => {
                return Err(Malformed::Marker { at, marker: marker.to_u8() });
            }
            Marker::FixExt16 => self.fix_ext(16)?,
            Marker::Ext8 => self.len8().and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.len16().and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.len32().and_then(|len| self.ext(len))?,
            _ => return Err(Malformed::Marker { at, marker: marker.to_u8() }),
        })
    }

    /// Reads the markers that msgpack-js uses differently.
    fn older(&mut self, marker: Marker, at: usize) -> Result<Token<'a>, Malformed> {
        Ok(match marker {
            Marker::Bin8 => Token::Undefined,
            Marker::FixExt16 => Token::Binary(self.after_len16()?),
            Marker::Str8 => Token::Binary(self.after_len32()?),
            _ => return Err(Malformed::Marker { at, marker: marker.to_u8() }),
        })
    }

    fn fix_ext(&mut self, len: usize) -> Result<Token<'a>, Malformed> {
        let [kind] = self.bytes()?;
        Ok(ext::fixed(kind.cast_signed(), self.take(len)?))
    }

    fn ext(&mut self, len: usize) -> Result<Token<'a>, Malformed> {
        let [kind] = self.bytes()?;
        Ok(ext::sized(kind.cast_signed(), self.take(len)?))
    }

    fn array(&self, len: usize) -> Result<Token<'a>, Malformed> {
        self.holds(len).map(|()| Token::Array(len))
    }

    fn map(&self, len: usize) -> Result<Token<'a>, Malformed> {
        self.holds(len.saturating_mul(2)).map(|()| Token::Map(len))
    }

    /// Checks that the body is long enough: each value takes at least one byte.
    fn holds(&self, values: usize) -> Result<(), Malformed> {
        if values <= self.rest.len() { Ok(()) } else { Err(self.truncated(values)) }
    }

    fn after_len8(&mut self) -> Result<&'a [u8], Malformed> {
        self.len8().and_then(|len| self.take(len))
    }

    fn after_len16(&mut self) -> Result<&'a [u8], Malformed> {
        self.len16().and_then(|len| self.take(len))
    }

    fn after_len32(&mut self) -> Result<&'a [u8], Malformed> {
        self.len32().and_then(|len| self.take(len))
    }

    fn len8(&mut self) -> Result<usize, Malformed> {
        Ok(u8::from_be_bytes(self.bytes()?).into())
    }

    fn len16(&mut self) -> Result<usize, Malformed> {
        Ok(u16::from_be_bytes(self.bytes()?).into())
    }

    /// A length beyond the address space becomes `usize::MAX`, which is beyond the body too.
    fn len32(&mut self) -> Result<usize, Malformed> {
        Ok(usize::try_from(u32::from_be_bytes(self.bytes()?)).unwrap_or(usize::MAX))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.truncated(len))?;
        self.rest = rest;
        Ok(taken)
    }

    fn truncated(&self, needed: usize) -> Malformed {
        Malformed::Truncated { at: self.at(), needed, left: self.rest.len() }
    }
}
