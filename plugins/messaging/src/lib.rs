//! Greyhound's socket.io gateway.
//!
//! Clients (socket.io 1.x to 4.x) connect, authenticate with a JWT and join the rooms `user(<id>)` and
//! `site(<base domain>)`. They receive the messages to these rooms, and the events they emit are published on the bus.
//! Every connection, authentication, change of rooms, message, delivery, push and revocation is a row of its topic.
//!
//! No module imports from a line above its own:
//!
//! ```text
//! http, emitter, gateway   the entrances for backends, for other parts of the program, and for clients
//! cluster                  the other nodes: publishes to Redis, handles their messages, requests and answers
//! delivery, sockets        records and sends one message; describes and disconnects this node's sockets
//! namespace, event         rooms with their members, and the session of a client's socket; encodings of an event
//! connection               a client's connection: transports, write queue, order of events
//! ```
//!
//! Below them are who may do what (`auth`, `authorization`, `revocation`, `limits`, `proxies`), the rows (`rows`, `metrics`),
//! the configuration (`config`), the clients of other servers (`redis`, `http_client`), and formats (`msgpack`, `target`,
//! `event_names`, `room_names`, `remote_socket`). `views` are the SQL views of the topics; `demo` is the demo page.

pub mod auth;
mod authorization;
mod cluster;
pub mod config;
mod connection;
mod delivery;
mod demo;
pub mod emitter;
mod event;
mod event_names;
mod gateway;
mod http;
mod http_client;
mod limits;
mod metrics;
mod msgpack;
mod namespace;
mod proxies;
mod redis;
mod remote_socket;
mod revocation;
mod room_names;
mod rows;
mod sockets;
mod target;
pub mod views;

use async_trait::async_trait;
use auth::{Minter, Verifier};
use authorization::Authorization;
pub use cluster::{AckReport, Gathered, Unreached};
use cluster::{Cluster, Member, RequestHandler};
pub use config::Config;
use config::ListenerConfig;
use connection::Writers;
pub use delivery::Receipt;
use delivery::{Counters, Deliveries};
use emitter::RunningGateway;
pub use emitter::{Emission, EmitError, Emitter, Message, SocketsChanged, To};
use futures_util::FutureExt;
use gateway::{Clients, Endpoint, Listener, TokenWatch, UsedByClients};
use greyhound_sdk::config::Problems;
use greyhound_sdk::{Check, Component, Context, Drain, Error, Plugin, SchemaError, TopicSchema};
use http_client::HttpClient;
use limits::QueueMemory;
use namespace::{Interest, Namespaces, RoomRules};
use proxies::Proxies;
pub use remote_socket::RemoteSocket;
pub use revocation::{Full as TooManyRevocations, Revocation, Subject};
use revocation::{Kept, Revocations};
use rows::Topics;
use sockets::LocalSockets;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tokio::sync::oneshot;

/// The plugin.
#[derive(Clone, Default)]
pub struct Messaging {
    emitter: Emitter,
}

impl Messaging {
    /// The emitter for other parts of the program. Usable as soon as the gateway runs.
    #[must_use]
    pub fn emitter(&self) -> Emitter {
        self.emitter.clone()
    }

    /// This node's membership; `None` without a cluster.
    fn member(&self, gateway: &RunningGateway, config: &Config, context: &Context) -> Option<Member> {
        Some(Member {
            cluster: gateway.cluster.clone()?,
            handler: RequestHandler {
                deliveries: gateway.deliveries.clone(),
                sockets: gateway.sockets.clone(),
                server_side: self.emitter.server_side(),
            },
            health: context.health.of("redis"),
            buffer: config.buffer,
        })
    }
}

#[async_trait]
impl Plugin for Messaging {
    type Config = Config;

    fn name(&self) -> &'static str {
        "messaging"
    }

    fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        rows::topics()
    }

    fn validate(&self, config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn listens(&self, config: &Config) -> Vec<(&'static str, SocketAddr)> {
        let address = |listener: &ListenerConfig, key| Some((key, listener.listen.socket_address()?));
        let others = config.listeners.iter().map(|listener| address(listener, "listeners"));
        [address(&config.first_listener(), "listen")].into_iter().chain(others).flatten().collect()
    }

    async fn inspect(&self, config: &Config, data_dir: &Path, problems: &mut Problems) {
        config.look(data_dir, problems);
    }

    async fn check(&self, config: &Config) -> Vec<Check> {
        let (keys, redis, authorization) = tokio::join!(
            config.auth.connect(),
            cluster::check(&config.redis),
            authorization::check(&config.authorization)
        );
        [keys, redis, authorization.into_iter().collect()].concat()
    }

    async fn build(&self, config: Config, context: Context) -> Result<Box<dyn Component>, Error> {
        metrics::describe();
        let verifier = Arc::new(Verifier::new(&config.auth, &context.data_dir)?);
        let topics = Arc::new(Topics::new(&context.bus)?);
        let revocations = Arc::new(Revocations::new(config.auth.token_life_max(), topics.clone()));
        let kept = Arc::new(Kept::restore(revocations.clone(), &context.data_dir)?);
        let proxies = Proxies::new(&config.trusted_proxies, config.forwarded_header);
        let endpoints = open_endpoints(&config, &proxies).await?;
        let interest = Arc::new(Interest::new(&config.redis));
        let room_rules = RoomRules::new(&config.joinable_rooms, config.max_rooms);
        let namespaces = Namespaces::new(interest.clone(), config.auth.guests, room_rules);
        let cluster = Cluster::new(&config.redis, namespaces.clone(), interest, revocations.clone());
        let queue_memory = QueueMemory::new(usize::try_from(config.limits.queues.as_u64())?);
        let used = UsedByClients {
            topics: topics.clone(),
            namespaces: namespaces.clone(),
            cluster: cluster.clone(),
            verifier: verifier.clone(),
            queue_memory: queue_memory.clone(),
            revocations,
            authorization: Authorization::new(&config.authorization, HttpClient::new())?,
        };
        let clients = Arc::new(Clients::new(&config, used));
        let max_payload = usize::try_from(config.max_payload.as_u64())?;
        let demo = demo_routes(&config, &context, http::emit_route(self.emitter.clone(), max_payload));
        let (service, io) = gateway::service(&config, proxies, namespaces.clone(), queue_memory, demo);
        config.namespaces.iter().for_each(|name| clients.serve(&io, name));
        let writers = Arc::new(Writers::default());
        let deliveries = Arc::new(deliveries(&config, &context, namespaces, writers.clone(), topics));
        let token_watch = TokenWatch::new(clients.clone(), io.clone());
        let running =
            RunningGateway { deliveries, sockets: Arc::new(LocalSockets::new(io)), cluster, kept: kept.clone() };
        let member = self.member(&running, &config, &context);
        self.emitter.open(running);
        let drain_spread = config.drain_spread;
        let listener = Listener { endpoints, service, clients, writers, token_watch, drain_spread };
        let (admin, emitter) = (http::routes(self.emitter.clone(), max_payload), self.emitter.clone());
        Ok(Box::new(Gateway { config, context, verifier, listener, member, kept, admin, emitter }))
    }
}

async fn open_endpoints(config: &Config, proxies: &Proxies) -> Result<Vec<Endpoint>, Error> {
    let mut endpoints = Vec::new();
    for (prefix, listener) in config.all_listeners() {
        endpoints.push(Endpoint::open((&prefix, &listener), proxies, config.write_timeout).await?);
    }
    Ok(endpoints)
}

fn deliveries(
    config: &Config,
    context: &Context,
    namespaces: Namespaces,
    writers: Arc<Writers>,
    topics: Arc<Topics>,
) -> Deliveries {
    Deliveries {
        shard: context.bus.shard().clone(),
        namespaces,
        writers,
        topics,
        record_deliveries: config.record_deliveries,
        record_data: config.record_message_data,
        counters: Counters::new(),
    }
}

/// The demo page and its routes; empty if the demo is disabled.
fn demo_routes(config: &Config, context: &Context, emit: axum::Router) -> axum::Router {
    if !config.has_demo() {
        return axum::Router::new();
    }
    let (auth, data_dir) = (config.auth.clone(), context.data_dir.clone());
    let mint = move |user: &str| {
        // The secret may have been rotated since the last token.
        let minter = Minter::new(&auth, &data_dir)?;
        let end = UNIX_EPOCH.elapsed().unwrap_or_default() + demo::TOKEN_LIFE;
        let claims = [(minter.user_claim().to_owned(), user.into()), ("exp".to_owned(), end.as_secs().into())];
        minter.mint(claims.into_iter().collect())
    };
    demo::routes(context.bus.clone(), mint, emit, config.socket_io_path())
}

struct Gateway {
    config: Config,
    context: Context,
    verifier: Arc<Verifier>,
    listener: Listener,
    /// `None` without a cluster.
    member: Option<Member>,
    kept: Arc<Kept>,
    admin: axum::Router,
    emitter: Emitter,
}

#[async_trait]
impl Component for Gateway {
    fn routes(&mut self) -> axum::Router {
        self.admin.clone()
    }

    fn announce(&self) -> Vec<(String, String)> {
        let urls: Vec<_> = self.listener.endpoints.iter().map(Endpoint::url).collect();
        let mut lines = vec![("clients".to_owned(), urls.join(", "))];
        if self.config.has_demo() {
            lines.push(("demo page".to_owned(), format!("{}/", urls[0])));
        }
        lines
    }

    async fn run(self: Box<Self>, drain: Drain) -> Result<(), Error> {
        let Self { context, verifier, listener, member, kept, emitter, .. } = *self;
        if let Some(member) = &member {
            member.health.not_ready("connecting to Redis");
        }
        context.health.ready();
        let (over, is_over) = oneshot::channel();
        let clients = async {
            listener.run(drain).await;
            emitter.close();
            drop::<oneshot::Sender<()>>(over);
        };
        // The node remains in the cluster until the last client has gone.
        let cluster = async {
            if let Some(member) = member {
                member.run(is_over.map(drop)).await;
            }
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(clients, cluster) } => {}
            () = verifier.keep_keys_current(&context.health) => {}
            () = kept.run() => {}
        }
        kept.finish().await;
        Ok(())
    }
}
