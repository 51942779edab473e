//! Why the journal cannot be opened.

use std::io;
use std::path::PathBuf;

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the journal in {} is in use by {holder}: only one process can use a data directory; stop that process, or set node.data_dir to another directory",
        dir.display()
    )]
    Held {
        /// The journal's directory.
        dir: PathBuf,
        /// The name of the holder.
        holder: String,
    },
    /// There are segments, but the file with the shard's name is missing.
    #[error(
        "the journal in {} has no file `shard`, which identifies its rows: restore the file, or move the directory away to start with a new journal",
        dir.display()
    )]
    NoShard {
        /// The journal's directory.
        dir: PathBuf,
    },
    /// A file of the journal is not valid.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The fault.
        why: String,
    },
    /// An operation on the disk failed.
    #[error("cannot open the journal in {}: {source}", dir.display())]
    Io {
        /// The journal's directory.
        dir: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
