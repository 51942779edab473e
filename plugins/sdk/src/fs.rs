//! The file operations that durability depends on, behind a trait, so that tests can simulate a power cut between any
//! two of them.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Modes of new files and directories: the group may read, others may not. The umask may remove more.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// A shared file layer.
pub type SharedFs = Arc<dyn FileSystem>;

/// A directory tree. All operations block, so never call them on an async worker.
pub trait FileSystem: Debug + Send + Sync + 'static {
    /// Creates a new file for reading and writing; fails with `AlreadyExists` if it exists.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens an existing file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates the directory and its parents, and makes their entries durable.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Returns the names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or directory exists at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file, and replaces the destination if it exists. Durable after [`FileSystem::sync_dir`] of the
    /// parents.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file or directory; fails with `AlreadyExists` if the destination exists. Check and rename are atomic.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and its contents.
    fn remove_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a directory, so that it can still be synced when no further file can be opened.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>>;
    /// Locks the file at `path` until the [`Lock`] is dropped or the process ends. Creates the file if it is missing.
    /// `holder` is the text that others see in [`LockError::Held`].
    ///
    /// # Errors
    /// [`LockError::Held`], without waiting, if this or another process holds the lock.
    fn try_lock(&self, path: &Path, holder: &str) -> Result<Lock, LockError>;
}

/// A held lock, which is released on drop.
pub struct Lock(#[allow(dead_code, reason = "held for its Drop")] Box<dyn Send + Sync>);

impl Lock {
    /// Creates a lock that drops `guard` when it is released.
    #[must_use]
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

/// Why a file could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock is held. The text describes the holder, and may be empty.
    #[error("held by {0}")]
    Held(String),
    /// The lock file could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open directory.
pub trait Directory: Debug + Send + Sync + 'static {
    /// Makes the names in the directory durable, like [`FileSystem::sync_dir`].
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait File: Debug + Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes at `offset` and returns how many; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Truncates or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves disk space for the first `len` bytes, so that writing them cannot fail because the disk is full.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes the content and the length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Replaces the content of `path` with `bytes` atomically and durably: writes and syncs a temporary file, renames it,
/// and syncs the directory.
///
/// # Errors
/// Any error of the file system. The file then has its old or its new content, never a part of either.
pub fn replace(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("tmp");
    match fs.remove(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = fs.create_new(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    drop(file);
    fs.rename(&temporary, path)?;
    fs.sync_dir(parent)
}

/// Reads the whole content of a file.
///
/// # Errors
/// Any error of the file system.
pub fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    read_range(file.as_ref(), 0, usize::try_from(file.len()?).map_err(io::Error::other)?)
}

/// Reads up to `len` bytes of a file from `offset` on; fewer if the file ends earlier.
///
/// # Errors
/// Any error of the file system.
pub fn read_range(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        match file.read_at(&mut bytes[at..], offset + at as u64)? {
            0 => break,
            n => at += n,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFileSystem;

impl FileSystem for OsFileSystem {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<PathBuf> =
            path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).map(Path::to_owned).collect();
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        for parent in missing.iter().rev().filter_map(|p| p.parent()) {
            self.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(path)?
            .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some network file systems lack NOREPLACE. A rename never replaces a directory that is not empty ...
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if from.is_dir() => match fs::rename(from, to) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Err(io::ErrorKind::AlreadyExists.into()),
                other => other,
            },
            // ... and a hard link fails if the name exists.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            other => Ok(other?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn try_lock(&self, path: &Path, holder: &str) -> Result<Lock, LockError> {
        let file =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(LockError::Held(fs::read_to_string(path)?)),
            Err(fs::TryLockError::Error(e)) => return Err(e.into()),
        }
        // Only the lock matters. A full disk must not prevent the start, so the name of the holder may be missing.
        let named = file.set_len(0).and_then(|()| FileExt::write_all_at(&file, holder.as_bytes(), 0));
        if let Err(e) = named {
            tracing::debug!(path = %path.display(), error = %e, "cannot write the holder's name to the lock file");
        }
        Ok(Lock::new(file))
    }
}

impl Directory for fs::File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl File for fs::File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(self, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
