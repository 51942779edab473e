//! Publishing messages, and asking the cluster, for other parts of the program.

use crate::cluster::protocol::{Emit, Request};
use crate::cluster::{AckReport, Cluster, Gathered, NotReached, Published, ServerSideHandler, Unreached};
use crate::delivery::{Deliveries, Receipt, Source};
use crate::event::{Event, RESERVED};
use crate::namespace::Namespace;
use crate::remote_socket::RemoteSocket;
use crate::sockets::Local;
use crate::target::Target;
use greyhound_sdk::NotDurable;
use parking_lot::RwLock;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// How long the subscriptions of rooms may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that clients may take to acknowledge.
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A message to be published.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The event's name.
    pub event: &'a str,
    /// The event's arguments, each JSON.
    pub args: &'a [Box<RawValue>],
    /// Whom it is for.
    pub to: To<'a>,
    /// Those who cannot take it at once do without.
    pub volatile: bool,
    /// How it came, as in the column `source`.
    pub source: &'static str,
    /// Who published it, where known.
    pub publisher: Option<&'a str>,
}

/// Some sockets of a namespace, on all nodes. A socket's id is also the name of a room that it is alone in.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The namespace, such as `/`.
    pub namespace: &'a str,
    /// Those in any of these rooms; empty: everybody in the namespace.
    pub rooms: &'a [String],
    /// But none that is in one of these.
    pub except: &'a [String],
}

/// A message that was sent on this node, and is on its way to the others.
pub struct Emission {
    /// What became of it here.
    pub receipt: Receipt,
    deliveries: Arc<Deliveries>,
    published: Option<Result<Published, NotReached>>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The gateway is not running (yet, or any more).
    #[error("the gateway is not running")]
    NotRunning,
    /// The namespace is not configured.
    #[error("no namespace `{0}`; plugins.messaging.namespaces names those there are")]
    UnknownNamespace(String),
    /// The event is one of socket.io's own.
    #[error("the event `{0}` is socket.io's own; choose another name")]
    Reserved(String),
    /// The other nodes were not reached, and what was asked concerns them.
    #[error(transparent)]
    Unreached(#[from] Unreached),
}

/// What was done to sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// How many sockets of this node it was done to. Nobody knows how many of the others: their nodes do not tell.
    pub here: usize,
    /// Whether the other nodes were told, or else it was done on this node alone.
    pub cluster: Result<(), Unreached>,
}

/// Publishes messages and asks the cluster. Cheap to clone; usable as soon as the gateway runs.
#[derive(Clone, Default)]
pub struct Emitter {
    gate: Arc<RwLock<Option<Gate>>>,
    server_side: ServerSideHandler,
}

/// What an emitter leads to.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) local: Arc<Local>,
    /// None where this node is alone.
    pub(crate) cluster: Option<Arc<Cluster>>,
}

impl Emitter {
    pub(crate) fn open(&self, gate: Gate) {
        *self.gate.write() = Some(gate);
    }

    pub(crate) fn close(&self) {
        *self.gate.write() = None;
    }

    pub(crate) fn server_side(&self) -> ServerSideHandler {
        self.server_side.clone()
    }

    fn gate(&self) -> Result<Gate, EmitError> {
        self.gate.read().clone().ok_or(EmitError::NotRunning)
    }

    fn to(&self, to: To<'_>) -> Result<(Gate, Arc<Namespace>, Target), EmitError> {
        let gate = self.gate()?;
        let namespace = gate
            .deliveries
            .namespaces
            .get(to.namespace)
            .ok_or_else(|| EmitError::UnknownNamespace(to.namespace.to_owned()))?;
        let target = Target { rooms: to.rooms.to_vec(), except: to.except.to_vec(), volatile: false };
        Ok((gate, namespace, target))
    }

    /// Sends a message to the sockets of this node, records it, and lets it go to the other nodes.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then.
    pub fn emit(&self, message: &Message<'_>) -> Result<Emission, EmitError> {
        let (gate, namespace, mut target) = self.to(message.to)?;
        target.volatile = message.volatile;
        let event = event(message)?;
        let prepared = gate.deliveries.prepare(&namespace, event, &target, source(message));
        let published = gate
            .cluster
            .as_ref()
            .map(|cluster| cluster.publish(namespace.name(), prepared.event(), &target, prepared.id().as_deref()));
        let receipt = prepared.send();
        Ok(Emission { receipt, deliveries: gate.deliveries, published })
    }

    /// Sends a message to sockets of all nodes, records it here, and waits for their acknowledgements.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then.
    pub async fn emit_with_ack(
        &self,
        message: &Message<'_>,
        timeout: Duration,
    ) -> Result<(Emission, AckReport), EmitError> {
        let (gate, namespace, target) = self.to(message.to)?;
        let (event, name) = (event(message)?, message.to.namespace);
        let timeout = timeout.min(ACK_TIMEOUT_MAX);
        let (receipt, local) =
            gate.deliveries.send_with_ack(&namespace, event.clone(), &target, source(message), timeout);
        let origin = receipt.seq.map(|seq| gate.deliveries.id(seq));
        let asked = match &gate.cluster {
            Some(cluster) => Some(cluster.ask_for_acks(name, Emit { event, target, timeout, origin }).await),
            None => None,
        };
        let acks = AckReport::gather(receipt.recipients, local, asked, timeout).await;
        Ok((Emission { receipt, deliveries: gate.deliveries, published: None }, acks))
    }

    /// The sockets that a message would go to: those of this node, and those of the others.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn sockets(&self, to: To<'_>) -> Result<(Vec<RemoteSocket>, Gathered<RemoteSocket>), EmitError> {
        let (gate, namespace, target) = self.to(to)?;
        let local = gate.local.describe(to.namespace, &namespace.members(&target)).await;
        let remote = match &gate.cluster {
            Some(cluster) => cluster.sockets(to.namespace, target).await,
            None => Gathered::complete(Vec::new()),
        };
        Ok((local, remote))
    }

    /// The rooms of all nodes, those of single sockets (their ids) as well, in alphabetical order.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn rooms(&self, namespace: &str) -> Result<Gathered<String>, EmitError> {
        let (gate, namespace, _) = self.to(To { namespace, rooms: &[], except: &[] })?;
        let local = namespace.rooms.read().names();
        let mut rooms = match &gate.cluster {
            Some(cluster) => cluster.rooms(namespace.name(), local).await,
            None => Gathered::complete(local),
        };
        rooms.items.sort_unstable();
        rooms.items.dedup();
        Ok(rooms)
    }

    /// How many nodes there are, this one included.
    ///
    /// # Errors
    /// [`EmitError`]; [`EmitError::Unreached`] if nobody knows.
    pub async fn nodes(&self, namespace: &str) -> Result<usize, EmitError> {
        let (gate, ..) = self.to(To { namespace, rooms: &[], except: &[] })?;
        match &gate.cluster {
            Some(cluster) => Ok(cluster.nodes(namespace).await.map_err(Unreached::from)?),
            None => Ok(1),
        }
    }

    /// Lets sockets of all nodes join `rooms`.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn join(&self, to: To<'_>, rooms: &[String]) -> Result<Touched, EmitError> {
        let (gate, namespace, target) = self.to(to)?;
        let here = namespace.join(&target, rooms);
        let told = gate.tell(to.namespace, &Request::Join { target, rooms: rooms.to_vec() }).await;
        if let Some(cluster) = &gate.cluster {
            // What is published to the rooms from now on comes here.
            let _ = tokio::time::timeout(SUBSCRIBE_TIMEOUT, cluster.wait_until_covered(to.namespace, rooms)).await;
        }
        Ok(Touched { here, cluster: told })
    }

    /// Lets sockets of all nodes leave `rooms`.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn leave(&self, to: To<'_>, rooms: &[String]) -> Result<Touched, EmitError> {
        let (gate, namespace, target) = self.to(to)?;
        let here = namespace.leave(&target, rooms);
        Ok(Touched { here, cluster: gate.tell(to.namespace, &Request::Leave { target, rooms: rooms.to_vec() }).await })
    }

    /// Disconnects sockets of all nodes from the namespace, or closes their connections.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn disconnect(&self, to: To<'_>, close: bool) -> Result<Touched, EmitError> {
        let (gate, namespace, target) = self.to(to)?;
        let here = gate.local.disconnect(&namespace, &target, close);
        Ok(Touched { here, cluster: gate.tell(to.namespace, &Request::Disconnect { target, close }).await })
    }

    /// Tells the programs on the other nodes an event (`serverSideEmit`), not their clients.
    ///
    /// # Errors
    /// [`EmitError`]; [`EmitError::Unreached`] if the other nodes were not told.
    pub async fn server_side_emit(
        &self,
        namespace: &str,
        event: &str,
        args: &[Box<RawValue>],
    ) -> Result<(), EmitError> {
        let (gate, ..) = self.to(To { namespace, rooms: &[], except: &[] })?;
        Ok(gate.tell(namespace, &Request::ServerSide(Event::new(event, args).text)).await?)
    }

    /// Tells the programs on the other nodes an event and gathers their answers, each JSON.
    ///
    /// # Errors
    /// [`EmitError`].
    pub async fn server_side_emit_with_ack(
        &self,
        namespace: &str,
        event: &str,
        args: &[Box<RawValue>],
    ) -> Result<Gathered<String>, EmitError> {
        let (gate, ..) = self.to(To { namespace, rooms: &[], except: &[] })?;
        Ok(match &gate.cluster {
            Some(cluster) => cluster.server_side(namespace, Event::new(event, args).text).await,
            None => Gathered::complete(Vec::new()),
        })
    }

    /// Listens to what the programs on other nodes tell (`serverSideEmit`): `listen` gets the namespace, the event's
    /// name and its arguments as a JSON array, and returns an answer in JSON for those who want one. One listener; must
    /// not block. It may be set before the gateway runs.
    pub fn on_server_side(&self, listen: impl Fn(&str, &str, &str) -> Option<String> + Send + Sync + 'static) {
        *self.server_side.write() = Some(Arc::new(listen));
    }
}

impl Gate {
    /// Lets the other members do something.
    async fn tell(&self, namespace: &str, request: &Request) -> Result<(), Unreached> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        Ok(cluster.tell(namespace, request)?.done().await?)
    }
}

impl Emission {
    /// The message's id: its shard and the number of its row. None where the bus is closed.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        Some(self.deliveries.id(self.receipt.seq?))
    }

    /// Waits until the message's row is durable.
    ///
    /// # Errors
    /// [`NotDurable`] where it was lost; a gap is recorded.
    pub async fn durable(&self) -> Result<(), NotDurable> {
        self.deliveries.durable(self.receipt).await
    }

    /// Waits until the message is published to the other nodes. None where there is no cluster.
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
