//! The handlers of client events: connect, authenticate, push and disconnect.

use super::expiries::Expiries;
use super::handshake::Auth;
use super::pushed_event::Push;
use super::refused_tokens::RefusedTokens;
use crate::auth::{Identity, Sites, Verifier};
use crate::authorization::Authorization;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::limits::{Count, QueueMemory};
use crate::namespace::{Namespace, Namespaces, Session};
use crate::revocation::Revocations;
use crate::rows::Topics;
use parking_lot::Mutex;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Weak};
use std::time::Duration;

pub(super) type Socket = SocketRef<Namespace>;

/// Handles the events of all clients.
pub(crate) struct Clients {
    pub(super) topics: Arc<Topics>,
    pub(super) namespaces: Namespaces,
    /// `None` without a cluster.
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) queue_memory: Arc<QueueMemory>,
    pub(super) refused_tokens: RefusedTokens,
    /// The sockets of each user.
    pub(super) sockets_by_user: Arc<Count<Arc<str>>>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) expiries: Expiries,
    /// `None` if no endpoint is configured.
    pub(super) authorization: Option<Authorization>,
    pub(super) sites: Sites,
    /// Whether the Origin header determines the site of a token without one.
    pub(super) site_from_origin: bool,
    pub(super) auth_timeout: Duration,
    pub(super) record_data: bool,
    /// Number of open sockets.
    pub(super) open: Arc<AtomicUsize>,
    /// The gateway is shutting down: no client is admitted.
    pub(super) stopping: AtomicBool,
    /// Admitted sockets that are about to be connected, by [`socket_key`]. Sockets that go away before stay until the
    /// next sweep.
    pub(super) admitted: Mutex<HashMap<usize, Admitted>>,
}

pub(super) struct Admitted {
    /// Owned by the socket's handlers.
    pub(super) session: Weak<Session>,
    pub(super) identity: Option<Identity>,
}

/// What the handlers of client events use.
pub(crate) struct UsedByClients {
    pub(crate) topics: Arc<Topics>,
    pub(crate) namespaces: Namespaces,
    /// `None` without a cluster.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) queue_memory: Arc<QueueMemory>,
    pub(crate) revocations: Arc<Revocations>,
    /// `None` if no endpoint is configured.
    pub(crate) authorization: Option<Authorization>,
}

impl Clients {
    pub(crate) fn new(config: &Config, used: UsedByClients) -> Self {
        let UsedByClients { topics, namespaces, cluster, verifier, queue_memory, revocations, authorization } = used;
        Self {
            topics,
            namespaces,
            cluster,
            verifier,
            queue_memory,
            refused_tokens: RefusedTokens::default(),
            sockets_by_user: Count::new(config.limits.sockets_per_user),
            revocations,
            expiries: Expiries::new(config.auth.expiry_warning),
            authorization,
            sites: Sites::new(&config.sites),
            site_from_origin: config.auth.site_from_origin,
            auth_timeout: config.auth.timeout,
            record_data: config.record_push_data,
            open: Arc::default(),
            stopping: AtomicBool::new(false),
            admitted: Mutex::default(),
        }
    }

    /// Serves the namespace `name`. A socket's handlers are registered before its CONNECT is answered, so that none of its
    /// events comes too early.
    pub(crate) fn serve(self: &Arc<Self>, io: &SocketIo<Namespace>, name: &str) {
        let (admit, connected) = (self.clone(), self.clone());
        let admit = async move |socket: Socket, auth: Auth| admit.admit(&socket, auth).await;
        let connected = async move |socket: Socket| connected.connected(socket);
        io.ns(name.to_owned(), connected.with(admit));
    }

    /// Registers a socket's handlers. Their bodies run before the library spawns the returned futures, and thus in the
    /// order of the client's events.
    pub(super) fn register(self: &Arc<Self>, socket: &Socket, session: &Arc<Session>) {
        let (this, its) = (self.clone(), session.clone());
        socket.on("authenticate", move |socket: Socket, credentials: TryData<super::credentials::Credentials>| {
            this.authenticate(&socket, &its, credentials.0.ok());
            ready(())
        });
        let (this, its) = (self.clone(), session.clone());
        socket.on_fallback(move |socket: Socket, push: Push, ack: AckSender<Namespace>| {
            this.pushed(&socket, &its, push, ack);
            ready(())
        });
        let (this, its) = (self.clone(), session.clone());
        socket.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            this.disconnected(&socket, &its, reason);
            ready(())
        });
    }

    fn disconnected(&self, socket: &Socket, session: &Arc<Session>, reason: DisconnectReason) {
        // The answer to a ping waits behind all that the client sent before.
        let flooding = reason == DisconnectReason::HeartbeatTimeout && session.connection().is_flooding();
        // Closed before it is removed: `Rooms` adds no closed socket.
        session.close(if flooding { "flooding" } else { node_reason(reason) });
        self.forget_expiry(session);
        if let Some(namespace) = self.namespaces.get(socket.ns()) {
            namespace.rooms.write().exit(socket.id, &session.user().rooms());
        }
    }
}

/// Distinguishes a socket from an earlier one of the same session and namespace.
pub(super) fn socket_key(socket: &Socket) -> usize {
    std::ptr::from_ref(&**socket).addr()
}

/// The reason as Node names it.
fn node_reason(reason: DisconnectReason) -> &'static str {
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
