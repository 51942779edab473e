//! The names of the files, in the cache and on the disk, and the faults that a test has set.

use super::content::Content;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) files: HashMap<Inode, Content>,
    pub(super) last: u64,
    pub(super) cached: Names,
    pub(super) durable: Names,
    pub(super) renames: Vec<Change>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) locks: BTreeMap<PathBuf, String>,
    pub(super) operations: u64,
    pub(super) dies_after: Option<u64>,
    pub(super) capacity: Option<u64>,
    pub(super) failing_syncs: u64,
    pub(super) failing_writes: u64,
    pub(super) no_descriptors: bool,
}

pub(super) type Names = BTreeMap<PathBuf, Inode>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Inode(u64);

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Link(PathBuf, Inode),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Inode),
    /// The rename of a directory with its contents.
    Move(PathBuf, PathBuf),
    RemoveAll(PathBuf),
}

impl Disk {
    pub(super) fn new_inode(&mut self) -> Inode {
        self.last += 1;
        Inode(self.last)
    }

    pub(super) fn used(&self) -> u64 {
        self.cached.values().filter_map(|i| self.files.get(i)).map(Content::size).sum()
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |c| c.saturating_sub(self.used()))
    }

    /// Fails once the power is gone.
    pub(super) fn alive(&self) -> io::Result<()> {
        match self.dies_after {
            Some(at) if self.operations > at => Err(died()),
            _ => Ok(()),
        }
    }

    /// Fails if nothing more can be opened.
    pub(super) fn openable(&self) -> io::Result<()> {
        if self.no_descriptors { Err(Errno::MFILE.into()) } else { self.alive() }
    }

    /// Counts an operation. Returns `Break` if the power fails during it.
    pub(super) fn count(&mut self) -> io::Result<ControlFlow<()>> {
        self.alive()?;
        self.operations += 1;
        Ok(if self.alive().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.directories.contains(path)
    }

    pub(super) fn need_directory(&self, path: &Path) -> io::Result<()> {
        if self.is_directory(path) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.alive()?;
        self.cached.get(path).copied().ok_or_else(|| Errno::NOENT.into())
    }

    pub(super) fn change(&mut self, change: Change) -> io::Result<()> {
        let step = self.count()?;
        change.apply(&mut self.cached);
        self.renames.push(change);
        done(step)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.inode(from)?;
        self.need_directory(parent(to))?;
        self.change(Change::Rename(from.to_owned(), to.to_owned(), inode))
    }

    pub(super) fn rename_directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.need_directory(parent(to))?;
        let moved = self.directories.extract_if(.., |it| it.starts_with(from)).collect::<Vec<_>>();
        self.directories.extend(moved.iter().filter_map(|it| rebase(it, from, to)));
        self.change(Change::Move(from.to_owned(), to.to_owned()))
    }
}

impl Change {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, inode) => {
                // Another file may have the old name by now: move only this one.
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

    /// Returns the directory whose sync makes the change durable.
    pub(super) fn directory(&self) -> &Path {
        match self {
            Self::Link(path, _)
            | Self::Unlink(path)
            | Self::Rename(_, path, _)
            | Self::Move(_, path)
            | Self::RemoveAll(path) => parent(path),
        }
    }
}

pub(super) fn done(step: ControlFlow<()>) -> io::Result<()> {
    if step.is_break() { Err(died()) } else { Ok(()) }
}

pub(super) fn died() -> io::Error {
    io::Error::other("the power is gone")
}

/// Moves `path` from below `from` to below `to`.
fn rebase(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) })
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
