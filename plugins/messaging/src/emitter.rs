//! The interface for other parts of the program: publishes messages, sends requests to the cluster, and revokes tokens.

mod revocation;

use crate::cluster::protocol::{Emit, Request};
use crate::cluster::{AckReport, Cluster, Gathered, NotReached, Published, ServerSideHandler, Unreached};
use crate::delivery::{Deliveries, Receipt, Source};
use crate::event::Event;
use crate::event_names::RESERVED;
use crate::namespace::Namespace;
use crate::remote_socket::RemoteSocket;
use crate::revocation::{Full, Kept};
use crate::sockets::LocalSockets;
use crate::target::Target;
use greyhound_sdk::NotDurable;
use parking_lot::RwLock;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// Time to wait for the subscriptions of joined rooms.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Limit for the timeout of acknowledgements.
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A message to be published.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The event's name.
    pub event: &'a str,
    /// The event's arguments, each JSON.
    pub args: &'a [Box<RawValue>],
    /// The recipients.
    pub to: To<'a>,
    /// Whether to drop the message for clients that cannot receive it immediately.
    pub volatile: bool,
    /// The value of the column `source`.
    pub source: &'static str,
    /// The publisher, if known.
    pub publisher: Option<&'a str>,
}

/// Some sockets of a namespace on all nodes. Each socket is also alone in a room named by its id.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The namespace, such as `/`.
    pub namespace: &'a str,
    /// The sockets in any of these rooms; if empty, all sockets of the namespace.
    pub rooms: &'a [String],
    /// Without the sockets in any of these rooms.
    pub except: &'a [String],
}

/// A message that was sent on this node and queued for the other nodes.
pub struct Emission {
    /// The result on this node.
    pub receipt: Receipt,
    deliveries: Arc<Deliveries>,
    published: Option<Result<Published, NotReached>>,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The gateway is not yet running, or has stopped.
    #[error("the gateway is not running")]
    NotRunning,
    /// The namespace is not configured.
    #[error("unknown namespace `{0}`: use one of plugins.messaging.namespaces")]
    UnknownNamespace(String),
    /// The name of the event is reserved by socket.io.
    #[error("the event name `{0}` is reserved by socket.io: choose another one")]
    Reserved(String),
    /// The other nodes were not reached.
    #[error(transparent)]
    Unreached(#[from] Unreached),
    /// The node remembers as many revocations as it can.
    #[error(transparent)]
    TooManyRevocations(#[from] Full),
    /// The revocation holds until this node is restarted, but is not durable.
    #[error("the revocation is not durable: {0}; this node refuses the tokens until it is restarted")]
    NotDurable(String),
    /// There is no such revocation.
    #[error("nothing to withdraw: there is no such revocation")]
    NotRevoked,
}

/// The result of an operation on sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketsChanged {
    /// Number of affected sockets on this node. The other nodes do not report theirs.
    pub here: usize,
    /// Whether the request was published to the other nodes. If not, only sockets of this node are affected.
    pub cluster: Result<(), Unreached>,
}

/// Publishes messages, and sends requests to the cluster. Cheap to clone. Usable as soon as the gateway runs.
#[derive(Clone, Default)]
pub struct Emitter {
    gateway: Arc<RwLock<Option<RunningGateway>>>,
    server_side: ServerSideHandler,
}

/// The parts of the running gateway that an emitter uses.
#[derive(Clone)]
pub(crate) struct RunningGateway {
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) sockets: Arc<LocalSockets>,
    /// `None` without a cluster.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) kept: Arc<Kept>,
}

impl Emitter {
    pub(crate) fn open(&self, gateway: RunningGateway) {
        *self.gateway.write() = Some(gateway);
    }

    pub(crate) fn close(&self) {
        *self.gateway.write() = None;
    }

    pub(crate) fn server_side(&self) -> ServerSideHandler {
        self.server_side.clone()
    }

    fn gateway(&self) -> Result<RunningGateway, EmitError> {
        self.gateway.read().clone().ok_or(EmitError::NotRunning)
    }

    fn to(&self, to: To<'_>) -> Result<(RunningGateway, Arc<Namespace>, Target), EmitError> {
        let gateway = self.gateway()?;
        let namespace = gateway
            .deliveries
            .namespaces
            .get(to.namespace)
            .ok_or_else(|| EmitError::UnknownNamespace(to.namespace.to_owned()))?;
        let target = Target { rooms: to.rooms.to_vec(), except: to.except.to_vec(), volatile: false };
        Ok((gateway, namespace, target))
    }

    /// Records a message, publishes it to the other nodes, and sends it to the sockets of this node.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then.
    pub fn emit(&self, message: &Message<'_>) -> Result<Emission, EmitError> {
        let (gateway, namespace, mut target) = self.to(message.to)?;
        target.volatile = message.volatile;
        let event = event(message)?;
        let prepared = gateway.deliveries.prepare(&namespace, event, &target, source(message));
        let published = gateway
            .cluster
            .as_ref()
            .map(|cluster| cluster.publish(namespace.name(), prepared.event(), &target, prepared.id().as_deref()));
        let receipt = prepared.send();
        Ok(Emission { receipt, deliveries: gateway.deliveries, published })
    }

    /// Records a message, sends it to sockets of all nodes, and waits for their acknowledgements.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then.
    pub async fn emit_with_ack(
        &self,
        message: &Message<'_>,
        timeout: Duration,
    ) -> Result<(Emission, AckReport), EmitError> {
        let (gateway, namespace, target) = self.to(message.to)?;
        let (event, name) = (event(message)?, message.to.namespace);
        let timeout = timeout.min(ACK_TIMEOUT_MAX);
        let (receipt, local) =
            gateway.deliveries.send_with_ack(&namespace, event.clone(), &target, source(message), timeout);
        let origin = receipt.seq.map(|seq| gateway.deliveries.id(seq));
        let asked = match &gateway.cluster {
            Some(cluster) => Some(cluster.ask_for_acks(name, Emit { event, target, timeout, origin }).await),
            None => None,
        };
        let acks = AckReport::gather(receipt.recipients, local, asked, timeout).await;
        Ok((Emission { receipt, deliveries: gateway.deliveries, published: None }, acks))
    }

    /// The sockets that `to` selects: those of this node, and those of the other nodes.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn sockets(&self, to: To<'_>) -> Result<(Vec<RemoteSocket>, Gathered<RemoteSocket>), EmitError> {
        let (gateway, namespace, target) = self.to(to)?;
        let local = gateway.sockets.describe(to.namespace, &namespace.members(&target)).await;
        let remote = match &gateway.cluster {
            Some(cluster) => cluster.sockets(to.namespace, target).await,
            None => Gathered::complete(Vec::new()),
        };
        Ok((local, remote))
    }

    /// The rooms of all nodes in alphabetical order, including those named by the ids of sockets.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn rooms(&self, namespace: &str) -> Result<Gathered<String>, EmitError> {
        let (gateway, namespace, _) = self.to(To { namespace, rooms: &[], except: &[] })?;
        let local = namespace.rooms.read().names();
        let mut rooms = match &gateway.cluster {
            Some(cluster) => cluster.rooms(namespace.name(), local).await,
            None => Gathered::complete(local),
        };
        rooms.items.sort_unstable();
        rooms.items.dedup();
        Ok(rooms)
    }

    /// Number of nodes, including this one.
    ///
    /// # Errors
    /// [`EmitError`]; [`EmitError::Unreached`] if the number is unknown.
    pub async fn nodes(&self, namespace: &str) -> Result<usize, EmitError> {
        let (gateway, ..) = self.to(To { namespace, rooms: &[], except: &[] })?;
        match &gateway.cluster {
            Some(cluster) => Ok(cluster.nodes(namespace).await.map_err(Unreached::from)?),
            None => Ok(1),
        }
    }

    /// Adds sockets of all nodes to `rooms`.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn join(&self, to: To<'_>, rooms: &[String]) -> Result<SocketsChanged, EmitError> {
        let (gateway, namespace, target) = self.to(to)?;
        let here = namespace.join(&target, rooms);
        let cluster = gateway.send_request(to.namespace, &Request::Join { target, rooms: rooms.to_vec() }).await;
        if let Some(cluster) = &gateway.cluster {
            // Afterwards this node receives what is published to the rooms.
            let _ = tokio::time::timeout(SUBSCRIBE_TIMEOUT, cluster.wait_until_covered(to.namespace, rooms)).await;
        }
        Ok(SocketsChanged { here, cluster })
    }

    /// Removes sockets of all nodes from `rooms`.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn leave(&self, to: To<'_>, rooms: &[String]) -> Result<SocketsChanged, EmitError> {
        let (gateway, namespace, target) = self.to(to)?;
        let here = namespace.leave(&target, rooms);
        Ok(SocketsChanged {
            here,
            cluster: gateway.send_request(to.namespace, &Request::Leave { target, rooms: rooms.to_vec() }).await,
        })
    }

    /// Disconnects sockets of all nodes from the namespace. If `close`, also closes their connections.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn disconnect(&self, to: To<'_>, close: bool) -> Result<SocketsChanged, EmitError> {
        let (gateway, namespace, target) = self.to(to)?;
        let here = gateway.sockets.disconnect(&namespace, &target, close);
        Ok(SocketsChanged {
            here,
            cluster: gateway.send_request(to.namespace, &Request::Disconnect { target, close }).await,
        })
    }

    /// Sends an event to the programs on the other nodes (`serverSideEmit`), not to their clients.
    ///
    /// # Errors
    /// [`EmitError`]; [`EmitError::Unreached`] if the event was not published.
    pub async fn server_side_emit(
        &self,
        namespace: &str,
        event: &str,
        args: &[Box<RawValue>],
    ) -> Result<(), EmitError> {
        let (gateway, ..) = self.to(To { namespace, rooms: &[], except: &[] })?;
        Ok(gateway.send_request(namespace, &Request::ServerSide(Event::new(event, args).text)).await?)
    }

    /// Sends an event to the programs on the other nodes and gathers their answers, each JSON.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn server_side_emit_with_ack(
        &self,
        namespace: &str,
        event: &str,
        args: &[Box<RawValue>],
    ) -> Result<Gathered<String>, EmitError> {
        let (gateway, ..) = self.to(To { namespace, rooms: &[], except: &[] })?;
        Ok(match &gateway.cluster {
            Some(cluster) => cluster.server_side(namespace, Event::new(event, args).text).await,
            None => Gathered::complete(Vec::new()),
        })
    }

    /// Sets the handler of events from programs on other nodes (`serverSideEmit`). `listen` gets the namespace, the
    /// event's name and its arguments as a JSON array, and may return an answer in JSON. It must not block. There is one
    /// handler; it may be set before the gateway runs.
    pub fn on_server_side(&self, listen: impl Fn(&str, &str, &str) -> Option<String> + Send + Sync + 'static) {
        *self.server_side.write() = Some(Arc::new(listen));
    }
}

impl RunningGateway {
    /// Sends a request without an answer to the other members, and waits until it is published.
    async fn send_request(&self, namespace: &str, request: &Request) -> Result<(), Unreached> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        Ok(cluster.send_request(namespace, request)?.done().await?)
    }
}

impl Emission {
    /// The message's id: its shard and the number of its row. `None` if the bus is closed.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        Some(self.deliveries.id(self.receipt.seq?))
    }

    /// Waits until the message's row is durable.
    ///
    /// # Errors
    /// [`NotDurable`] if it was lost; then a gap is recorded.
    pub async fn durable(&self) -> Result<(), NotDurable> {
        self.deliveries.durable(self.receipt).await
    }

    /// Waits until the message is published to the other nodes. `None` without a cluster.
    pub async fn reached(self) -> Option<Result<(), Unreached>> {
        Some(match self.published? {
            Ok(published) => published.done().await.map_err(Unreached::from),
            Err(why) => Err(why.into()),
        })
    }
}

fn event(message: &Message<'_>) -> Result<Event, EmitError> {
    match RESERVED.contains(&message.event) {
        true => Err(EmitError::Reserved(message.event.to_owned())),
        false => Ok(Event::new(message.event, message.args)),
    }
}

fn source<'a>(message: &Message<'a>) -> Source<'a> {
    Source { source: message.source, publisher: message.publisher, ..Source::default() }
}
