//! The segment that is being written.

use super::segment::Segment;
use super::view::View;
use greyhound_sdk::fs::{File, FileSystem};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Disk space that is kept behind the last byte for the rows that tell of gaps.
const RESERVE: u64 = 1 << 20;
/// Disk space is claimed in steps of this size.
const STEP: u64 = 4 << 20;

/// An open segment.
pub(super) struct Active {
    pub file: Arc<dyn File>,
    /// The journal offset of its first byte.
    pub base: u64,
    /// Disk space that it has claimed.
    claimed: u64,
    /// Whether something was written that is not synced.
    pub dirty: bool,
}

/// The empty file of the next segment, opened ahead, so that a segment begins also when clients have used up the
/// descriptors.
pub(super) struct Ahead(Arc<dyn File>);

/// Its name.
const AHEAD: &str = "next";

impl Ahead {
    pub fn open(fs: &dyn FileSystem, dir: &Path) -> io::Result<Self> {
        create(fs, &dir.join(AHEAD)).map(Self)
    }

    /// Makes it the segment that begins at `base`. Its name is not durable yet.
    pub fn begin(self, fs: &dyn FileSystem, dir: &Path, base: u64) -> io::Result<Active> {
        // Over what a failed attempt left behind, which has no byte that was acknowledged.
        fs.rename(&dir.join(AHEAD), &Segment::path(dir, base))?;
        Ok(Active { file: self.0, base, claimed: 0, dirty: false })
    }
}

/// A new file, in place of what an earlier attempt left behind.
fn create(fs: &dyn FileSystem, path: &Path) -> io::Result<Arc<dyn File>> {
    match fs.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(fs.create_new(path)?.into()),
    }
}

/// Where a group goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Only where the reserve stays untouched.
    Common,
    /// Into the reserve, if need be.
    Reserved,
}

impl Active {
    /// The last segment of `view`; none where there is no segment.
    pub fn reopen(fs: &dyn FileSystem, dir: &Path, view: &View) -> io::Result<Option<Self>> {
        let Some(last) = view.segments.back() else { return Ok(None) };
        let file = fs.open(&Segment::path(dir, last.base))?.into();
        Ok(Some(Self { file, base: last.base, claimed: 0, dirty: false }))
    }

    /// A new segment. Its name is not durable yet.
    pub fn create(fs: &dyn FileSystem, dir: &Path, base: u64) -> io::Result<Self> {
        // What a failed attempt left behind has no byte that was acknowledged.
        let file = create(fs, &Segment::path(dir, base))?;
        Ok(Self { file, base, claimed: 0, dirty: false })
    }

    /// Makes sure that `len` bytes at journal offset `at` find room, and the reserve behind them.
    pub fn claim(&mut self, at: u64, len: usize) -> io::Result<()> {
        let need = at - self.base + len as u64 + RESERVE;
        if need <= self.claimed {
            return Ok(());
        }
        let generous = need.next_multiple_of(STEP);
        for size in [generous, need] {
            match self.file.allocate(size) {
                Ok(()) => {
                    self.claimed = size;
                    return Ok(());
                }
                // A file system that cannot claim space: a write will tell.
                Err(e) if e.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                    self.claimed = u64::MAX;
                    return Ok(());
                }
                Err(e) if size == need => return Err(e),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Writes at a journal offset.
    pub fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.dirty = true;
        self.file.write_all_at(bytes, at - self.base)
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.dirty = false;
        Ok(())
    }

    /// Sets claimed space behind `end` free.
    pub fn trim(&self, end: u64) {
        if let Err(e) = self.file.set_len(end - self.base) {
            tracing::debug!(error = %e, "the space behind a full segment could not be set free");
        }
    }
}
