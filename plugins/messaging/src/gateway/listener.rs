//! Accepts connections and serves each in its own task.

use super::clients::Clients;
use super::endpoint::{Accepted, Endpoint, PeerEnd};
use super::engine::Peer;
use super::relief::relieve;
use super::service::HttpService;
use super::shutdown::{CloseAllOnDrop, finish};
use super::token_end::TokenWatch;
use crate::connection::{ByteStream, DescriptorPermit, Writers};
use crate::metrics as names;
use greyhound_sdk::{Drain, descriptors};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
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
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) service: HttpService,
    pub(crate) clients: Arc<Clients>,
    pub(crate) writers: Arc<Writers>,
    pub(crate) token_watch: TokenWatch,
    /// Over how long the clients are let go.
    pub(crate) drain_spread: Duration,
}

impl Listener {
    /// Accepts connections until drained, and until all clients are gone or the deadline has come. While clients are
    /// let go, the polls of the others arrive on new connections.
    pub(crate) async fn run(self, mut drain: Drain) {
        let _close_all = CloseAllOnDrop::new(self.clients.clone());
        // A dropped set aborts its tasks.
        let _background = self.spawn_background();
        let mut connections = JoinSet::new();
        let permits = descriptor_permits();
        let mut warned = false;
        let mut turn = 0;
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
                accepted = self.accept(&mut turn) => match accepted {
                    Ok(accepted) => match permits.clone().try_acquire_owned() {
                        Ok(permit) => {
                            warned = false;
                            connections.spawn(connection(self.service.clone(), accepted, permit.into()));
                        }
                        Err(_) => refuse(accepted, &mut warned),
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

    /// Spawns one writer per thread, what watches the tokens of clients, and what reloads certificates.
    fn spawn_background(&self) -> JoinSet<()> {
        let writer = || {
            let writers = self.writers.clone();
            async move { writers.write().await }
        };
        let mut tasks: JoinSet<()> = (0..Handle::current().metrics().num_workers()).map(|_| writer()).collect();
        let clients = self.clients.clone();
        tasks.spawn(async move { match relieve(clients).await {} });
        tasks.spawn(self.token_watch.clone().run());
        self.endpoints.iter().filter_map(Endpoint::tls).for_each(|tls| drop(tasks.spawn(tls.reload())));
        tasks
    }

    /// Accepts a connection to one of the endpoints. They take turns, so that none holds up the others.
    async fn accept(&self, turn: &mut usize) -> io::Result<Accepted> {
        let count = self.endpoints.len();
        poll_fn(|cx| {
            for at in (0..count).map(|n| (*turn + n) % count) {
                if let Poll::Ready(accepted) = self.endpoints[at].poll_accept(cx) {
                    *turn = at + 1;
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Serves the requests of one connection.
async fn connection(service: HttpService, accepted: Accepted, permit: DescriptorPermit) {
    let entry = accepted.entry.clone();
    match accepted.enter().await {
        Ok((stream, end)) => serve(service, stream, end, permit).await,
        Err(error) => entry.refused(&error),
    }
}

fn serve(
    http: HttpService,
    stream: ByteStream,
    end: PeerEnd,
    permit: DescriptorPermit,
) -> impl Future<Output = ()> + Send + 'static {
    let peer = Peer { client: end.client, is_proxy: end.is_proxy, unauthenticated: Arc::default(), permit };
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

/// One permit for each descriptor that clients may use. The others are reserved for the journal, the tables and Redis.
fn descriptor_permits() -> Arc<Semaphore> {
    let connections = usize::try_from(descriptors::for_clients()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)))
}

/// Closes a connection for which no descriptor is left.
fn refuse(accepted: Accepted, warned: &mut bool) {
    counter!(names::REFUSED_SESSIONS, "limit" => "descriptors").increment(1);
    if !std::mem::replace(warned, true) {
        let limit = descriptors::limit();
        tracing::warn!(
            limit,
            "clients are refused: all file descriptors for clients are in use; raise `ulimit -n` (systemd: LimitNOFILE)"
        );
    }
    drop(accepted);
}
