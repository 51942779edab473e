//! Authenticates clients, and disconnects those that do not authenticate.

use super::acks::NO_ARGUMENTS;
use super::clients::{Clients, Socket};
use super::credentials::Credentials;
use super::handshake::{REFUSALS_MAX, Refusals, connection, recorded};
use super::in_order::in_order;
use crate::auth::{Identity, Refused, Rejection, site_of_origin};
use crate::authorization::Authorization;
use crate::connection::CLOSE_GRACE_PERIOD;
use crate::metrics as names;
use crate::namespace::{Grant, Session};
use crate::rows::{AuthMethod, AuthOutcome, AuthRow, numbered};
use axum::http::{header, request::Parts};
use greyhound_sdk::Share;
use metrics::counter;
use socketioxide::AckError;
use std::sync::Arc;
use std::time::Duration;

/// Time for a client to acknowledge `unauthorized`. A page may ask its user first.
const UNAUTHORIZED_ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// The result of an authentication attempt, for its row.
pub(super) struct Attempt<'a> {
    outcome: AuthOutcome,
    method: Option<AuthMethod>,
    user: Option<&'a str>,
    site: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    fn refused(method: AuthMethod, why: &'a Rejection) -> Self {
        Self { method: Some(method), ..Self::ended(why, why.claimed.as_deref()) }
    }

    /// The token of an authenticated client is no longer accepted.
    pub(super) fn ended(why: &'a Rejection, user: Option<&'a str>) -> Self {
        let outcome = match why.kind {
            Refused::Invalid => AuthOutcome::Refused,
            Refused::Expired => AuthOutcome::Expired,
            Refused::Revoked => AuthOutcome::Revoked,
        };
        Self { outcome, method: None, user, site: None, reason: Some(&why.message) }
    }
}

impl Clients {
    pub(super) fn wait_for_authentication(self: &Arc<Self>, socket: Socket, session: &Arc<Session>) {
        let (this, its, limit) = (self.clone(), Arc::downgrade(session), self.auth_timeout);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let Some(session) = its.upgrade().filter(|s| s.user().name().is_none() && socket.connected()) else {
                return;
            };
            let reason = Some("no authentication in time");
            let attempt = Attempt { outcome: AuthOutcome::Timeout, method: None, user: None, site: None, reason };
            this.record_attempt(Some(session.connection_seq), &attempt, &socket);
            session.set_close_reason("authentication timeout");
            this.disconnect(socket, &session).await;
        });
        session.user().set_auth_timer(timer.abort_handle());
    }

    pub(super) fn authenticate(
        self: &Arc<Self>,
        socket: &Socket,
        session: &Arc<Session>,
        credentials: Option<Credentials>,
    ) {
        let token =
            credentials.and_then(|c| serde_json::from_str::<String>(c.token.get()).ok()).ok_or(Rejection::NOT_A_TEXT);
        let missing_key = token.as_ref().ok().and_then(|token| self.verifier.missing_key(token));
        if missing_key.is_none() && !self.has_to_wait(session, Authorization::asks_about_clients) {
            return self.conclude(socket, session, token.and_then(|token| self.identify(&token)));
        }
        let size = token.as_ref().map_or(0, String::len);
        let (this, socket, its) = (self.clone(), socket.clone(), session.clone());
        in_order(session, size, async move {
            if let Some(key) = missing_key {
                key.await;
            }
            let authorized = match token.and_then(|token| this.identify(&token)) {
                Ok(identity) => this.authorized(&socket, identity).await,
                Err(rejection) => Err(rejection),
            };
            this.conclude(&socket, &its, authorized);
        });
    }

    fn conclude(&self, socket: &Socket, session: &Arc<Session>, verified: Result<Identity, Rejection>) {
        if Refusals::of(socket.req_parts()).are_too_many() {
            // The connection is already being closed.
            return;
        }
        match verified.and_then(|identity| self.hold_place(session, identity)) {
            Ok(identity) => self.accept(socket, session, &identity, AuthMethod::Event),
            Err(rejection) => self.reject(socket, session, &rejection),
        }
    }

    /// Gives a socket a place among those of its new user.
    fn hold_place(&self, session: &Session, identity: Identity) -> Result<Identity, Rejection> {
        if session.user().name().is_none_or(|user| *user != *identity.user) {
            let place = self.sockets_by_user.add(identity.user.as_str().into());
            session.user().hold(place.ok_or(Rejection::TOO_MANY_SOCKETS)?);
        }
        Ok(identity)
    }

    /// Verifies a token, and that it is not revoked.
    pub(super) fn identify(&self, token: &str) -> Result<Identity, Rejection> {
        let identity = self.verifier.verify(token)?;
        match self.revocations.cover(&identity.user, &identity.token) {
            true => Err(Rejection::REVOKED.of_user(identity.user)),
            false => Ok(identity),
        }
    }

    /// The client has authenticated: its socket joins the rooms of its user and site, and leaves those of a previous
    /// user.
    pub(super) fn accept(&self, socket: &Socket, session: &Arc<Session>, identity: &Identity, method: AuthMethod) {
        let Some(namespace) = self.namespaces.get(socket.ns()) else { return };
        let site = self.site(socket, identity);
        let own = [Some(format!("user({})", identity.user)), site.as_ref().map(|site| format!("site({site})"))];
        let own_rooms: Vec<String> = own.into_iter().flatten().collect();
        let (claims, token) = (identity.rooms.clone(), identity.token.clone().boxed());
        let rooms = [own_rooms.as_slice(), &claims.rooms].concat();
        self.forget_expiry(session);
        if !namespace.set_user(session, Grant { user: identity.user.as_str().into(), token, own_rooms, claims }) {
            return;
        }
        if let Some(ends) = identity.token.ends {
            self.expiries.add(session, ends);
        }
        let attempt = Attempt {
            outcome: AuthOutcome::Accepted,
            method: Some(method),
            user: Some(&identity.user),
            site: site.as_deref(),
            reason: None,
        };
        self.record_attempt(Some(session.connection_seq), &attempt, socket);
        self.confirm(socket, session, rooms);
        // Again, because a revocation in between has not found the user's socket.
        if self.revocations.cover(&identity.user, &identity.token) {
            self.end(socket, session, &Rejection::REVOKED, |user, token| self.revocations.cover(user, token));
        }
    }

    /// The site whose room the client joins. The token's claim takes precedence over the Origin header.
    pub(super) fn site(&self, socket: &Socket, identity: &Identity) -> Option<String> {
        let origin = || socket.req_parts().headers.get(header::ORIGIN).filter(|_| self.site_from_origin);
        let site = identity.site.clone().or_else(|| site_of_origin(origin()?.to_str().ok()?));
        site.filter(|site| self.sites.have(site))
    }

    /// Emits `authenticated` as soon as this node receives the messages to the client's rooms.
    fn confirm(&self, socket: &Socket, session: &Arc<Session>, mut rooms: Vec<String>) {
        rooms.push(session.sid.to_string());
        match self.cluster.clone().filter(|cluster| !cluster.covers(socket.ns(), &rooms)) {
            None => emit_authenticated(socket, session),
            Some(cluster) => {
                let (socket, session) = (socket.clone(), session.clone());
                tokio::spawn(async move {
                    cluster.wait_until_covered(socket.ns(), &rooms).await;
                    emit_authenticated(&socket, &session);
                });
            }
        }
    }

    /// Emits `unauthorized` with the reason. Like socketio-jwt, disconnects a client that acknowledges it.
    fn reject(&self, socket: &Socket, session: &Arc<Session>, rejection: &Rejection) {
        self.record_rejection(Some(session.connection_seq), AuthMethod::Event, rejection, socket);
        let acknowledged =
            socket.timeout(UNAUTHORIZED_ACK_TIMEOUT).emit_with_ack::<_, ()>("unauthorized", &rejection.payload());
        session.sent_unmarked();
        if self.count_refusal(socket.req_parts()) == REFUSALS_MAX {
            self.disconnect_guesser(socket, session);
        } else if let Ok(acknowledged) = acknowledged {
            let (namespaces, session) = (self.namespaces.clone(), Arc::downgrade(session));
            tokio::spawn(async move {
                // The acknowledgement may have any arguments, or none.
                let unacknowledged = matches!(acknowledged.await, Err(AckError::Timeout | AckError::Socket(_)));
                let open = |session: &Arc<Session>| !unacknowledged && !session.is_closed();
                let Some(session) = session.upgrade().filter(open) else { return };
                session.set_close_reason("unauthorized");
                if let Some(namespace) = namespaces.get(&session.namespace) {
                    namespace.disconnect(&session);
                }
            });
        }
    }

    /// Counts a refused token, and pauses the client. Returns how many of its tokens were refused.
    pub(super) fn count_refusal(&self, parts: &Parts) -> u32 {
        let (connection, refusals) = (connection(parts), Refusals::of(parts).add());
        connection.pause(self.refused_tokens.pause(refusals, connection.client.address));
        refusals
    }

    /// Disconnects a client whose tokens were refused too often. It is disconnected from the namespace first, so that
    /// it does not reconnect by itself.
    fn disconnect_guesser(&self, socket: &Socket, session: &Session) {
        session.set_close_reason("too many refusals");
        let connection = session.connection().clone();
        if socket.clone().disconnect().is_err() {
            return connection.abort();
        }
        tokio::spawn(async move {
            tokio::time::sleep(CLOSE_GRACE_PERIOD).await;
            connection.close();
        });
    }

    /// Disconnects a socket. Also closes the connection, unless another socket on it has authenticated.
    async fn disconnect(&self, socket: Socket, session: &Session) {
        let _ = socket.disconnect();
        tokio::time::sleep(CLOSE_GRACE_PERIOD).await;
        if session.connection().is_unauthenticated() {
            session.connection().close();
        }
    }

    pub(super) fn record_rejection(
        &self,
        connection: Option<i64>,
        method: AuthMethod,
        rejection: &Rejection,
        socket: &Socket,
    ) {
        self.record_attempt(connection, &Attempt::refused(method, rejection), socket);
    }

    pub(super) fn record_attempt(&self, connection_seq: Option<i64>, attempt: &Attempt<'_>, socket: &Socket) {
        let parts = socket.req_parts();
        let agent = recorded(&parts.headers, header::USER_AGENT);
        counter!(names::AUTHENTICATIONS, "outcome" => attempt.outcome.name()).increment(1);
        let address = connection(parts).client.address.to_string();
        let accepted = attempt.user.filter(|_| attempt.outcome == AuthOutcome::Accepted);
        let row = AuthRow {
            connection_seq,
            outcome: attempt.outcome,
            method: attempt.method,
            user_id: attempt.user,
            site: attempt.site,
            reason: attempt.reason,
            address: Some(&address),
            agent: agent.as_deref(),
        };
        numbered(self.topics.offer_auth(accepted.map_or(Share::Anonymous(&address), Share::User), &row));
    }
}

fn emit_authenticated(socket: &Socket, session: &Session) {
    let _ = socket.emit("authenticated", &NO_ARGUMENTS);
    session.sent_unmarked();
}
