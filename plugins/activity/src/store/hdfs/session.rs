//! One life of the client, and what the store asks of it, every call within a limit of its own.

use super::super::{HdfsLocation, Passing, Published, Refusal, Trouble};
use super::here;
use super::settings::Settings;
use super::trouble::is_missing;
use bytes::{Bytes, BytesMut};
use hdfs_native::client::{ContentSummary, FileStatus};
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// What a call to the NameNode may take. The client itself has no limit: without this, one that is stopped, or whose
/// machine went away without a word, would hold the sink for ever.
const CALL: Duration = Duration::from_secs(10);
/// What a NameNode that is well takes to answer a question.
const MOMENT: Duration = Duration::from_secs(2);
/// What it may take to move one [`CHUNK`]: DataNodes that fail are replaced in that time.
const TRANSFER: Duration = Duration::from_secs(10);
/// What it may take to close a file: the client asks the NameNode for 16 s whether enough DataNodes have it.
const CLOSE: Duration = Duration::from_secs(20);
/// DataNodes sync at least this much a second.
const SYNC_RATE: u64 = 16 << 20;
const CHUNK: usize = 1 << 20;
const READ_CHUNK: usize = 8 << 20;

/// A client on a runtime of its own: what hangs in it goes with it (a client leaves a task behind that renews leases,
/// writers leave tasks behind that wait for dead DataNodes), and what it computes does not hold up the gateway.
pub(super) struct Session {
    client: Client,
    runtime: Option<Runtime>,
    /// The tables' directory.
    root: String,
    settings: Settings,
}

impl Session {
    /// Makes a client. Connects nowhere yet, but reads Hadoop's files and may ask DNS: blocks.
    ///
    /// # Errors
    /// Where the settings make no sense, or what they name is not on this machine.
    pub(super) fn open(location: &HdfsLocation, settings: &Settings, is_first: bool) -> Result<Self, Trouble> {
        here::check_hadoop_files(location)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("hdfs").enable_all().build()?;
        match builder(location, settings, is_first).with_io_runtime(runtime.handle().clone()).build() {
            Ok(client) => {
                let session = Self {
                    client,
                    runtime: Some(runtime),
                    root: location.root().to_owned(),
                    settings: settings.clone(),
                };
                // Last: it alone may be mended while the program runs.
                here::check_login(settings).map(|()| session)
            }
            Err(e) => {
                runtime.shutdown_background();
                Err(match e {
                    HdfsError::InvalidArgument(_) => {
                        Trouble::refused(Refusal::Settings, format!("{e}; {}", here::shown()))
                    }
                    e => e.into(),
                })
            }
        }
    }

    /// Writes a file whole, or fails.
    pub(super) async fn write(&self, path: &str, bytes: Bytes) -> Result<(), Trouble> {
        let length = bytes.len() as u64;
        let (parent, _) = path.rsplit_once('/').unwrap_or_default();
        self.make_directory(parent).await?;
        let options = self.options(length);
        let (client, at) = (self.client.clone(), path.to_owned());
        let mut writer = self.within(CALL, async move { client.create(&at, options).await }).await?;
        for begin in (0..bytes.len()).step_by(CHUNK) {
            let chunk = bytes.slice(begin..bytes.len().min(begin + CHUNK));
            writer = self.within(TRANSFER, async move { writer.write_bytes(chunk).await.map(|_| writer) }).await?;
        }
        // The client hangs for ever in a sync during which a DataNode dies: small files must not wait long to be
        // written again.
        let sync = TRANSFER + Duration::from_secs(length / SYNC_RATE);
        writer = self.within(sync, async move { writer.hsync().await.map(|()| writer) }).await?;
        crate::failpoint::pass("close", path);
        // Never a second time: a close that failed may have left the file open, or shorter than it was.
        self.within(CLOSE, async move { writer.close().await }).await?;
        match self.info(path).await?.map(|it| it.length as u64) {
            Some(found) if found == length => Ok(()),
            Some(found) => {
                Err(Trouble::passing(Passing::Other, format!("{length} bytes were written, then {found} were there")))
            }
            None => {
                Err(Trouble::passing(Passing::Other, format!("{length} bytes were written, then the file was gone")))
            }
        }
    }

    /// Renames a file unless there is one of the new name.
    pub(super) async fn publish(&self, from: &str, to: &str) -> Result<Published, Trouble> {
        let (parent, _) = to.rsplit_once('/').unwrap_or_default();
        self.make_directory(parent).await?;
        let (client, from, to) = (self.client.clone(), from.to_owned(), to.to_owned());
        let renamed = self.within_raw(CALL, async move { client.rename(&from, &to, false).await }).await?;
        match renamed {
            Ok(()) => Ok(Published::Done),
            Err(HdfsError::AlreadyExists(_)) => Ok(Published::Exists),
            Err(e) => Err(e.into()),
        }
    }

    /// The last `max` bytes of a file and its length.
    pub(super) async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, Trouble> {
        let (client, at) = (self.client.clone(), path.to_owned());
        let opened = self.within_raw(CALL, async move { client.read(&at).await }).await?;
        let reader = match opened {
            // HDFS says of a directory that there is no such file.
            Err(e) if is_missing(&e) => match self.info(path).await? {
                Some(it) if it.isdir => {
                    return Err(Trouble::refused(Refusal::Obstacle, "this is a directory, where a file is expected"));
                }
                _ => return Ok(None),
            },
            other => other?,
        };
        let length = reader.file_length();
        let begin = length.saturating_sub(max);
        let tail = self.within(TRANSFER, async move { reader.read_range(begin, length - begin).await }).await?;
        match tail.len() == length - begin {
            true => Ok(Some((tail, length as u64))),
            false => Err(Trouble::passing(Passing::Other, format!("{} bytes came of {}", tail.len(), length - begin))),
        }
    }

    /// These bytes of a file.
    pub(super) async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, Trouble> {
        let (client, path) = (self.client.clone(), path.to_owned());
        let reader = Arc::new(self.within(CALL, async move { client.read(&path).await }).await?);
        if range.end > reader.file_length() as u64 {
            return Err(Trouble::passing(
                Passing::Other,
                format!("it ends at {}, before {}", reader.file_length(), range.end),
            ));
        }
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        for begin in (range.start..range.end).step_by(READ_CHUNK) {
            let (reader, length) = (reader.clone(), (range.end - begin).min(READ_CHUNK as u64) as usize);
            let chunk = self.within(TRANSFER, async move { reader.read_range(begin as usize, length).await }).await?;
            if chunk.len() != length {
                return Err(Trouble::passing(Passing::Other, format!("{} bytes came of {length}", chunk.len())));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// The names in a directory, sorted.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>, Trouble> {
        let (client, at) = (self.client.clone(), path.to_owned());
        let listed = self.within_raw(CALL, async move { client.list_status(&at, false).await }).await?;
        let files = match listed {
            Err(e) if is_missing(&e) => return Ok(Vec::new()),
            other => other?,
        };
        // HDFS lists a file as itself.
        if files.iter().any(|it| it.path == path) {
            return Err(Trouble::refused(Refusal::Obstacle, "this is a file, where a directory is expected"));
        }
        let mut names: Vec<String> = files.iter().filter_map(|f| Some(f.path.rsplit_once('/')?.1.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file, or a directory with all that is in it, if there is one.
    pub(super) async fn remove(&self, path: &str, with_content: bool) -> Result<(), Trouble> {
        if with_content && self.info(path).await?.is_some_and(|it| !it.isdir) {
            return Err(Trouble::refused(Refusal::Obstacle, "it is a file, not a directory"));
        }
        let (client, path) = (self.client.clone(), path.to_owned());
        self.within(CALL, async move { client.delete(&path, with_content).await.map(|_| ()) }).await
    }

    pub(super) async fn exists(&self, path: &str) -> Result<bool, Trouble> {
        Ok(self.info(path).await?.is_some())
    }

    /// Whether a NameNode answers at once, whatever it says.
    pub(super) async fn answers(&self) -> bool {
        let client = self.client.clone();
        self.within_raw(MOMENT, async move { client.get_file_info("/").await }).await.is_ok()
    }

    /// What is known of a file or directory, if there is one.
    pub(super) async fn info(&self, path: &str) -> Result<Option<FileStatus>, Trouble> {
        let (client, path) = (self.client.clone(), path.to_owned());
        let info = self.within_raw(CALL, async move { client.get_file_info(&path).await }).await?;
        match info {
            Err(e) if is_missing(&e) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// What a directory has in it, and its quotas.
    pub(super) async fn summary(&self, path: &str) -> Result<ContentSummary, Trouble> {
        let (client, path) = (self.client.clone(), path.to_owned());
        self.within(CALL, async move { client.get_content_summary(&path).await }).await
    }

    /// The size of the block of a file of `length`. It has only one: the client cannot begin a second one before the
    /// first is replicated.
    pub(super) fn block_of(&self, length: u64) -> u64 {
        length.max(1).next_multiple_of(self.settings.block_size.as_u64())
    }

    fn options(&self, length: u64) -> WriteOptions {
        let options = WriteOptions::default().overwrite(true).block_size(self.block_of(length));
        let options = options.permission(self.settings.file_permission.0);
        match self.settings.replication {
            Some(replication) => options.replication(replication),
            None => options,
        }
    }

    /// Makes a directory below the tables' with its parents, of the configured permission and group.
    async fn make_directory(&self, path: &str) -> Result<(), Trouble> {
        let (client, at) = (self.client.clone(), path.to_owned());
        let permission = self.settings.directory_permission.0;
        let made = self.within_raw(CALL, async move { client.mkdirs(&at, permission, true).await }).await?;
        match made {
            Err(HdfsError::AlreadyExists(why)) => return Err(Trouble::refused(Refusal::Obstacle, why)),
            other => other?,
        }
        match &self.settings.group {
            Some(group) => self.give_to_group(path, group).await,
            None => Ok(()),
        }
    }

    /// HDFS gives a new directory, and a new file, the group of the directory that it is in: up to one that has the
    /// right one, all of them are given it, the uppermost first.
    async fn give_to_group(&self, path: &str, group: &str) -> Result<(), Trouble> {
        let mut others = Vec::new();
        let mut at = path;
        while at.starts_with(&self.root) && self.info(at).await?.is_some_and(|it| it.group != group) {
            others.push(at);
            at = at.rsplit_once('/').unwrap_or_default().0;
        }
        for at in others.into_iter().rev() {
            let (client, at, group) = (self.client.clone(), at.to_owned(), group.to_owned());
            let given = self.within(CALL, async move { client.set_owner(&at, None, Some(&group)).await }).await;
            given.map_err(|trouble| match trouble {
                Trouble::Refused { cause: Refusal::Permission, why } => Trouble::refused(Refusal::Group, why),
                other => other,
            })?;
        }
        Ok(())
    }

    async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send + 'static,
    ) -> Result<T, Trouble> {
        Ok(self.within_raw(limit, call).await??)
    }

    /// Runs `call` on the client's runtime for at most `limit`, which is kept here: the client may block its runtime.
    async fn within_raw<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send + 'static,
    ) -> Result<Result<T, HdfsError>, Trouble> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Trouble::passing(Passing::Other, "the client is gone"))?;
        let mut task = Abort(runtime.spawn(call));
        match timeout(limit, &mut task.0).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => Err(Trouble::passing(Passing::Other, format!("the client ended: {e}"))),
            Err(_) => Err(Trouble::passing(Passing::Timeout, format!("no answer within {limit:?}"))),
        }
    }
}

fn builder(location: &HdfsLocation, settings: &Settings, is_first: bool) -> ClientBuilder {
    let config = settings.client.effective(location, settings.principal.is_some(), is_first);
    let mut builder = ClientBuilder::new().with_url(location.url()).with_config(config);
    if let Some(principal) = &settings.principal {
        builder = builder.with_kerberos_principal(principal);
    }
    if let Some(keytab) = &settings.keytab {
        builder = builder.with_kerberos_keytab(keytab);
    }
    if let Some(user) = &settings.user {
        builder = builder.with_user(user);
    }
    builder
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Abort<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
