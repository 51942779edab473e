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
    /// Another process writes the same rows: an operator must look.
    #[error(
        "{path} holds rows of shard {shard} that are not this journal's: another process runs on a copy of this data directory; \
         stop it, or give this node a new data directory; once the file is moved away, this table continues. The rows stay in this journal"
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
