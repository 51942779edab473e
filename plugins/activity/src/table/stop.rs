//! Why a table's writer stops.

use crate::retry::Drained;
use greyhound_sdk::ReadError;
use parquet::errors::ParquetError;

/// Why a table's writer stops.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The drain was requested while the store failed: the rows stay in the journal.
    #[error(transparent)]
    Drained(#[from] Drained),
    /// Another process writes, or has written, rows of the same numbers: an operator must look.
    #[error(
        "{path} has rows of shard {shard} that are not in this journal: this data directory is an old copy, or another \
         process runs on a copy of this data directory; start this node with an empty one, or stop the other process. \
         The rows stay in this journal"
    )]
    Stranger {
        /// The file.
        path: String,
        /// The shard that both processes use.
        shard: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rows cannot be encoded.
    #[error("rows of {topic} cannot be encoded: {source}")]
    Encode {
        /// The table.
        topic: String,
        /// Why.
        source: ParquetError,
    },
}
