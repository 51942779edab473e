//! What happens when a client connects, authenticates, pushes and goes.

use super::handshake::Auth;
use super::pushed_event::Push;
use crate::auth::{Identity, Verifier};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::namespace::{Namespace, Namespaces, Session};
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

/// The gateway's reactions to its clients.
pub(crate) struct Clients {
    pub(super) topics: Arc<Topics>,
    pub(super) namespaces: Namespaces,
    /// None where this node is alone.
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) verifier: Verifier,
    pub(super) sites: Vec<String>,
    /// Whether a site may come from the Origin header.
    pub(super) site_from_origin: bool,
    pub(super) auth_timeout: Duration,
    pub(super) record_data: bool,
    /// Sockets that are open.
    pub(super) open: Arc<AtomicUsize>,
    /// Nobody is admitted any more.
    pub(super) stopping: AtomicBool,
    /// Admitted, about to be connected, by the address of the socket; some never are, because they go away before.
    pub(super) admitted: Mutex<HashMap<usize, Admitted>>,
}

pub(super) struct Admitted {
    /// Its socket's handlers keep it.
    pub(super) session: Weak<Session>,
    pub(super) identity: Option<Identity>,
}

impl Clients {
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
    pub(crate) fn serve(self: &Arc<Self>, io: &SocketIo<Namespace>, name: &str) {
        let (admit, connected) = (self.clone(), self.clone());
        let admit = async move |socket: Socket, auth: Auth| admit.admit(&socket, auth);
        let connected = async move |socket: Socket| connected.connected(socket);
        io.ns(name.to_owned(), connected.with(admit));
    }

    /// The handlers' bodies run before the library spawns what they return: in the client's order.
    pub(super) fn register(self: &Arc<Self>, socket: &Socket, session: &Arc<Session>) {
        let (this, its) = (self.clone(), session.clone());
        socket.on("authenticate", move |socket: Socket, credentials: TryData<super::credentials::Credentials>| {
            this.authenticate(&socket, &its, credentials.0.ok());
            ready(())
        });
        let (this, its) = (self.clone(), session.clone());
        socket.on_fallback(move |socket: Socket, push: Push, ack: AckSender<Namespace>| {
            this.pushed(&socket, &its, &push, ack);
            ready(())
        });
        let (this, its) = (self.clone(), session.clone());
        socket.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            this.gone(&socket, &its, reason);
            ready(())
        });
    }

    fn gone(&self, socket: &Socket, session: &Arc<Session>, reason: DisconnectReason) {
        // First closed, then taken out: whoever puts it into a room looks for this afterwards.
        session.close(in_words(reason));
        if let Some(namespace) = self.namespaces.get(socket.ns()) {
            namespace.rooms.write().exit(socket.id, &session.user().rooms());
        }
    }
}

/// What tells a socket from an earlier one of the same session and namespace.
pub(super) fn address(socket: &Socket) -> usize {
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
