//! Revokes tokens.

use super::{EmitError, Emitter, RunningGateway, SocketsChanged};
use crate::cluster::Unreached;
use crate::namespace::Namespace;
use crate::revocation::{Change, Mark, Marks, Revocation, Subject};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

impl Emitter {
    /// Revokes tokens on all nodes: they are refused from now on, and sockets that authenticated with one of them are
    /// disconnected. Returns once this node has made the revocation durable.
    ///
    /// `issued_before`, in seconds since 1970, limits it to older tokens. Without it, it covers all tokens of a user that
    /// were issued until now, or the token or session, whenever issued. `source` is the value of the row's column.
    ///
    /// # Errors
    /// [`EmitError`]. After [`EmitError::NotDurable`] this node refuses the tokens until it is restarted.
    pub async fn revoke(
        &self,
        subject: Subject,
        issued_before: Option<u64>,
        source: &'static str,
    ) -> Result<SocketsChanged, EmitError> {
        let gateway = self.gateway()?;
        let issued_before = issued_before.unwrap_or_else(|| match subject {
            Subject::User(_) | Subject::Everybody => next_second(),
            Subject::Jti(_) | Subject::Sid(_) => Mark::ALWAYS,
        });
        // Before they are disconnected.
        let here = gateway.covered_sockets(&Marks::of(subject.clone(), issued_before));
        let change = gateway.kept.revocations.revoke(subject, issued_before, source)?;
        gateway.keep_and_share(change, here).await
    }

    /// Withdraws a revocation on all nodes. Tokens that it covered are accepted again.
    ///
    /// # Errors
    /// [`EmitError`]; [`EmitError::NotRevoked`] if there is no such revocation.
    pub async fn withdraw(&self, subject: Subject, source: &'static str) -> Result<SocketsChanged, EmitError> {
        let gateway = self.gateway()?;
        let change = gateway.kept.revocations.withdraw(subject, source).ok_or(EmitError::NotRevoked)?;
        gateway.keep_and_share(change, 0).await
    }

    /// The revocations that this node remembers, the latest first.
    ///
    /// # Errors
    /// [`EmitError::NotRunning`].
    pub fn revocations(&self) -> Result<Vec<Revocation>, EmitError> {
        let mut all = self.gateway()?.kept.revocations.all();
        all.retain(|revocation| !revocation.is_withdrawn());
        all.sort_unstable_by_key(|revocation| std::cmp::Reverse(revocation.revoked_at()));
        Ok(all)
    }
}

impl RunningGateway {
    /// Waits until a change is durable here, and shared with the other nodes even if it is not. It affected `here` sockets
    /// of this node.
    async fn keep_and_share(&self, change: Change, here: usize) -> Result<SocketsChanged, EmitError> {
        let share = async {
            match &self.cluster {
                Some(cluster) => cluster.share(&change).await.map_err(Unreached::from),
                None => Ok(()),
            }
        };
        let (durable, cluster) = tokio::join!(self.kept.durable(change.number), share);
        durable.map_err(EmitError::NotDurable)?;
        Ok(SocketsChanged { here, cluster })
    }

    /// The number of this node's sockets whose tokens are revoked.
    fn covered_sockets(&self, revoked: &Marks) -> usize {
        let covered = |namespace: Arc<Namespace>| {
            let sessions = namespace.rooms.read().all();
            sessions.iter().filter(|session| session.user().holds(|user, token| revoked.cover(user, token))).count()
        };
        self.deliveries.namespaces.all().into_iter().map(covered).sum()
    }
}

/// The time of the next second: tokens that were issued in this second, which has not passed, are covered as well.
fn next_second() -> u64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() + 1
}
