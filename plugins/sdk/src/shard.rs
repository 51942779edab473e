//! The identity of a journal.

use std::fmt;
use std::sync::Arc;

/// One writer's stream of rows: `<node>-<8 hex>`, made when a journal is created and kept in it.
///
/// A row is identified by (topic, shard, seq). Because the shard is made anew with each journal, a
/// lost or renamed data directory never uses a number twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(Arc<str>);

/// A text that is not `<node>-<8 hex>`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a shard: expected `<node>-<8 hex digits>`")]
pub struct NotAShard(String);

impl Shard {
    /// The shard of `node` with the given incarnation.
    #[must_use]
    pub fn new(node: &str, incarnation: u32) -> Self {
        Self(format!("{node}-{incarnation:08x}").into())
    }

    /// The shard as text, as it stands in paths and tables.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        match text.rsplit_once('-') {
            Some((node, hex)) if !node.is_empty() && hex.len() == 8 && u32::from_str_radix(hex, 16).is_ok() => {
                Ok(Self(text.into()))
            }
            _ => Err(NotAShard(text.to_owned())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
