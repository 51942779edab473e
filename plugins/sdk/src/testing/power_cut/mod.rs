//! A disk that loses unsynced data in a power cut.
//!
//! ```
//! use greyhound_sdk::fs::FileSystem;
//! use greyhound_sdk::testing::power_cut::PowerCut;
//! use std::path::Path;
//!
//! let disk = PowerCut::new();
//! let file = disk.create_new(Path::new("/a"))?;
//! file.write_all_at(b"kept", 0)?;
//! file.sync()?;
//! disk.sync_dir(Path::new("/"))?;
//! file.write_all_at(b"gone", 4)?;
//! let after = disk.after_power_cut(0);
//! assert_eq!(after.content(Path::new("/a")).as_deref(), Some(&b"kept"[..]));
//! # std::io::Result::Ok(())
//! ```
//!
//! To test a power cut at every step, run once and [count](PowerCut::operations) the operations. Then, for each `n`,
//! run on a new disk with [`PowerCut::fail_after`]`(n)`, call [`PowerCut::after_power_cut`] with a few seeds, and check
//! what the program finds on those disks.

mod content;
mod disk;
mod handle;

use crate::fs::{Directory, File, FileSystem, Lock, LockError};
use content::{Content, Dice};
use disk::{Change, Disk, Inode, Names, done, parent};
use handle::Handle;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system in memory that tracks, for each file and name, what is on the disk and what is only in the cache.
/// Cheap to clone; all clones share one disk.
///
/// It loses as much as POSIX allows. A file is durable only after its own sync *and* a sync of the directory that names
/// it. A rename is atomic, and durable after a sync of the destination directory. Directories are durable when they are
/// created, as [`FileSystem::create_dir_all`] promises.
#[derive(Debug, Clone, Default)]
pub struct PowerCut(Arc<Mutex<Disk>>);

impl PowerCut {
    /// Creates an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many changing operations, including syncs, were made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Lets `n` more changing operations succeed; the next one and everything after it fail. The change of that one is
    /// in the cache, so a power cut may or may not keep it.
    pub fn fail_after(&self, n: u64) {
        let mut disk = self.0.lock();
        disk.dies_after = Some(disk.operations + n);
    }

    /// Lets the next `n` file syncs fail, as on Linux: the unsynced data is never written, although a later sync
    /// succeeds.
    pub fn fail_syncs(&self, n: u64) {
        self.0.lock().failing_syncs = n;
    }

    /// Lets the next `n` writes fail with EIO after half of the bytes.
    pub fn fail_writes(&self, n: u64) {
        self.0.lock().failing_writes = n;
    }

    /// Sets whether opening anything fails with EMFILE.
    pub fn exhaust_descriptors(&self, exhausted: bool) {
        self.0.lock().no_descriptors = exhausted;
    }

    /// Limits the size of all files together. A write beyond it writes as much as fits, and fails with ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Returns the size of all files in bytes, including allocated space.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Returns the current content of a file, including what is only in the cache.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.0.lock();
        disk.cached.get(path).and_then(|i| disk.files.get(i)).map(|c| c.cached.clone())
    }

    /// Durably replaces the content of a file with `bytes`, to simulate bit rot or a file from elsewhere.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.0.lock();
        let inode = disk.new_inode();
        disk.files.insert(inode, Content { durable: bytes.clone(), cached: bytes, ..Content::default() });
        disk.cached.insert(path.to_owned(), inode);
        disk.durable.insert(path.to_owned(), inode);
    }

    /// Returns the paths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.lock().cached.keys().cloned().collect()
    }

    /// Returns the disk that the next start finds if the power is cut now. With seed 0, all unsynced changes are lost.
    /// With another seed, any part of them may be there: some writes and not others, in any order, torn at any byte.
    /// Locks, limits and failures are cleared.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let disk = self.0.lock();
        let mut dice = Dice(seed);
        let mut names = disk.durable.clone();
        for change in disk.renames.iter().filter(|_| seed != 0) {
            if dice.roll(2) == 0 {
                change.apply(&mut names);
            }
        }
        let survived = names.values().filter_map(|i| disk.files.get(i).map(|c| (*i, c)));
        let files = survived.map(|(i, content)| (i, content.after_power_cut(seed, &mut dice))).collect();
        Self::of(files, names, &disk)
    }

    /// Returns the disk that the next start finds if only the process is killed: the cache survives.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let disk = self.0.lock();
        let files = disk.files.clone();
        let restarted = Self::of(files, disk.cached.clone(), &disk);
        {
            let mut new = restarted.0.lock();
            new.durable.clone_from(&disk.durable);
            new.renames.clone_from(&disk.renames);
        }
        restarted
    }

    fn of(files: HashMap<Inode, Content>, names: Names, old: &Disk) -> Self {
        let mut directories = old.directories.clone();
        directories.extend(names.keys().flat_map(|file| file.ancestors().skip(1)).map(Path::to_owned));
        let disk =
            Disk { files, last: old.last, durable: names.clone(), cached: names, directories, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn handle(&self, inode: Inode, writable: bool) -> Box<dyn File> {
        Box::new(Handle { disk: self.0.clone(), inode, writable })
    }
}

impl FileSystem for PowerCut {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.0.lock();
        disk.openable()?;
        disk.need_directory(parent(path))?;
        if disk.cached.contains_key(path) || disk.is_directory(path) {
            return Err(Errno::EXIST.into());
        }
        let inode = disk.new_inode();
        disk.files.insert(inode, Content::default());
        disk.change(Change::Link(path.to_owned(), inode))?;
        Ok(self.handle(inode, true))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.0.lock().openable()?;
        Ok(self.handle(self.0.lock().inode(path)?, true))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.0.lock().openable()?;
        Ok(self.handle(self.0.lock().inode(path)?, false))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let step = disk.count()?;
        disk.directories.extend(path.ancestors().map(Path::to_owned));
        done(step)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.0.lock();
        disk.alive()?;
        disk.need_directory(path)?;
        let entries = disk.cached.keys().chain(&disk.directories).filter(|p| p.parent() == Some(path));
        let names: BTreeSet<String> =
            entries.filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.0.lock();
        disk.alive()?;
        Ok(disk.cached.contains_key(path) || disk.is_directory(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.lock().rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.alive()?;
        let is_directory = disk.is_directory(from);
        if !is_directory {
            disk.inode(from)?;
        }
        if disk.cached.contains_key(to) || disk.is_directory(to) {
            return Err(Errno::EXIST.into());
        }
        if is_directory { disk.rename_directory(from, to) } else { disk.rename(from, to) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.inode(path)?;
        disk.change(Change::Unlink(path.to_owned()))
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.alive()?;
        disk.need_directory(path)?;
        disk.directories.retain(|it| !it.starts_with(path));
        disk.change(Change::RemoveAll(path.to_owned()))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.open_dir(path)?.sync()
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>> {
        let disk = self.0.lock();
        disk.openable()?;
        disk.need_directory(path)?;
        Ok(Box::new(OpenDirectory { disk: self.0.clone(), path: path.to_owned() }))
    }

    fn try_lock(&self, path: &Path, holder: &str) -> Result<Lock, LockError> {
        let mut disk = self.0.lock();
        disk.alive()?;
        if let Some(holder) = disk.locks.get(path) {
            return Err(LockError::Held(holder.clone()));
        }
        disk.locks.insert(path.to_owned(), holder.to_owned());
        Ok(Lock::new(LockGuard { disk: self.0.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct OpenDirectory {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Directory for OpenDirectory {
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.alive()?;
        done(disk.count()?)?;
        let (now, later) =
            std::mem::take(&mut disk.renames).into_iter().partition(|c: &Change| c.directory() == self.path);
        disk.renames = later;
        for change in now {
            change.apply(&mut disk.durable);
        }
        Ok(())
    }
}

struct LockGuard {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::replace;

    fn file(disk: &PowerCut, path: &str, bytes: &[u8]) -> Box<dyn File> {
        let file = disk.create_new(Path::new(path)).expect("create");
        file.write_all_at(bytes, 0).expect("write");
        file
    }

    #[test]
    fn a_file_needs_its_own_sync_and_its_directory_s() {
        let disk = PowerCut::new();
        file(&disk, "/unnamed", b"x").sync().expect("sync");
        assert_eq!(disk.after_power_cut(0).content(Path::new("/unnamed")), None);
        disk.sync_dir(Path::new("/")).expect("sync");
        file(&disk, "/empty", b"x");
        disk.sync_dir(Path::new("/")).expect("sync");
        let after = disk.after_power_cut(0);
        assert_eq!(after.content(Path::new("/unnamed")), Some(b"x".to_vec()));
        assert_eq!(after.content(Path::new("/empty")), Some(Vec::new()));
        assert_eq!(disk.after_kill().content(Path::new("/empty")), Some(b"x".to_vec()));
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_at_every_step() {
        let path = Path::new("/cursor");
        let start = PowerCut::new();
        replace(&start, path, b"old").expect("replace");
        let before = start.operations();
        replace(&start, path, b"new").expect("replace");
        for step in 0..start.operations() - before {
            for seed in 0..20 {
                let disk = PowerCut::new();
                replace(&disk, path, b"old").expect("replace");
                disk.fail_after(step);
                replace(&disk, path, b"new").expect_err("the power is gone");
                let content = disk.after_power_cut(seed).content(path).expect("never missing");
                assert!(content == b"old" || content == b"new", "step {step}, seed {seed}: {content:?}");
            }
        }
        assert_eq!(start.after_power_cut(0).content(path), Some(b"new".to_vec()));
    }

    #[test]
    fn a_failed_sync_loses_the_unsynced_data() {
        let disk = PowerCut::new();
        let open = file(&disk, "/a", b"lost");
        disk.sync_dir(Path::new("/")).expect("sync");
        disk.fail_syncs(1);
        open.sync().expect_err("told to fail");
        open.sync().expect("a later sync succeeds");
        assert_eq!(disk.content(Path::new("/a")), Some(b"lost".to_vec()));
        assert_eq!(disk.after_power_cut(1).content(Path::new("/a")), Some(Vec::new()));
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = PowerCut::new();
        disk.set_capacity(Some(6));
        file(&disk, "/r", b"").allocate(4).expect("fits");
        let open = file(&disk, "/a", b"");
        let error = open.write_all_at(b"abcd", 0).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(open.len().expect("len"), 2);
        disk.remove(Path::new("/r")).expect("remove");
        open.write_all_at(b"abcd", 0).expect("fits now");
        open.allocate(6).expect("fits");
        assert_eq!(disk.used(), 6);
        open.set_len(4).expect("cut");
        assert_eq!(disk.used(), 4);
    }

    #[test]
    fn unsynced_writes_are_torn_by_seed() {
        let disk = PowerCut::new();
        let open = file(&disk, "/a", b"");
        disk.sync_dir(Path::new("/")).expect("sync");
        open.write_all_at(b"0123456789", 0).expect("write");
        let seen: BTreeSet<Vec<u8>> =
            (0..200).filter_map(|seed| disk.after_power_cut(seed).content(Path::new("/a"))).collect();
        assert!(seen.len() > 10, "{seen:?}");
        assert!(seen.contains(&b""[..]) && seen.contains(&b"0123456789"[..]));
    }

    #[test]
    fn a_lock_has_one_holder_and_names_it() {
        let disk = PowerCut::new();
        let lock = disk.try_lock(Path::new("/lock"), "pid 1").expect("free");
        assert!(matches!(disk.try_lock(Path::new("/lock"), "pid 2"), Err(LockError::Held(h)) if h == "pid 1"));
        drop(lock);
        disk.try_lock(Path::new("/lock"), "pid 2").expect("free again");
    }
}
