//! The shard of the journal, which is generated and stored when the journal is created.

use super::error::OpenError;
use super::segment::Segment;
use greyhound_sdk::Shard;
use greyhound_sdk::fs::{self, FileSystem};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;

const FILE: &str = "shard";

/// Reads the shard of the journal in `dir`, or generates and stores one if the journal is new.
pub(super) fn find_or_create(fs: &dyn FileSystem, dir: &Path, node: &str) -> Result<Shard, OpenError> {
    if let Some(shard) = find(fs, dir)? {
        return Ok(shard);
    }
    let shard = Shard::new(node, incarnation());
    let stored = fs::replace(fs, &dir.join(FILE), format!("{shard}\n").as_bytes());
    stored.map(|()| shard).map_err(|source| OpenError::Io { dir: dir.to_owned(), source })
}

/// Reads the shard of the journal in `dir`; `None` if the journal is new.
pub(super) fn find(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Shard>, OpenError> {
    let path = dir.join(FILE);
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    match fs::read(fs, &path) {
        Ok(text) => {
            let shard = String::from_utf8_lossy(&text).trim().parse();
            shard
                .map(Some)
                .map_err(|e: greyhound_sdk::shard::InvalidShard| OpenError::Unreadable { path, why: e.to_string() })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            match fs.list(dir).map_err(io)?.iter().any(|name| Segment::base_of(name).is_some()) {
                true => Err(OpenError::NoShard { dir: dir.to_owned() }),
                false => Ok(None),
            }
        }
        Err(e) => Err(io(e)),
    }
}

/// Returns a random number, which distinguishes this journal from others. std seeds its hashers from the operating
/// system.
fn incarnation() -> u32 {
    let mixed = RandomState::new().build_hasher().finish();
    (mixed ^ (mixed >> 32)) as u32
}
