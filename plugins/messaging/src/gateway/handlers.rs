//! What happens when a client connects, authenticates, emits and goes.

use super::acks::NO_ARGUMENTS;
use super::connect_error::Refused;
use super::handshake::{Auth, Refusals, link, recorded, request_token};
use super::link::FAREWELL;
use super::protocol::Protocol;
use super::push::Push;
use super::session::{Opened, Session};
use crate::auth::{Identity, Rejection, Verifier, base_domain};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::emit::RESERVED;
use crate::fanout::{Fanout, Namespaces};
use crate::metrics as names;
use crate::outlet::numbered;
use crate::rows::{AuthRow, ConnectionRow, PushRow, Topics, auth_method, auth_outcome, column, connection_event};
use axum::http::header;
use greyhound_sdk::Share;
use metrics::counter;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use socketioxide::{AckError, SocketIo};
use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

type Socket = SocketRef<Fanout>;

/// The gateway's reactions to its clients.
pub(crate) struct Handlers {
    pub(crate) topics: Arc<Topics>,
    pub(crate) namespaces: Namespaces,
    /// None where this node is alone.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) verifier: Verifier,
    pub(crate) sites: Vec<String>,
    /// Whether a site may come from the Origin header.
    site_from_origin: bool,
    pub(crate) auth_timeout: Duration,
    pub(crate) record_data: bool,
    /// Sockets that are open.
    pub(crate) open: Arc<AtomicUsize>,
    /// Nobody is admitted any more.
    stopping: AtomicBool,
    /// Admitted, about to be connected, by the address of the socket; some never are, because they go away before.
    admitted: Mutex<HashMap<usize, Admitted>>,
}

struct Admitted {
    /// Its socket's handlers keep it.
    session: Weak<Session>,
    identity: Option<Identity>,
}

/// With so many admitted, those who went away are forgotten.
const MANY_ADMITTED: usize = 1024;

/// So long a client may take to acknowledge that it is not authorized: in a page, somebody may be asked first.
const GOODBYE: Duration = Duration::from_secs(60);

/// What `authenticate` is sent with.
#[derive(Deserialize)]
struct Credentials {
    token: Box<RawValue>,
}

/// What an attempt to authenticate came to, for its row.
struct Attempt<'a> {
    outcome: i8,
    method: Option<i8>,
    user: Option<&'a str>,
    site: Option<&'a str>,
    reason: Option<&'a str>,
}

impl Handlers {
    pub(crate) fn new(
        config: &Config,
        verifier: Verifier,
        topics: Arc<Topics>,
        namespaces: Namespaces,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        Self {
            topics,
            namespaces,
            cluster,
            verifier,
            sites: config.sites.clone(),
            site_from_origin: config.auth.site_from_origin,
            auth_timeout: config.auth.timeout,
            record_data: config.record_push_data,
            open: Arc::default(),
            stopping: AtomicBool::new(false),
            admitted: Mutex::default(),
        }
    }

    /// Opens the namespace `name`. Everything is registered before a client's CONNECT is answered, so that
    /// none of its events comes too early.
    pub(crate) fn serve(self: &Arc<Self>, io: &SocketIo<Fanout>, name: &str) {
        let (admit, connected) = (self.clone(), self.clone());
        let admit = async move |socket: Socket, auth: Auth| admit.admit(&socket, auth);
        let connected = async move |socket: Socket| connected.connected(socket);
        io.ns(name.to_owned(), connected.with(admit));
    }

    fn admit(self: &Arc<Self>, socket: &Socket, auth: Auth) -> Result<(), Refused> {
        let parts = socket.req_parts();
        let (link, refusals) = (link(parts), Refusals::of(parts));
        let refused = |rejection| Err(Refused { rejection, old: link.protocol == Protocol::V3 });
        if self.stopping.load(SeqCst) {
            // A client whose connection ends comes back by itself, one that is refused does not.
            link.close();
            return refused(Rejection::STOPPING);
        }
        if refusals.are_too_many() {
            link.close();
            return refused(Rejection::TOO_MANY);
        }
        let identity = match auth.token.or_else(|| request_token(parts)).map(|token| self.verifier.verify(&token)) {
            Some(Err(rejection)) => {
                self.record_rejection(None, auth_method::HANDSHAKE, &rejection, socket);
                refusals.add();
                return refused(rejection);
            }
            verified => verified.and_then(Result::ok),
        };
        let session = Arc::new(self.open(socket, auth.rest));
        session.ride();
        if self.stopping.load(SeqCst) {
            // It began while this one was opened; the session's end writes its closed row.
            return refused(Rejection::STOPPING);
        }
        self.register(socket, &session);
        let mut admitted = self.admitted.lock();
        if admitted.len() >= MANY_ADMITTED {
            admitted.retain(|_, it| it.session.strong_count() > 0);
        }
        admitted.insert(address(socket), Admitted { session: Arc::downgrade(&session), identity });
        Ok(())
    }

    fn open(&self, socket: &Socket, auth: Option<Box<RawValue>>) -> Session {
        let parts = socket.req_parts();
        let link = link(parts);
        let protocol = i32::from(link.protocol.number());
        let (agent, origin) = (recorded(&parts.headers, header::USER_AGENT), recorded(&parts.headers, header::ORIGIN));
        let address = link.peer.ip().to_canonical().to_string();
        let row = ConnectionRow {
            event: connection_event::OPENED,
            namespace: socket.ns(),
            transport: link.transport(),
            protocol,
            address: Some(&address),
            agent: agent.as_deref(),
            origin: origin.as_deref(),
            ..ConnectionRow::default()
        };
        let connection = numbered(self.topics.offer_connection(Share::Anonymous(&address), &row)).map_or(-1, column);
        let (topics, open) = (self.topics.clone(), self.open.clone());
        Session::new(Opened {
            sid: socket.id,
            connection,
            namespace: socket.ns().into(),
            protocol,
            auth,
            link,
            topics,
            open,
        })
    }

    /// The handlers' bodies run before the library spawns what they return: in the client's order.
    fn register(self: &Arc<Self>, socket: &Socket, session: &Arc<Session>) {
        let (this, its) = (self.clone(), session.clone());
        socket.on("authenticate", move |socket: Socket, credentials: TryData<Credentials>| {
            this.authenticate(&socket, &its, credentials.0.ok());
            ready(())
        });
        let (this, its) = (self.clone(), session.clone());
        socket.on_fallback(move |socket: Socket, push: Push, ack: AckSender<Fanout>| {
            this.pushed(&socket, &its, &push, ack);
            ready(())
        });
        let (this, its) = (self.clone(), session.clone());
        socket.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            this.gone(&socket, &its, reason);
            ready(())
        });
    }

    fn connected(self: &Arc<Self>, socket: Socket) {
        let Some(Admitted { session, identity }) = self.admitted.lock().remove(&address(&socket)) else { return };
        let (Some(namespace), Some(session)) = (self.namespaces.get(socket.ns()), session.upgrade()) else { return };
        if !namespace.enter(&session) {
            return;
        }
        self.reap_with_link(&socket);
        match identity {
            Some(identity) => self.accept(&socket, &session, &identity, auth_method::HANDSHAKE),
            None => self.wait_for_authentication(socket, &session),
        }
    }

    /// A socket must not outlive the connection that it came with.
    fn reap_with_link(&self, socket: &Socket) {
        let (link, sid, namespaces) = (link(socket.req_parts()), socket.id, self.namespaces.clone());
        link.at_end(move || {
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            // The library notices as a rule by itself, a moment later: then with its own reason.
            runtime.spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                namespaces.all().iter().for_each(|namespace| namespace.reap(sid));
            });
        });
    }

    fn wait_for_authentication(self: &Arc<Self>, socket: Socket, session: &Arc<Session>) {
        let (this, its, limit) = (self.clone(), Arc::downgrade(session), self.auth_timeout);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let Some(session) = its.upgrade().filter(|s| s.user().is_none() && socket.connected()) else { return };
            let reason = Some("no authentication in time");
            let attempt = Attempt { outcome: auth_outcome::TIMEOUT, method: None, user: None, site: None, reason };
            this.record_attempt(Some(session.connection), &attempt, &socket);
            session.because("authentication timeout");
            this.dismiss(socket, &session).await;
        });
        session.until_authenticated(timer.abort_handle());
    }

    /// Disconnects a socket and, unless another one of the same client has authenticated, closes the connection.
    async fn dismiss(&self, socket: Socket, session: &Session) {
        let _ = socket.disconnect();
        tokio::time::sleep(FAREWELL).await;
        if session.link().is_unproven() {
            session.link().close();
        }
    }

    fn authenticate(&self, socket: &Socket, session: &Arc<Session>, credentials: Option<Credentials>) {
        if Refusals::of(socket.req_parts()).are_too_many() {
            // The connection is about to be closed.
            return;
        }
        let token =
            credentials.and_then(|c| serde_json::from_str::<String>(c.token.get()).ok()).ok_or(Rejection::NOT_A_TEXT);
        match token.and_then(|token| self.verifier.verify(&token)) {
            Ok(identity) => self.accept(socket, session, &identity, auth_method::EVENT),
            Err(rejection) => self.reject(socket, session, &rejection),
        }
    }

    /// Tells a client why its token is refused. As socketio-jwt does: a client that acknowledges that is disconnected.
    fn reject(&self, socket: &Socket, session: &Arc<Session>, rejection: &Rejection) {
        self.record_rejection(Some(session.connection), auth_method::EVENT, rejection, socket);
        let acknowledged = socket.timeout(GOODBYE).emit_with_ack::<_, ()>("unauthorized", &rejection.payload());
        session.sent_unmarked();
        if Refusals::of(socket.req_parts()).add() {
            self.guesses(socket, session);
        } else if let Ok(acknowledged) = acknowledged {
            let (namespaces, session) = (self.namespaces.clone(), Arc::downgrade(session));
            tokio::spawn(async move {
                // An acknowledgement's arguments are of no interest, and none of them may be there.
                let over = matches!(acknowledged.await, Err(AckError::Timeout | AckError::Socket(_)));
                let Some(session) = session.upgrade().filter(|session| !over && !session.is_closed()) else { return };
                session.because("unauthorized");
                if let Some(namespace) = namespaces.get(&session.namespace) {
                    namespace.disconnect(&session);
                }
            });
        }
    }

    /// The client is who it says: it joins the rooms of its user and site, and leaves those of another user.
    fn accept(&self, socket: &Socket, session: &Arc<Session>, identity: &Identity, method: i8) {
        let Some(namespace) = self.namespaces.get(socket.ns()) else { return };
        let origin = || recorded(&socket.req_parts().headers, header::ORIGIN).filter(|_| self.site_from_origin);
        let site = identity.site.clone().or_else(|| base_domain(&origin()?));
        let site = site.filter(|site| self.sites.is_empty() || self.sites.contains(site));
        let mut rooms: Vec<String> =
            [Some(format!("user({})", identity.user)), site.as_ref().map(|site| format!("site({site})"))]
                .into_iter()
                .flatten()
                .collect();
        rooms.shrink_to_fit();
        if !namespace.become_known(session, &identity.user, &rooms) {
            return;
        }
        let attempt = Attempt {
            outcome: auth_outcome::ACCEPTED,
            method: Some(method),
            user: Some(&identity.user),
            site: site.as_deref(),
            reason: None,
        };
        self.record_attempt(Some(session.connection), &attempt, socket);
        self.welcome(socket, session, rooms);
    }

    /// Tells a client that it is in, as soon as messages to its rooms come to this node.
    fn welcome(&self, socket: &Socket, session: &Arc<Session>, mut rooms: Vec<String>) {
        rooms.push(session.sid.to_string());
        match self.cluster.clone().filter(|cluster| !cluster.covers(socket.ns(), &rooms)) {
            None => tell_authenticated(socket, session),
            Some(cluster) => {
                let (socket, session) = (socket.clone(), session.clone());
                tokio::spawn(async move {
                    cluster.covered(socket.ns(), &rooms).await;
                    tell_authenticated(&socket, &session);
                });
            }
        }
    }

    fn pushed(&self, socket: &Socket, session: &Arc<Session>, push: &Push, ack: AckSender<Fanout>) {
        if RESERVED.contains(&push.event.as_str()) {
            // As Node's parser does.
            session.because("parse error");
            session.link().doom();
            return;
        }
        let Some(user) = session.user() else {
            counter!(names::IGNORED).increment(1);
            return;
        };
        counter!(names::PUSHES).increment(1);
        let row = PushRow {
            connection_seq: session.connection,
            user_id: &user,
            namespace: socket.ns(),
            event: &push.event,
            size_bytes: push.size as i64,
            data: self.record_data.then_some(push.data.as_str()),
        };
        // Rows are published here, in the client's order; only the acknowledgement waits for the disk.
        let offered = self.topics.push.offer_from(Share::User(&user), push.size, &row);
        match offered {
            Ok(seq) if push.wants_ack => {
                if session.acks.expect(seq, ack, session, &self.topics).is_err() {
                    session.because("overload");
                    session.link().doom();
                }
            }
            offered => drop(numbered(offered)),
        }
    }

    /// Disconnects a client whose tokens were refused too often, in a way after which it does not come back by itself.
    fn guesses(&self, socket: &Socket, session: &Session) {
        session.because("too many refusals");
        let link = session.link().clone();
        if socket.clone().disconnect().is_err() {
            return link.doom();
        }
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            link.close();
        });
    }

    fn gone(&self, socket: &Socket, session: &Arc<Session>, reason: DisconnectReason) {
        // First closed, then taken out: whoever puts it into a room looks for this afterwards.
        session.close(in_words(reason));
        if let Some(namespace) = self.namespaces.get(socket.ns()) {
            namespace.rooms.write().exit(socket.id, &session.rooms());
        }
    }

    fn record_rejection(&self, connection: Option<i64>, method: i8, rejection: &Rejection, socket: &Socket) {
        let outcome = if rejection.expired { auth_outcome::EXPIRED } else { auth_outcome::REFUSED };
        let user = rejection.claimed.as_deref();
        let attempt = Attempt { outcome, method: Some(method), user, site: None, reason: Some(rejection.message) };
        self.record_attempt(connection, &attempt, socket);
    }

    fn record_attempt(&self, connection_seq: Option<i64>, attempt: &Attempt<'_>, socket: &Socket) {
        let parts = socket.req_parts();
        let agent = recorded(&parts.headers, header::USER_AGENT);
        let outcome = ["accepted", "refused", "expired", "revoked", "timeout"][attempt.outcome as usize];
        counter!(names::AUTHENTICATIONS, "outcome" => outcome).increment(1);
        let address = link(parts).peer.ip().to_canonical().to_string();
        let accepted = attempt.user.filter(|_| attempt.outcome == auth_outcome::ACCEPTED);
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

fn tell_authenticated(socket: &Socket, session: &Session) {
    let _ = socket.emit("authenticated", &NO_ARGUMENTS);
    session.sent_unmarked();
}

/// What tells a socket from an earlier one of the same session and namespace.
fn address(socket: &Socket) -> usize {
    std::ptr::from_ref(&**socket).addr()
}

/// As Node says it.
fn in_words(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::TransportClose => "transport close",
        DisconnectReason::MultipleHttpPollingError | DisconnectReason::TransportError => "transport error",
        DisconnectReason::PacketParsingError => "parse error",
        DisconnectReason::HeartbeatTimeout => "ping timeout",
        DisconnectReason::ClientNSDisconnect => "client namespace disconnect",
        DisconnectReason::ServerNSDisconnect => "server namespace disconnect",
        DisconnectReason::ClosingServer => "server shutting down",
    }
}

impl Handlers {
    /// Lets every client go, because the server stops: its connection is closed, not its socket, so that it comes back
    /// by itself when the server does, or to another node.
    pub(crate) fn let_all_go(&self) {
        self.stopping.store(true, SeqCst);
        self.each_session(|session| {
            session.because("server shutting down");
            session.link().close();
        });
    }

    /// Closes the connections of those who are still open.
    pub(crate) fn close_all(&self) {
        self.each_session(|session| session.link().doom());
    }

    fn each_session(&self, what: impl Fn(&Session)) {
        for namespace in self.namespaces.all() {
            namespace.rooms.read().all().iter().for_each(|session| what(session));
        }
    }

    /// Whether any socket is open.
    pub(crate) fn any_open(&self) -> bool {
        self.open.load(Relaxed) > 0
    }
}
