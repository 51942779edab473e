//! The tokens of msgpack.

/// A value, or the head of an array or a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// Supposed to be UTF-8.
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// Milliseconds since 1970.
    Date(f64),
    /// An extension that none of the codecs writes.
    Ext(i8, &'a [u8]),
    /// The number of elements that follow.
    Array(usize),
    /// The number of pairs of key and value that follow.
    Map(usize),
}
