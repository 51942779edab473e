//! Handles a client's events in their order while the authorization endpoint is asked about one of them.

use super::clients::{Clients, Socket};
use super::handshake::connection;
use crate::auth::{Identity, Rejection};
use crate::authorization::{Authorization, Decision, Question};
use crate::namespace::{Session, Turn};
use futures_util::FutureExt;
use serde_json::value::RawValue;
use std::sync::Arc;

impl Clients {
    /// Whether an event has to wait: for an answer of the endpoint, or for an earlier event of the client.
    pub(super) fn has_to_wait(&self, session: &Session, asks: impl FnOnce(&Authorization) -> bool) -> bool {
        session.event_order.is_busy() || self.authorization.as_ref().is_some_and(asks)
    }

    /// Asks whether a client with a valid token may connect. Adds the rooms of the answer.
    pub(super) async fn authorized(&self, socket: &Socket, mut identity: Identity) -> Result<Identity, Rejection> {
        let Some(endpoint) = self.authorization.as_ref().filter(|it| it.asks_about_clients()) else {
            return Ok(identity);
        };
        let site = self.site(socket, &identity);
        let question = Question::Connect {
            user: &identity.user,
            site: site.as_deref(),
            namespace: socket.ns(),
            address: connection(socket.req_parts()).client.address,
            claims: endpoint.public(&identity.claims),
        };
        match endpoint.ask(&question).await {
            // Meanwhile the token may have been revoked.
            Decision::Allowed(_) if self.revocations.cover(&identity.user, &identity.token) => {
                Err(Rejection::REVOKED.of_user(identity.user))
            }
            Decision::Allowed(rooms) => {
                identity.rooms.rooms.extend(rooms);
                Ok(identity)
            }
            Decision::Refused(why) => Err(Rejection::not_authorized(&identity.user, why)),
        }
    }

    /// Asks whether the user may push an event that had to wait. Returns the reason if not.
    pub(super) async fn refusal(&self, session: &Session, event: &str, args: &str) -> Option<String> {
        // Meanwhile the token may have been revoked.
        if session.user().holds(|user, token| self.revocations.cover(user, token)) {
            return Some(Rejection::REVOKED.message.into_owned());
        }
        let endpoint = self.authorization.as_ref().filter(|it| it.asks_about(event))?;
        // Others are ignored anyway.
        let user = session.user().name()?;
        let Ok(args) = serde_json::from_str::<&RawValue>(args) else { return Some("invalid arguments".to_owned()) };
        let site = session.user().site();
        let (namespace, address) = (&*session.namespace, session.address());
        let question = Question::Push { user: &user, site: site.as_deref(), namespace, address, event, args };
        match endpoint.ask(&question).await {
            Decision::Allowed(_) => None,
            Decision::Refused(why) => Some(why),
        }
    }
}

/// Handles an event of `size` bytes after the client's earlier ones. A client that sends too many meanwhile is
/// disconnected.
pub(super) fn in_order(session: &Arc<Session>, size: usize, event: impl Future<Output = ()> + Send + 'static) {
    match session.event_order.add(size, event.boxed()) {
        Turn::Later => {}
        Turn::Now(event) => {
            let session = session.clone();
            tokio::spawn(async move {
                let mut next = Some(event);
                while let Some(event) = next {
                    event.await;
                    next = session.event_order.next();
                }
            });
        }
        Turn::TooMany => {
            session.set_close_reason("overload");
            session.connection().abort();
        }
    }
}
