//! An open file.

use super::content::{Content, Edit};
use super::disk::{Disk, Inode, done};
use crate::fs::File;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Handle {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) inode: Inode,
    pub(super) writable: bool,
}

impl Handle {
    /// Makes one counted change of this file. `make` gets the free bytes of the disk.
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

    fn inspect<T>(&self, read: impl FnOnce(&Content) -> T) -> io::Result<T> {
        let disk = self.disk.lock();
        disk.alive()?;
        disk.files.get(&self.inode).map(read).ok_or_else(|| Errno::NOENT.into())
    }

    /// Whether this operation fails, as the test has requested.
    fn take_failure(&self, failures: impl FnOnce(&mut Disk) -> &mut u64) -> bool {
        let mut disk = self.disk.lock();
        let left = failures(&mut disk);
        let fails = *left > 0;
        *left = left.saturating_sub(1);
        fails
    }
}

impl File for Handle {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fails = self.take_failure(|d| &mut d.failing_writes);
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
        self.inspect(|content| {
            let rest = content.cached.get(at..).unwrap_or_default();
            let n = rest.len().min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            n
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.inspect(|content| content.cached.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|content, _| {
            content.edit(Edit::Length(index(len)?));
            // Space allocated past the end is released, as on Linux.
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
        let fails = self.take_failure(|d| &mut d.failing_syncs);
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

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
