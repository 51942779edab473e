//! A store whose caller is stopped before one of its calls (SIGSTOP), and goes on when it is told to.

use crate::store::{Published, Store, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(super) struct PausedStore {
    inner: Arc<dyn Store>,
    calls_left: Arc<AtomicI64>,
    gate: Arc<Semaphore>,
}

impl PausedStore {
    /// Its caller stops before call number `at`, the first being 0.
    pub(super) fn new(inner: Arc<dyn Store>, at: i64) -> Self {
        Self { inner, calls_left: Arc::new(AtomicI64::new(at)), gate: Arc::new(Semaphore::new(0)) }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.calls_left.load(Ordering::Relaxed) < 0
    }

    pub(super) fn go_on(&self) {
        self.gate.close();
    }

    async fn inner(&self) -> &dyn Store {
        if self.calls_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            let _ = self.gate.acquire().await;
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
