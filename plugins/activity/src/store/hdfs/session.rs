//! One client, and the store's calls on it, each with its own time limit.

use super::super::{Failure, HdfsLocation, Published, Refusal, Transient};
use super::environment;
use super::errors::is_missing;
use super::settings::Settings;
use bytes::{Bytes, BytesMut};
use hdfs_native::client::{ContentSummary, FileStatus};
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// The time limit of a call to the NameNode. The client has none: without it, a suspended or unreachable NameNode would
/// block the sink forever.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which a healthy NameNode answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for one [`WRITE_CHUNK_BYTES`], which includes replacing failed DataNodes.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for closing a file: the client asks the NameNode for up to 16 s whether enough DataNodes have it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// DataNodes sync at least this much per second.
const SYNC_BYTES_PER_SECOND: u64 = 16 << 20;
const WRITE_CHUNK_BYTES: usize = 1 << 20;
const READ_CHUNK_BYTES: usize = 8 << 20;

/// A client on its own runtime. Tasks that hang end with the runtime (clients leave tasks behind that renew leases, and
/// writers leave tasks behind that wait for dead DataNodes), and its computations do not delay the gateway.
pub(super) struct Session {
    client: Client,
    runtime: Option<Runtime>,
    /// The tables' directory.
    root: String,
    settings: Settings,
}

impl Session {
    /// Creates a client without connecting. Blocks, because it reads Hadoop's files and may ask DNS.
    ///
    /// # Errors
    /// If the settings are invalid, or if files that they name are missing.
    pub(super) fn open(location: &HdfsLocation, settings: &Settings, is_first: bool) -> Result<Self, Failure> {
        environment::check_hadoop_files(location)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("hdfs").enable_all().build()?;
        match builder(location, settings, is_first).with_io_runtime(runtime.handle().clone()).build() {
            Ok(client) => {
                let session = Self {
                    client,
                    runtime: Some(runtime),
                    root: location.root().to_owned(),
                    settings: settings.clone(),
                };
                // Last, because only this can be fixed while the program runs.
                environment::check_login(settings).map(|()| session)
            }
            Err(e) => {
                runtime.shutdown_background();
                Err(match e {
                    HdfsError::InvalidArgument(_) => {
                        Failure::refused(Refusal::Settings, format!("{e}; {}", environment::shown()))
                    }
                    e => e.into(),
                })
            }
        }
    }

    /// Writes a complete file, or fails.
    pub(super) async fn write(&self, path: &str, bytes: Bytes) -> Result<(), Failure> {
        let length = bytes.len() as u64;
        let (parent, _) = path.rsplit_once('/').unwrap_or_default();
        self.make_directory(parent).await?;
        let options = self.options(length);
        let (client, at) = (self.client.clone(), path.to_owned());
        let mut writer = self.within(CALL_TIMEOUT, async move { client.create(&at, options).await }).await?;
        for begin in (0..bytes.len()).step_by(WRITE_CHUNK_BYTES) {
            let chunk = bytes.slice(begin..bytes.len().min(begin + WRITE_CHUNK_BYTES));
            writer =
                self.within(TRANSFER_TIMEOUT, async move { writer.write_bytes(chunk).await.map(|_| writer) }).await?;
        }
        // If a DataNode dies during a sync, the client hangs forever; small files must not wait long to be written
        // again.
        let sync = TRANSFER_TIMEOUT + Duration::from_secs(length / SYNC_BYTES_PER_SECOND);
        writer = self.within(sync, async move { writer.hsync().await.map(|()| writer) }).await?;
        crate::failpoint::pass("close", path);
        // Never a second time: a failed close may have left the file open, or truncated.
        self.within(CLOSE_TIMEOUT, async move { writer.close().await }).await?;
        match self.info(path).await?.map(|it| it.length as u64) {
            Some(found) if found == length => Ok(()),
            Some(found) => Err(Failure::transient(
                Transient::Other,
                format!("{length} bytes were written, but the file has {found}"),
            )),
            None => {
                Err(Failure::transient(Transient::Other, format!("{length} bytes were written, but the file is gone")))
            }
        }
    }

    /// Renames a file unless the new name exists.
    pub(super) async fn publish(&self, from: &str, to: &str) -> Result<Published, Failure> {
        let (parent, _) = to.rsplit_once('/').unwrap_or_default();
        self.make_directory(parent).await?;
        let (client, from, to) = (self.client.clone(), from.to_owned(), to.to_owned());
        let renamed = self.within_raw(CALL_TIMEOUT, async move { client.rename(&from, &to, false).await }).await?;
        match renamed {
            Ok(()) => Ok(Published::Done),
            Err(HdfsError::AlreadyExists(_)) => Ok(Published::Exists),
            Err(e) => Err(e.into()),
        }
    }

    /// The last `max` bytes of a file, and its length.
    pub(super) async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, Failure> {
        let (client, at) = (self.client.clone(), path.to_owned());
        let opened = self.within_raw(CALL_TIMEOUT, async move { client.read(&at).await }).await?;
        let reader = match opened {
            // For a directory, HDFS reports that there is no such file.
            Err(e) if is_missing(&e) => match self.info(path).await? {
                Some(it) if it.isdir => {
                    return Err(Failure::refused(Refusal::Obstacle, "this is a directory; expected a file"));
                }
                _ => return Ok(None),
            },
            other => other?,
        };
        let length = reader.file_length();
        let begin = length.saturating_sub(max);
        let tail = self.within(TRANSFER_TIMEOUT, async move { reader.read_range(begin, length - begin).await }).await?;
        match tail.len() == length - begin {
            true => Ok(Some((tail, length as u64))),
            false => {
                Err(Failure::transient(Transient::Other, format!("read {} of {} bytes", tail.len(), length - begin)))
            }
        }
    }

    /// These bytes of a file.
    pub(super) async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, Failure> {
        let (client, path) = (self.client.clone(), path.to_owned());
        let reader = Arc::new(self.within(CALL_TIMEOUT, async move { client.read(&path).await }).await?);
        if range.end > reader.file_length() as u64 {
            return Err(Failure::transient(
                Transient::Other,
                format!("it ends at {}, before {}", reader.file_length(), range.end),
            ));
        }
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        for begin in (range.start..range.end).step_by(READ_CHUNK_BYTES) {
            let (reader, length) = (reader.clone(), (range.end - begin).min(READ_CHUNK_BYTES as u64) as usize);
            let chunk =
                self.within(TRANSFER_TIMEOUT, async move { reader.read_range(begin as usize, length).await }).await?;
            if chunk.len() != length {
                return Err(Failure::transient(Transient::Other, format!("read {} of {length} bytes", chunk.len())));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// The names in a directory, sorted.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let (client, at) = (self.client.clone(), path.to_owned());
        let listed = self.within_raw(CALL_TIMEOUT, async move { client.list_status(&at, false).await }).await?;
        let files = match listed {
            Err(e) if is_missing(&e) => return Ok(Vec::new()),
            other => other?,
        };
        // HDFS lists a file as itself.
        if files.iter().any(|it| it.path == path) {
            return Err(Failure::refused(Refusal::Obstacle, "this is a file; expected a directory"));
        }
        let mut names: Vec<String> = files.iter().filter_map(|f| Some(f.path.rsplit_once('/')?.1.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file, or a directory with its content, if it exists.
    pub(super) async fn remove(&self, path: &str, with_content: bool) -> Result<(), Failure> {
        if with_content && self.info(path).await?.is_some_and(|it| !it.isdir) {
            return Err(Failure::refused(Refusal::Obstacle, "it is a file, not a directory"));
        }
        let (client, path) = (self.client.clone(), path.to_owned());
        self.within(CALL_TIMEOUT, async move { client.delete(&path, with_content).await.map(|_| ()) }).await
    }

    pub(super) async fn exists(&self, path: &str) -> Result<bool, Failure> {
        Ok(self.info(path).await?.is_some())
    }

    /// Whether a NameNode answers at once, with whatever answer.
    pub(super) async fn answers(&self) -> bool {
        let client = self.client.clone();
        self.within_raw(ANSWER_TIMEOUT, async move { client.get_file_info("/").await }).await.is_ok()
    }

    /// The status of a file or directory, if it exists.
    pub(super) async fn info(&self, path: &str) -> Result<Option<FileStatus>, Failure> {
        let (client, path) = (self.client.clone(), path.to_owned());
        let info = self.within_raw(CALL_TIMEOUT, async move { client.get_file_info(&path).await }).await?;
        match info {
            Err(e) if is_missing(&e) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// A directory's content summary, with its quotas.
    pub(super) async fn summary(&self, path: &str) -> Result<ContentSummary, Failure> {
        let (client, path) = (self.client.clone(), path.to_owned());
        self.within(CALL_TIMEOUT, async move { client.get_content_summary(&path).await }).await
    }

    /// The block size for a file of `length` bytes. A file has only one block, because the client cannot begin a second
    /// one before the first is replicated.
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

    /// Creates a directory below the tables' directory, with its parents, with the configured permission and group.
    async fn make_directory(&self, path: &str) -> Result<(), Failure> {
        let (client, at) = (self.client.clone(), path.to_owned());
        let permission = self.settings.directory_permission.0;
        let made = self.within_raw(CALL_TIMEOUT, async move { client.mkdirs(&at, permission, true).await }).await?;
        match made {
            Err(HdfsError::AlreadyExists(why)) => return Err(Failure::refused(Refusal::Obstacle, why)),
            other => other?,
        }
        match &self.settings.group {
            Some(group) => self.give_to_group(path, group).await,
            None => Ok(()),
        }
    }

    /// HDFS gives new files and directories the group of their directory. So all directories, up to one that has the
    /// right group, are given it, the topmost first.
    async fn give_to_group(&self, path: &str, group: &str) -> Result<(), Failure> {
        let mut others = Vec::new();
        let mut at = path;
        while at.starts_with(&self.root) && self.info(at).await?.is_some_and(|it| it.group != group) {
            others.push(at);
            at = at.rsplit_once('/').unwrap_or_default().0;
        }
        for at in others.into_iter().rev() {
            let (client, at, group) = (self.client.clone(), at.to_owned(), group.to_owned());
            let given = self.within(CALL_TIMEOUT, async move { client.set_owner(&at, None, Some(&group)).await }).await;
            given.map_err(|failure| match failure {
                Failure::Refused { cause: Refusal::Permission, why } => Failure::refused(Refusal::Group, why),
                other => other,
            })?;
        }
        Ok(())
    }

    async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(self.within_raw(limit, call).await??)
    }

    /// Runs `call` on the client's runtime for at most `limit`, which is enforced here, because the client may block
    /// its runtime.
    async fn within_raw<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, HdfsError>> + Send + 'static,
    ) -> Result<Result<T, HdfsError>, Failure> {
        let runtime =
            self.runtime.as_ref().ok_or_else(|| Failure::transient(Transient::Other, "the client is gone"))?;
        let mut task = Abort(runtime.spawn(call));
        match timeout(limit, &mut task.0).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => Err(Failure::transient(Transient::Other, format!("the client ended: {e}"))),
            Err(_) => Err(Failure::transient(Transient::Timeout, format!("no answer within {limit:?}"))),
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

/// A task that is aborted when nobody waits for it any more.
struct Abort<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
