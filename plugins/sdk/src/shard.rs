//! The identity of a journal.

use std::fmt;
use std::sync::Arc;

/// One writer's stream of rows, named `<node>-<8 hex digits>`. The name is generated when a journal is created, and
/// stored in it.
///
/// (topic, shard, seq) identifies a row. Because each journal gets a new shard, a number is never used twice, even if
/// the data directory is lost or renamed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(Arc<str>);

/// The text is not the name of a shard.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a shard: expected `<node>-<8 hex digits>`")]
pub struct InvalidShard(String);

impl Shard {
    /// Creates the shard of `node` with the given incarnation.
    #[must_use]
    pub fn new(node: &str, incarnation: u32) -> Self {
        Self(format!("{node}-{incarnation:08x}").into())
    }

    /// Returns the shard's name, as it appears in paths and tables.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        match text.rsplit_once('-') {
            Some((node, hex)) if !node.is_empty() && hex.len() == 8 && u32::from_str_radix(hex, 16).is_ok() => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidShard(text.to_owned())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
