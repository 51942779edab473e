//! A store for threads that may block.

use crate::store::{Store, StoreError};
use std::sync::Arc;
use tokio::runtime::Handle;

/// A store, for threads that may block.
#[derive(Clone)]
pub(crate) struct Blocking {
    store: Arc<dyn Store>,
    runtime: Handle,
}

impl Blocking {
    /// Must be called within async code.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, runtime: Handle::current() }
    }

    /// Blocks until the call has ended.
    pub(crate) fn ask<T>(&self, call: impl AsyncFnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.runtime.block_on(call(self.store.as_ref()))
    }
}
