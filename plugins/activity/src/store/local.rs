//! Tables in a local directory.

use super::{Failure, Probe, Published, Room, Status, Store, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use greyhound_sdk::fs::{self, SharedFs};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory of a file system.
#[derive(Debug, Clone)]
pub struct LocalStore {
    fs: SharedFs,
    root: PathBuf,
}

impl LocalStore {
    /// The tables below `root`, which is created by the first write.
    #[must_use]
    pub fn new(fs: SharedFs, root: impl Into<PathBuf>) -> Self {
        Self { fs, root: root.into() }
    }

    /// Runs `work`, which blocks, on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        work: impl FnOnce(&SharedFs, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (fs, at) = (self.fs.clone(), self.root.join(path));
        let done =
            tokio::task::spawn_blocking(move || work(&fs, &at)).await.unwrap_or_else(|e| Err(io::Error::other(e)));
        done.map_err(|e| Failure::from(e).at(operation, self.root.join(path).display().to_string()))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// The default if the file does not exist.
fn if_there<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let write = move |fs: &SharedFs, at: &Path| {
            fs.create_dir_all(parent(at))?;
            if_there(fs.remove(at))?;
            let file = fs.create_new(at)?;
            file.write_all_at(&bytes, 0)?;
            file.sync()
        };
        self.blocking("write", path, write).await
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError> {
        let from = self.root.join(from);
        let publish = move |fs: &SharedFs, to: &Path| {
            fs.create_dir_all(parent(to))?;
            match fs.rename_new(&from, to) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Published::Exists),
                other => other?,
            }
            fs.sync_dir(parent(to))?;
            Ok(Published::Done)
        };
        self.blocking("rename to", to, publish).await
    }

    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError> {
        let read = move |fs: &SharedFs, at: &Path| {
            if !fs.exists(at)? {
                return Ok(None);
            }
            let file = fs.open_read(at)?;
            let len = file.len()?;
            let start = len.saturating_sub(max as u64);
            Ok(Some((fs::read_range(file.as_ref(), start, (len - start) as usize)?.into(), len)))
        };
        self.blocking("read", path, read).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let read = move |fs: &SharedFs, at: &Path| {
            let wanted = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            let bytes = fs::read_range(fs.open_read(at)?.as_ref(), range.start, wanted)?;
            if bytes.len() < wanted { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes.into()) }
        };
        self.blocking("read", path, read).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.blocking("look for", path, |fs, at| fs.exists(at)).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.blocking("list", path, |fs, at| if_there(fs.list(at))).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.blocking("remove", path, |fs, at| if_there(fs.remove(at))).await
    }

    async fn remove_tree(&self, path: &str) -> Result<(), StoreError> {
        self.blocking("remove", path, |fs, at| if_there(fs.remove_all(at))).await
    }
}

#[async_trait]
impl Probe for LocalStore {
    fn shown(&self) -> String {
        "the file system".into()
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, StoreError> {
        self.blocking("look at", path, |_, at| if_there(std::fs::metadata(at).and_then(|it| Status::of(&it).map(Some))))
            .await
    }

    async fn remove_directory(&self, path: &str) -> Result<(), StoreError> {
        self.blocking("remove", path, |_, at| if_there(std::fs::remove_dir(at))).await
    }

    async fn room(&self, size: u64, sample: &str) -> Result<Room, StoreError> {
        let measure = move |_: &SharedFs, at: &Path| {
            let disk = rustix::fs::statvfs(at)?;
            // Some file systems count no names.
            let names = (disk.f_files > 0).then_some(disk.f_favail);
            Ok(Room { limit: "the disk".into(), free: Some(disk.f_bavail * disk.f_frsize), needed: size, names })
        };
        self.blocking("measure the room at", sample, measure).await
    }

    fn differences(&self, _: &Status, _: &Status) -> Option<Vec<String>> {
        None
    }
}

impl Status {
    fn of(file: &std::fs::Metadata) -> io::Result<Self> {
        Ok(Self {
            modified: file.modified()?,
            owner: format!("user {}", file.uid()),
            group: format!("group {}", file.gid()),
            permission: file.mode() & 0o777,
            replication: 1,
        })
    }
}
