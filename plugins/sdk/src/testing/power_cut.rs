//! A disk that loses what was not synced.
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
//! A test of every step: run once to [count](PowerCut::operations) the operations, then for each `n` run
//! on a new disk with [`PowerCut::fail_after`]`(n)`, take [`PowerCut::after_power_cut`] with a few
//! seeds, and look at what the program finds there.

use crate::fs::{File, FileSystem, Lock, LockError};
use parking_lot::Mutex;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system in memory that knows, for each file and name, what is on the disk and what only in the
/// cache. Cheap to clone; all clones are the same disk.
///
/// It is as harsh as POSIX allows: a file is durable only with its own sync *and* that of the directory
/// which names it; a rename is atomic, and durable with the sync of the directory that it leads to.
/// Directories themselves are durable when made, as [`FileSystem::create_dir_all`] promises.
#[derive(Debug, Clone, Default)]
pub struct PowerCut(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    files: HashMap<Inode, Content>,
    last: u64,
    cached: Names,
    durable: Names,
    renames: Vec<Change>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeMap<PathBuf, String>,
    operations: u64,
    dies_after: Option<u64>,
    capacity: Option<u64>,
    failing_syncs: u64,
    failing_writes: u64,
}

type Names = BTreeMap<PathBuf, Inode>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Inode(u64);

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
enum Change {
    Link(PathBuf, Inode),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Inode),
    /// Of a directory with all that is in it.
    Move(PathBuf, PathBuf),
    RemoveAll(PathBuf),
}

#[derive(Debug, Clone, Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Edit>,
    allocated: u64,
}

/// A change of a file that is not durable yet.
#[derive(Debug, Clone)]
enum Edit {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl PowerCut {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations that change something (syncs are among them) there were so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Lets `n` more changing operations succeed; the one after them, and everything from then on, fails.
    /// What that one would have changed is in the cache, so a power cut may or may not keep it.
    pub fn fail_after(&self, n: u64) {
        let mut disk = self.0.lock();
        disk.dies_after = Some(disk.operations + n);
    }

    /// Lets the next `n` file syncs fail, as Linux does it: what was not synced is dropped from
    /// what will ever be written, so that a later sync succeeds without it.
    pub fn fail_syncs(&self, n: u64) {
        self.0.lock().failing_syncs = n;
    }

    /// Lets the next `n` writes fail with EIO, half done.
    pub fn fail_writes(&self, n: u64) {
        self.0.lock().failing_writes = n;
    }

    /// Limits the bytes of all files together; what goes beyond fails with ENOSPC, after as much as fits.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// The bytes that all files take, allocated ones included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// What a file holds now, cache included.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.0.lock();
        disk.cached.get(path).and_then(|i| disk.files.get(i)).map(|c| c.cached.clone())
    }

    /// Puts `bytes` into a file, durably, in place of what it holds: bit rot, or a file from elsewhere.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.0.lock();
        let inode = disk.new_inode();
        disk.files.insert(inode, Content { durable: bytes.clone(), cached: bytes, ..Content::default() });
        disk.cached.insert(path.to_owned(), inode);
        disk.durable.insert(path.to_owned(), inode);
    }

    /// The paths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.lock().cached.keys().cloned().collect()
    }

    /// The disk that the next start finds after the power was cut now. With seed 0 nothing that was
    /// not synced is there; with another seed, any part of it may be: some writes and not others, in
    /// any order, torn at any byte. Locks are gone, and so is every limit and failure that was set.
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

    /// The disk that the next start finds after only the process was killed: the cache survives.
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
        let disk = Disk { files, last: old.last, durable: names.clone(), cached: names, directories, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn handle(&self, inode: Inode, writable: bool) -> Box<dyn File> {
        Box::new(Handle { disk: self.0.clone(), inode, writable })
    }
}

impl Disk {
    fn new_inode(&mut self) -> Inode {
        self.last += 1;
        Inode(self.last)
    }

    fn used(&self) -> u64 {
        self.cached.values().filter_map(|i| self.files.get(i)).map(Content::size).sum()
    }

    fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |c| c.saturating_sub(self.used()))
    }

    /// Fails once the power is gone.
    fn alive(&self) -> io::Result<()> {
        match self.dies_after {
            Some(at) if self.operations > at => Err(died()),
            _ => Ok(()),
        }
    }

    /// Counts an operation. `Break` where it is the one in which the power goes.
    fn count(&mut self) -> io::Result<ControlFlow<()>> {
        self.alive()?;
        self.operations += 1;
        Ok(if self.alive().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.directories.contains(path)
    }

    fn need_directory(&self, path: &Path) -> io::Result<()> {
        if self.is_directory(path) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.alive()?;
        self.cached.get(path).copied().ok_or_else(|| Errno::NOENT.into())
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let step = self.count()?;
        change.apply(&mut self.cached);
        self.renames.push(change);
        done(step)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.inode(from)?;
        self.need_directory(parent(to))?;
        self.change(Change::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn rename_directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.need_directory(parent(to))?;
        let moved = self.directories.extract_if(.., |it| it.starts_with(from)).collect::<Vec<_>>();
        self.directories.extend(moved.iter().filter_map(|it| rebase(it, from, to)));
        self.change(Change::Move(from.to_owned(), to.to_owned()))
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, inode) => {
                // What is moved is this file; by now another one may have its old name.
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Move(from, to) => {
                let moved = names.extract_if(.., |path, _| path.starts_with(from)).collect::<Vec<_>>();
                names.extend(moved.into_iter().filter_map(|(path, inode)| Some((rebase(&path, from, to)?, inode))));
            }
            Self::RemoveAll(directory) => names.retain(|path, _| !path.starts_with(directory)),
        }
    }

    /// The directory whose sync makes it durable.
    fn directory(&self) -> &Path {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path, _) | Self::Move(_, path) | Self::RemoveAll(path) => {
                parent(path)
            }
        }
    }
}

impl Content {
    fn size(&self) -> u64 {
        (self.cached.len() as u64).max(self.allocated)
    }

    fn edit(&mut self, edit: Edit) {
        edit.apply(&mut self.cached);
        self.pending.push(edit);
    }

    fn sync(&mut self) {
        for edit in self.pending.drain(..) {
            edit.apply(&mut self.durable);
        }
    }

    fn after_power_cut(&self, seed: u64, dice: &mut Dice) -> Self {
        let mut bytes = self.durable.clone();
        let mut kept: Vec<Edit> = self.pending.iter().filter(|_| seed != 0).filter_map(|e| e.torn(dice)).collect();
        if dice.roll(4) == 0 {
            kept.reverse();
        }
        for edit in kept {
            edit.apply(&mut bytes);
        }
        Self { cached: bytes.clone(), durable: bytes, pending: Vec::new(), allocated: self.allocated }
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Write(at, new) => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
        }
    }

    /// What a power cut leaves of it.
    fn torn(&self, dice: &mut Dice) -> Option<Self> {
        match (dice.roll(4), self) {
            (0, _) => None,
            (1, Self::Write(at, bytes)) => Some(Self::Write(*at, bytes[..dice.roll(bytes.len() + 1)].to_vec())),
            (2, Self::Write(at, bytes)) => {
                let cut = dice.roll(bytes.len() + 1);
                Some(Self::Write(at + cut, bytes[cut..].to_vec()))
            }
            _ => Some(self.clone()),
        }
    }
}

/// A small generator of pseudo-random numbers (splitmix64): the same seed, the same disk.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap_or(0)
    }
}

impl FileSystem for PowerCut {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.0.lock();
        disk.alive()?;
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
        Ok(self.handle(self.0.lock().inode(path)?, true))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
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
        let names: BTreeSet<String> = entries.filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
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
        let mut disk = self.0.lock();
        disk.alive()?;
        disk.need_directory(path)?;
        done(disk.count()?)?;
        let (now, later) = std::mem::take(&mut disk.renames).into_iter().partition(|c: &Change| c.directory() == path);
        disk.renames = later;
        for change in now {
            change.apply(&mut disk.durable);
        }
        Ok(())
    }

    fn try_lock(&self, path: &Path, holder: &str) -> Result<Lock, LockError> {
        let mut disk = self.0.lock();
        disk.alive()?;
        if let Some(holder) = disk.locks.get(path) {
            return Err(LockError::Held(holder.clone()));
        }
        disk.locks.insert(path.to_owned(), holder.to_owned());
        Ok(Lock::new(Held { disk: self.0.clone(), path: path.to_owned() }))
    }
}

struct Held {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct Handle {
    disk: Arc<Mutex<Disk>>,
    inode: Inode,
    writable: bool,
}

impl Handle {
    /// One counted change of this file, of which at most `room` further bytes fit.
    fn change(&self, make: impl FnOnce(&mut Content, u64) -> io::Result<()>) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.alive()?;
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let step = disk.count()?;
        let room = disk.free();
        make(disk.files.entry(self.inode).or_default(), room)?;
        done(step)
    }

    fn look<T>(&self, at: impl FnOnce(&Content) -> T) -> io::Result<T> {
        let disk = self.disk.lock();
        disk.alive()?;
        disk.files.get(&self.inode).map(at).ok_or_else(|| Errno::NOENT.into())
    }

    fn takes(&self, failures: impl FnOnce(&mut Disk) -> &mut u64) -> bool {
        let mut disk = self.disk.lock();
        let left = failures(&mut disk);
        let fails = *left > 0;
        *left = left.saturating_sub(1);
        fails
    }
}

impl File for Handle {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fails = self.takes(|d| &mut d.failing_writes);
        self.change(|content, room| {
            let at = index(offset)?;
            let fits = index(content.size().saturating_add(room).saturating_sub(offset).min(bytes.len() as u64))?;
            let written = if fails { bytes.len() / 2 } else { fits };
            content.edit(Edit::Write(at, bytes[..written].to_vec()));
            match (fails, written == bytes.len()) {
                (true, _) => Err(Errno::IO.into()),
                (false, false) => Err(Errno::NOSPC.into()),
                (false, true) => Ok(()),
            }
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = index(offset)?;
        self.look(|content| {
            let rest = content.cached.get(at..).unwrap_or_default();
            let n = rest.len().min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            n
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.look(|content| content.cached.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|content, _| {
            content.edit(Edit::Length(index(len)?));
            // Space that was claimed behind the end is free again, as on Linux.
            content.allocated = content.allocated.min(len);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(|content, room| {
            if len.saturating_sub(content.size()) > room {
                return Err(Errno::NOSPC.into());
            }
            content.allocated = content.allocated.max(len);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let fails = self.takes(|d| &mut d.failing_syncs);
        let mut disk = self.disk.lock();
        done(disk.count()?)?;
        let content = disk.files.entry(self.inode).or_default();
        if fails {
            content.pending.clear();
            return Err(Errno::IO.into());
        }
        content.sync();
        Ok(())
    }
}

fn done(step: ControlFlow<()>) -> io::Result<()> {
    if step.is_break() { Err(died()) } else { Ok(()) }
}

fn died() -> io::Error {
    io::Error::other("the power is gone")
}

/// `path`, which is in `from`, as it is in `to`.
fn rebase(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) })
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
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
    fn a_failed_sync_loses_what_it_was_for() {
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
    fn un_synced_writes_are_torn_by_seed() {
        let disk = PowerCut::new();
        let open = file(&disk, "/a", b"");
        disk.sync_dir(Path::new("/")).expect("sync");
        open.write_all_at(b"0123456789", 0).expect("write");
        let seen: BTreeSet<Vec<u8>> = (0..200).filter_map(|seed| disk.after_power_cut(seed).content(Path::new("/a"))).collect();
        assert!(seen.len() > 10, "{seen:?}");
        assert!(seen.contains(&b""[..]) && seen.contains(&b"0123456789"[..]));
    }

    #[test]
    fn a_lock_is_held_by_one_and_named() {
        let disk = PowerCut::new();
        let lock = disk.try_lock(Path::new("/lock"), "pid 1").expect("free");
        assert!(matches!(disk.try_lock(Path::new("/lock"), "pid 2"), Err(LockError::Held(h)) if h == "pid 1"));
        drop(lock);
        disk.try_lock(Path::new("/lock"), "pid 2").expect("free again");
    }
}
