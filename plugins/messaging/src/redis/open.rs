//! An open client.

use fred::interfaces::ClientLike;
use std::ops::Deref;

/// Quits the client when dropped. Otherwise the client would stay connected and subscribed.
pub(super) struct Open<C: ClientLike + 'static>(pub(super) C);

impl<C: ClientLike + 'static> Deref for Open<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C: ClientLike + 'static> Drop for Open<C> {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let client = self.0.clone();
            runtime.spawn(async move { client.quit().await });
        }
    }
}
