//! Accepts clients and serves each on a task of its own.

use super::clients::Clients;
use super::engine::Peer;
use super::service::Parts;
use super::shutdown::{LeaveNobody, finish};
use crate::connection::{Slot, Writers};
use crate::metrics as names;
use greyhound_sdk::{Drain, descriptors};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long a client may take for the head of a request, so that nobody holds a connection by sending slowly.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head of a request, as Node's.
const HTTP_BUFFER: usize = 16 << 10;
/// So many headers a request may have; as Node.
const HEADERS_MAX: usize = 2000;
/// How long to wait where the system has no descriptor left.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// The gateway's accept loop.
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
    pub(crate) parts: Parts,
    pub(crate) clients: Arc<Clients>,
    pub(crate) writers: Arc<Writers>,
    /// How long the kernel waits for a client to acknowledge what was sent to it.
    pub(crate) write_timeout: Duration,
}

impl Listener {
    /// Accepts until drained; then disconnects everybody, and returns when all are gone or the deadline has come.
    pub(crate) async fn run(self, mut drain: Drain) {
        let _leave = LeaveNobody::new(self.clients.clone());
        // Aborted where they are dropped.
        let _writers = self.spawn_writers();
        let mut connections = JoinSet::new();
        let slots = slots();
        let mut complained = false;
        let deadline = loop {
            tokio::select! {
                biased;
                at = drain.requested() => break at,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match slots.clone().try_acquire_owned() {
                        Ok(slot) => {
                            complained = false;
                            connections.spawn(self.connection(stream, peer, slot.into()));
                        }
                        Err(_) => refuse(stream, &mut complained),
                    }
                    Err(e) => {
                        if !std::mem::replace(&mut complained, true) {
                            tracing::warn!(error = %e, "clients cannot be accepted; if descriptors are short, raise `ulimit -n`");
                        }
                        sleep(NO_DESCRIPTOR_PAUSE).await;
                    }
                }
            }
        };
        drop(self.listener);
        finish(&self.clients, deadline).await;
        self.writers.stop();
    }

    /// Tasks that write to clients, one for each thread.
    fn spawn_writers(&self) -> JoinSet<()> {
        let writer = || {
            let writers = self.writers.clone();
            async move { writers.write().await }
        };
        (0..Handle::current().metrics().num_workers()).map(|_| writer()).collect()
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: Slot,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        if let Err(e) = prepare(&stream, self.write_timeout) {
            tracing::debug!(error = %e, "a TCP option could not be set");
        }
        let peer = Peer { address: peer, unproven: Arc::default(), slot };
        let parts = self.parts.clone();
        let service = service_fn(move |request| parts.clone().answer(request, peer.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HTTP_BUFFER)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a connection ended");
            }
        }
    }
}

/// One for each connection that clients may have open: the journal, the tables and Redis keep theirs.
fn slots() -> Arc<Semaphore> {
    let connections = usize::try_from(descriptors::for_clients()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)))
}

/// Closes a connection for which there is no slot.
fn refuse(stream: TcpStream, complained: &mut bool) {
    counter!(names::REFUSED_SESSIONS, "limit" => "descriptors").increment(1);
    if !std::mem::replace(complained, true) {
        let limit = descriptors::limit();
        tracing::warn!(
            limit,
            "clients are refused: all open files that are theirs are in use; raise `ulimit -n` (systemd: LimitNOFILE)"
        );
    }
    drop(stream);
}

fn prepare(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout))
}
