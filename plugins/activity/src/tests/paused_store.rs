//! A store whose caller is stopped between two calls (SIGSTOP), and goes on when it is told to.

use crate::store::{Published, Store, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(super) struct PausedStore {
    inner: Arc<dyn Store>,
    calls: Arc<Semaphore>,
    is_stopped: Arc<AtomicBool>,
}

impl PausedStore {
    /// Its caller stops after so many calls.
    pub(super) fn new(inner: Arc<dyn Store>, calls: u64) -> Self {
        Self { inner, calls: Arc::new(Semaphore::new(calls as usize)), is_stopped: Arc::default() }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Its caller goes on for so many calls.
    pub(super) fn go_on_for(&self, calls: u64) {
        self.is_stopped.store(calls == 0, Ordering::Relaxed);
        self.calls.add_permits(calls as usize);
    }

    pub(super) fn go_on(&self) {
        self.calls.close();
    }

    async fn inner(&self) -> &dyn Store {
        if self.calls.available_permits() == 0 {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        if let Ok(call) = self.calls.acquire().await {
            call.forget();
        }
        self.inner.as_ref()
    }
}

#[async_trait]
impl Store for PausedStore {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.inner().await.write(path, bytes).await
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError> {
        self.inner().await.publish(from, to).await
    }

    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError> {
        self.inner().await.read_tail(path, max).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner().await.read(path, range).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.inner().await.exists(path).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.inner().await.list(path).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.inner().await.remove(path).await
    }

    async fn remove_tree(&self, path: &str) -> Result<(), StoreError> {
        self.inner().await.remove_tree(path).await
    }
}
