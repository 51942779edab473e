//! Whose rows the journal holds: the shard, made with the journal and kept in it.

use super::OpenError;
use super::segment::Segment;
use greyhound_sdk::Shard;
use greyhound_sdk::fs::{self, FileSystem};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;

/// The shard of the journal in `dir`.
pub(super) fn find_or_make(fs: &dyn FileSystem, dir: &Path, node: &str) -> Result<Shard, OpenError> {
    let path = dir.join("shard");
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    match fs::read(fs, &path) {
        Ok(text) => {
            let shard = String::from_utf8_lossy(&text).trim().parse();
            shard.map_err(|e: greyhound_sdk::shard::NotAShard| OpenError::Unreadable { path, why: e.to_string() })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if fs.list(dir).map_err(io)?.iter().any(|name| Segment::base_of(name).is_some()) {
                return Err(OpenError::NoShard { dir: dir.to_owned() });
            }
            let shard = Shard::new(node, incarnation());
            fs::replace(fs, &path, format!("{shard}\n").as_bytes()).map_err(io)?;
            Ok(shard)
        }
        Err(e) => Err(io(e)),
    }
}

/// A number that no other journal has: std seeds its hashers from the operating system's randomness.
fn incarnation() -> u32 {
    let mixed = RandomState::new().build_hasher().finish();
    (mixed ^ (mixed >> 32)) as u32
}
