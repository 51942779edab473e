//! Accepts TCP connections and serves each in its own task.

use super::clients::Clients;
use super::engine::Peer;
use super::service::HttpService;
use super::shutdown::{CloseAllOnDrop, finish};
use crate::connection::{DescriptorPermit, Writers};
use crate::metrics as names;
use crate::proxies::ClientEnd;
use greyhound_sdk::{Drain, descriptors};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time for a client to send the head of a request, so that no client holds a connection by sending slowly.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of a request's head, as in Node.
const REQUEST_HEAD_LEN_MAX: usize = 16 << 10;
/// Maximum number of headers of a request, as in Node.
const HEADERS_MAX: usize = 2000;
/// Pause after a failed accept, such as for a lack of descriptors.
const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The gateway's accept loop.
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
    pub(crate) service: HttpService,
    pub(crate) clients: Arc<Clients>,
    pub(crate) writers: Arc<Writers>,
    /// The kernel closes a connection whose client acknowledges no data for this long.
    pub(crate) write_timeout: Duration,
    /// Over how long the clients are let go.
    pub(crate) drain_spread: Duration,
}

impl Listener {
    /// Accepts connections until drained, and until all clients are gone or the deadline has come. While clients are
    /// let go, the polls of the others arrive on new connections.
    pub(crate) async fn run(self, mut drain: Drain) {
        let _close_all = CloseAllOnDrop::new(self.clients.clone());
        // A dropped set aborts its tasks.
        let _writers = self.spawn_writers();
        let mut connections = JoinSet::new();
        let permits = descriptor_permits();
        let mut warned = false;
        let mut finished = pin!(async {
            let deadline = drain.requested().await;
            self.service.refuse_sessions();
            finish(&self.clients, self.drain_spread, deadline).await;
        });
        loop {
            tokio::select! {
                biased;
                () = &mut finished => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match permits.clone().try_acquire_owned() {
                        Ok(permit) => {
                            warned = false;
                            connections.spawn(self.connection(stream, peer, permit.into()));
                        }
                        Err(_) => refuse(stream, &mut warned),
                    }
                    Err(e) => {
                        if !std::mem::replace(&mut warned, true) {
                            tracing::warn!(error = %e, "cannot accept clients; if file descriptors are short, raise `ulimit -n`");
                        }
                        sleep(ACCEPT_ERROR_PAUSE).await;
                    }
                }
            }
        }
        self.writers.stop();
    }

    /// Spawns one writer per thread.
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
        permit: DescriptorPermit,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        if let Err(e) = prepare(&stream, self.write_timeout) {
            tracing::debug!(error = %e, "a TCP option could not be set");
        }
        let client = ClientEnd { address: peer.ip().to_canonical(), secure: false };
        let peer = Peer { client, unauthenticated: Arc::default(), permit };
        let http = self.service.clone();
        let service = service_fn(move |request| http.clone().answer(request, peer.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(REQUEST_HEAD_LEN_MAX)
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

/// One permit for each descriptor that clients may use. The others are reserved for the journal, the tables and Redis.
fn descriptor_permits() -> Arc<Semaphore> {
    let connections = usize::try_from(descriptors::for_clients()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)))
}

/// Closes a connection for which no descriptor is left.
fn refuse(stream: TcpStream, warned: &mut bool) {
    counter!(names::REFUSED_SESSIONS, "limit" => "descriptors").increment(1);
    if !std::mem::replace(warned, true) {
        let limit = descriptors::limit();
        tracing::warn!(
            limit,
            "clients are refused: all file descriptors for clients are in use; raise `ulimit -n` (systemd: LimitNOFILE)"
        );
    }
    drop(stream);
}

fn prepare(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout))
}
