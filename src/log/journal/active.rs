//! The segment that is being written, and the file of the next one.

use super::segment::Segment;
use super::view::View;
use greyhound_sdk::fs::{File, FileSystem};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Disk space that is kept free behind the last byte, for gaps.
const RESERVE_BYTES: u64 = 1 << 20;
/// Disk space is allocated in steps of this size.
const ALLOCATION_STEP_BYTES: u64 = 4 << 20;

/// An open segment.
pub(super) struct Active {
    pub file: Arc<dyn File>,
    /// The journal offset of its first byte.
    pub base: u64,
    /// The allocated disk space.
    allocated: u64,
    /// Whether it has unsynced writes.
    pub dirty: bool,
}

/// The empty file of the next segment. It is opened in advance, so that a segment can begin when clients have used up
/// the file descriptors.
pub(super) struct NextSegment(Arc<dyn File>);

/// The name of the next segment's file.
const NEXT_FILE: &str = "next";

impl NextSegment {
    pub fn open(fs: &dyn FileSystem, dir: &Path) -> io::Result<Self> {
        create(fs, &dir.join(NEXT_FILE)).map(Self)
    }

    /// Turns the file into the segment that begins at `base`. Does not make its name durable.
    pub fn begin(self, fs: &dyn FileSystem, dir: &Path, base: u64) -> io::Result<Active> {
        // May replace the file of a failed attempt, which holds no acknowledged byte.
        fs.rename(&dir.join(NEXT_FILE), &Segment::path(dir, base))?;
        Ok(Active { file: self.0, base, allocated: 0, dirty: false })
    }
}

/// Creates a file, and replaces the file of an earlier attempt.
fn create(fs: &dyn FileSystem, path: &Path) -> io::Result<Arc<dyn File>> {
    match fs.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(fs.create_new(path)?.into()),
    }
}

/// The disk space that a group may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// All but the reserve.
    Common,
    /// All, including the reserve.
    Reserved,
}

impl Active {
    /// Opens the last segment of `view`; `None` if there is no segment.
    pub fn reopen(fs: &dyn FileSystem, dir: &Path, view: &View) -> io::Result<Option<Self>> {
        let Some(last) = view.segments.back() else { return Ok(None) };
        let file = fs.open(&Segment::path(dir, last.base))?.into();
        Ok(Some(Self { file, base: last.base, allocated: 0, dirty: false }))
    }

    /// Creates a segment. Does not make its name durable.
    pub fn create(fs: &dyn FileSystem, dir: &Path, base: u64) -> io::Result<Self> {
        // May replace the file of a failed attempt, which holds no acknowledged byte.
        let file = create(fs, &Segment::path(dir, base))?;
        Ok(Self { file, base, allocated: 0, dirty: false })
    }

    /// Allocates disk space for `len` bytes at journal offset `at`, and for the reserve behind them.
    pub fn allocate(&mut self, at: u64, len: usize) -> io::Result<()> {
        let need = at - self.base + len as u64 + RESERVE_BYTES;
        if need <= self.allocated {
            return Ok(());
        }
        let generous = need.next_multiple_of(ALLOCATION_STEP_BYTES);
        for size in [generous, need] {
            match self.file.allocate(size) {
                Ok(()) => {
                    self.allocated = size;
                    return Ok(());
                }
                // The file system cannot allocate space: a full disk shows only when a write fails.
                Err(e) if e.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                    self.allocated = u64::MAX;
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

    /// Releases the allocated space after `end`.
    pub fn trim(&self, end: u64) {
        if let Err(e) = self.file.set_len(end - self.base) {
            tracing::debug!(error = %e, "cannot release the space after the end of a segment");
        }
    }
}
