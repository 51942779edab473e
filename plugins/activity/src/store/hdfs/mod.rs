//! Tables in HDFS.
//!
//! How HDFS and its client behave under faults, and what follows:
//! - A rename without overwrite is the only call that decides anything. It is atomic, but its answer may be lost, and
//!   it may take effect long after its time limit.
//! - A file gets its final name only after it was closed and its length was checked. Leases do not matter: a file that
//!   was left open is removed, never recovered or appended to.
//! - Any call may hang forever: each has a time limit, and after a call without an answer the client is dropped.

mod client_settings;
mod environment;
mod errors;
mod probe;
mod session;
mod settings;

pub use settings::Settings;

use super::{Failure, HdfsLocation, Published, Refusal, Store, StoreError, Transient};
use async_trait::async_trait;
use bytes::Bytes;
use session::Session;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The time limit for creating a client, which asks no NameNode, but perhaps DNS.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// So many more clients are tried if a new one gets no answer at once.
const RETRIED_CLIENTS_MAX: usize = 3;

/// A directory of HDFS.
pub struct HdfsStore {
    location: HdfsLocation,
    settings: Settings,
    /// `None` after a call without an answer, because the client may be stuck.
    session: Mutex<Option<Arc<Session>>>,
}

impl HdfsStore {
    /// The tables below `location`, which is created by the first write. Does not connect yet.
    ///
    /// # Errors
    /// If the settings, with those in `HADOOP_CONF_DIR`, are invalid.
    pub async fn open(location: HdfsLocation, settings: &Settings) -> Result<Self, StoreError> {
        let store = Self { location, settings: settings.clone(), session: Mutex::default() };
        let first = match store.new_session(true).await {
            // A keytab or ticket may be provided later; until then, each call fails.
            Err(Failure::Refused { cause: Refusal::Identity, .. }) => None,
            first => Some(first.map_err(|failure| store.not_opened(failure))?),
        };
        *store.session.lock().await = first;
        Ok(store)
    }

    /// Checks what HDFS needs on this machine: valid settings, and a keytab or ticket. Does not connect.
    ///
    /// # Errors
    /// If something is missing or invalid.
    pub async fn look(location: HdfsLocation, settings: &Settings) -> Result<(), StoreError> {
        let store = Self { location, settings: settings.clone(), session: Mutex::default() };
        store.new_session(true).await.map(drop).map_err(|failure| store.not_opened(failure))
    }

    fn not_opened(&self, failure: Failure) -> StoreError {
        failure.at("open", self.location.url())
    }

    async fn new_session(&self, is_first: bool) -> Result<Arc<Session>, Failure> {
        let (location, settings) = (self.location.clone(), self.settings.clone());
        let opened = tokio::task::spawn_blocking(move || Session::open(&location, &settings, is_first));
        match timeout(OPEN_TIMEOUT, opened).await {
            Ok(Ok(session)) => session.map(Arc::new),
            Ok(Err(e)) => Err(Failure::transient(Transient::Other, e)),
            Err(_) => Err(Failure::transient(Transient::Timeout, format!("no client within {OPEN_TIMEOUT:?}"))),
        }
    }

    /// The client; a new one if the last one was dropped.
    async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref() {
            return Ok(session.clone());
        }
        let mut session = self.new_session(false).await?;
        if self.location.nameservice().is_some() {
            // Its NameNodes are in a random order, because the first one may hang.
            for _ in 0..RETRIED_CLIENTS_MAX {
                if session.answers().await {
                    break;
                }
                session = self.new_session(false).await?;
            }
        }
        *current = Some(session.clone());
        Ok(session)
    }

    /// Drops the client if the result says that it may be stuck. Other calls on it continue.
    async fn judge<T>(&self, session: &Arc<Session>, answer: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure::Transient { cause: Transient::Timeout | Transient::Other, .. }) = &answer {
            let mut current = self.session.lock().await;
            if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, session)) {
                *current = None;
            }
        }
        answer
    }

    /// Runs `call` on the current client with the full path; errors name the URL.
    async fn ask<T, F>(
        &self,
        operation: &'static str,
        path: &str,
        call: impl FnOnce(Arc<Session>, String) -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let at = self.at(path);
        let url = format!("{}{at}", self.location.url());
        let session = self.session().await.map_err(|failure| failure.at(operation, url.as_str()))?;
        let answer = call(session.clone(), at).await;
        self.judge(&session, answer).await.map_err(|failure| failure.at(operation, url))
    }

    fn at(&self, path: &str) -> String {
        let root = self.location.root();
        if path.is_empty() { root.to_owned() } else { format!("{root}/{path}") }
    }
}

#[async_trait]
impl Store for HdfsStore {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.ask("write", path, |session, at| async move { session.write(&at, bytes).await }).await
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError> {
        let from = self.at(from);
        self.ask("rename to", to, |session, to| async move { session.publish(&from, &to).await }).await
    }

    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError> {
        self.ask("read", path, |session, at| async move { session.read_tail(&at, max).await }).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.ask("read", path, |session, at| async move { session.read(&at, range).await }).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.ask("look for", path, |session, at| async move { session.exists(&at).await }).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.ask("list", path, |session, at| async move { session.list(&at).await }).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.ask("remove", path, |session, at| async move { session.remove(&at, false).await }).await
    }

    async fn remove_tree(&self, path: &str) -> Result<(), StoreError> {
        self.ask("remove", path, |session, at| async move { session.remove(&at, true).await }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;
    use serde_json::json;
    use tokio::net::TcpListener;

    /// Whoever connects has no answer, as of a NameNode that hangs: the system takes the connection all the same.
    async fn hanging() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// How many have connected.
    async fn connections(listener: &TcpListener) -> usize {
        let mut count = 0;
        while timeout(Duration::from_millis(100), listener.accept()).await.is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test]
    async fn a_new_client_is_asked_and_followed_by_others_before_a_call_waits_for_it() {
        let [(one, one_at), (two, two_at)] = [hanging().await, hanging().await];
        let settings = serde_json::from_value(json!({"client": {
            "dfs.ha.namenodes.prod": "one,two",
            "dfs.namenode.rpc-address.prod.one": one_at,
            "dfs.namenode.rpc-address.prod.two": two_at,
        }}));
        let Ok(Location::Hdfs(location)) = "hdfs://prod/tables".parse() else { panic!("a location of HDFS") };
        let store = HdfsStore { location, settings: settings.unwrap(), session: Mutex::default() };
        store.session().await.unwrap();
        // In whatever order each of them has the NameNodes: it connects to its first, and comes to no second. The last
        // is not asked.
        assert_eq!(connections(&one).await + connections(&two).await, RETRIED_CLIENTS_MAX);
    }
}
