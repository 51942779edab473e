//! Whose rows the journal holds: the shard, made with the journal and kept in it.

use super::OpenError;
use super::segment::Segment;
use greyhound_sdk::Shard;
use greyhound_sdk::fs::{self, FileSystem};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;

const FILE: &str = "shard";

/// The shard of the journal in `dir`.
pub(super) fn find_or_make(fs: &dyn FileSystem, dir: &Path, node: &str) -> Result<Shard, OpenError> {
    if let Some(shard) = find(fs, dir)? {
        return Ok(shard);
    }
    let shard = Shard::new(node, incarnation());
    let made = fs::replace(fs, &dir.join(FILE), format!("{shard}\n").as_bytes());
    made.map(|()| shard).map_err(|source| OpenError::Io { dir: dir.to_owned(), source })
}

/// The shard of the journal in `dir`; none in a journal that is new.
pub(super) fn find(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Shard>, OpenError> {
    let path = dir.join(FILE);
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    match fs::read(fs, &path) {
        Ok(text) => {
            let shard = String::from_utf8_lossy(&text).trim().parse();
            shard
                .map(Some)
                .map_err(|e: greyhound_sdk::shard::NotAShard| OpenError::Unreadable { path, why: e.to_string() })
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

/// A number that no other journal has: std seeds its hashers from the operating system's randomness.
fn incarnation() -> u32 {
    let mixed = RandomState::new().build_hasher().finish();
    (mixed ^ (mixed >> 32)) as u32
}
