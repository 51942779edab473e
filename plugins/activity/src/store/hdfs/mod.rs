//! Tables in HDFS.
//!
//! What HDFS and its client do under faults, and what follows from it:
//! - A rename without overwrite is the only call that decides anything. It is carried out whole or not at all, but its
//!   answer may be lost, and it may be carried out long after its limit has passed.
//! - A file is visible under its final name only when it is closed and its length was checked. Leases are nobody's
//!   concern: a file that was left open is removed, never recovered or appended to.
//! - Any call may hang for ever: each has a limit, and after one that had no answer the client is thrown away.

mod client_settings;
mod here;
mod probe;
mod session;
mod settings;
mod trouble;

pub use settings::Settings;

use super::{HdfsLocation, Passing, Published, Refusal, Store, StoreError, Trouble};
use async_trait::async_trait;
use bytes::Bytes;
use session::Session;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// What it may take to make a client: it asks no NameNode, but perhaps DNS.
const OPENING: Duration = Duration::from_secs(10);
/// So many more clients are made where a new one has no answer at once.
const OTHERS: usize = 3;

/// A directory of HDFS.
pub struct HdfsStore {
    location: HdfsLocation,
    settings: Settings,
    /// None after a call without an answer: what the client holds may be stuck.
    session: Mutex<Option<Arc<Session>>>,
}

impl HdfsStore {
    /// The tables below `location`, which is made when something is written. Connects nowhere yet.
    ///
    /// # Errors
    /// Where the settings, with those in `HADOOP_CONF_DIR`, make no sense.
    pub async fn open(location: HdfsLocation, settings: &Settings) -> Result<Self, StoreError> {
        let store = Self { location, settings: settings.clone(), session: Mutex::default() };
        let first = match store.new_session(true).await {
            // A keytab and tickets may come later: until then, each call says so.
            Err(Trouble::Refused { cause: Refusal::Identity, .. }) => None,
            first => Some(first.map_err(|trouble| store.not_opened(trouble))?),
        };
        *store.session.lock().await = first;
        Ok(store)
    }

    /// Whether all of it that is on this machine is there: settings that make sense, and what logs in. Connects
    /// nowhere.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn look(location: HdfsLocation, settings: &Settings) -> Result<(), StoreError> {
        let store = Self { location, settings: settings.clone(), session: Mutex::default() };
        store.new_session(true).await.map(drop).map_err(|trouble| store.not_opened(trouble))
    }

    fn not_opened(&self, trouble: Trouble) -> StoreError {
        trouble.at("open", self.location.url())
    }

    async fn new_session(&self, is_first: bool) -> Result<Arc<Session>, Trouble> {
        let (location, settings) = (self.location.clone(), self.settings.clone());
        let opened = tokio::task::spawn_blocking(move || Session::open(&location, &settings, is_first));
        match timeout(OPENING, opened).await {
            Ok(Ok(session)) => session.map(Arc::new),
            Ok(Err(e)) => Err(Trouble::passing(Passing::Other, e)),
            Err(_) => Err(Trouble::passing(Passing::Timeout, format!("no client within {OPENING:?}"))),
        }
    }

    /// The client, made anew where the last one was thrown away.
    async fn session(&self) -> Result<Arc<Session>, Trouble> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref() {
            return Ok(session.clone());
        }
        let mut session = self.new_session(false).await?;
        if self.location.nameservice().is_some() {
            // Its NameNodes are in a random order: the first may be the one that hangs.
            for _ in 0..OTHERS {
                if session.answers().await {
                    break;
                }
                session = self.new_session(false).await?;
            }
        }
        *current = Some(session.clone());
        Ok(session)
    }

    /// Throws the client away where the answer says that something in it may be stuck. Calls of others on it go on.
    async fn judge<T>(&self, session: &Arc<Session>, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        if let Err(Trouble::Passing { cause: Passing::Timeout | Passing::Other, .. }) = &answer {
            let mut current = self.session.lock().await;
            if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, session)) {
                *current = None;
            }
        }
        answer
    }

    /// `call` on the client of the moment, with the full path; its trouble is told with the URL.
    async fn ask<T, F>(
        &self,
        operation: &'static str,
        path: &str,
        call: impl FnOnce(Arc<Session>, String) -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let at = self.at(path);
        let url = format!("{}{at}", self.location.url());
        let session = self.session().await.map_err(|trouble| trouble.at(operation, url.as_str()))?;
        let answer = call(session.clone(), at).await;
        self.judge(&session, answer).await.map_err(|trouble| trouble.at(operation, url))
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
        assert_eq!(connections(&one).await + connections(&two).await, OTHERS);
    }
}
