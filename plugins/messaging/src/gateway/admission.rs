//! Admits clients to namespaces.

use super::clients::{Admitted, Clients, Socket, socket_key};
use super::handshake::{Auth, Refusals, connection, recorded, request_token};
use crate::auth::{Identity, Rejection};
use crate::connection::ConnectError;
use crate::limits::Counted;
use crate::namespace::{Session, SessionParts};
use crate::rows::{AuthMethod, ConnectionEvent, ConnectionRow, column, numbered};
use axum::http::header;
use greyhound_sdk::Share;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// From this number on, each admission removes the entries of clients that have gone.
const ADMITTED_SWEEP_MIN: usize = 1024;
/// Time for the library to notice the end of a connection.
const LIBRARY_DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl Clients {
    pub(super) async fn admit(self: &Arc<Self>, socket: &Socket, auth: Auth) -> Result<(), ConnectError> {
        let parts = socket.req_parts();
        let (connection, refusals) = (connection(parts), Refusals::of(parts));
        let refused = |rejection| Err(ConnectError { rejection, protocol: connection.protocol });
        if self.stopping.load(SeqCst) {
            // A client reconnects by itself if its connection is closed, but not if its handshake is refused.
            connection.close();
            return refused(Rejection::STOPPING);
        }
        if refusals.are_too_many() {
            connection.close();
            return refused(Rejection::TOO_MANY);
        }
        let identity = match auth.token.or_else(|| request_token(parts)) {
            None => None,
            Some(token) => match self.admitted_as(socket, &token).await {
                Ok(identity) => Some(identity),
                Err(rejection) => {
                    self.record_rejection(None, AuthMethod::Handshake, &rejection, socket);
                    self.count_refusal(parts);
                    return refused(rejection);
                }
            },
        };
        let (identity, place) = identity.unzip();
        let session = Arc::new(self.open(socket, auth.rest));
        place.into_iter().for_each(|place| session.user().hold(place));
        session.observe_connection();
        if self.stopping.load(SeqCst) {
            // The shutdown began meanwhile. Dropping the session writes its `closed` row.
            return refused(Rejection::STOPPING);
        }
        self.register(socket, &session);
        let mut admitted = self.admitted.lock();
        if admitted.len() >= ADMITTED_SWEEP_MIN {
            admitted.retain(|_, it| it.session.strong_count() > 0);
        }
        admitted.insert(socket_key(socket), Admitted { session: Arc::downgrade(&session), identity });
        Ok(())
    }

    /// The identity that a token proves, and a place among the sockets of its user.
    async fn admitted_as(&self, socket: &Socket, token: &str) -> Result<(Identity, Counted<Arc<str>>), Rejection> {
        if let Some(key) = self.verifier.missing_key(token) {
            key.await;
        }
        let identity = self.authorized(socket, self.identify(token)?).await?;
        let place = self.sockets_by_user.add(identity.user.as_str().into()).ok_or(Rejection::TOO_MANY_SOCKETS)?;
        Ok((identity, place))
    }

    fn open(&self, socket: &Socket, auth: Option<Box<RawValue>>) -> Session {
        let parts = socket.req_parts();
        let connection = connection(parts);
        let protocol = i32::from(connection.protocol.number());
        let (agent, origin) = (recorded(&parts.headers, header::USER_AGENT), recorded(&parts.headers, header::ORIGIN));
        let address = connection.client.address.to_string();
        let row = ConnectionRow {
            namespace: socket.ns(),
            transport: connection.transport(),
            protocol,
            address: Some(&address),
            agent: agent.as_deref(),
            origin: origin.as_deref(),
            ..ConnectionRow::of(ConnectionEvent::Opened)
        };
        let connection_seq =
            numbered(self.topics.offer_connection(Share::Anonymous(&address), &row)).map_or(-1, column);
        let (topics, open) = (self.topics.clone(), self.open.clone());
        Session::new(SessionParts {
            sid: socket.id,
            connection_seq,
            namespace: socket.ns().into(),
            protocol,
            auth,
            connection,
            topics,
            open,
        })
    }

    pub(super) fn connected(self: &Arc<Self>, socket: Socket) {
        let Some(Admitted { session, identity }) = self.admitted.lock().remove(&socket_key(&socket)) else { return };
        let (Some(namespace), Some(session)) = (self.namespaces.get(socket.ns()), session.upgrade()) else { return };
        if !namespace.enter(&session) {
            return;
        }
        self.remove_with_connection(&socket);
        match identity {
            Some(identity) => self.accept(&socket, &session, &identity, AuthMethod::Handshake),
            None => self.wait_for_authentication(socket, &session),
        }
    }

    /// Removes the socket after its connection has ended, if the library has not.
    fn remove_with_connection(&self, socket: &Socket) {
        let (connection, sid, namespaces) = (connection(socket.req_parts()), socket.id, self.namespaces.clone());
        connection.on_end(move || {
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            // Usually the library notices within this time, and reports its own reason.
            runtime.spawn(async move {
                tokio::time::sleep(LIBRARY_DISCONNECT_TIMEOUT).await;
                namespaces.all().iter().for_each(|namespace| namespace.remove_ended(sid));
            });
        });
    }
}
