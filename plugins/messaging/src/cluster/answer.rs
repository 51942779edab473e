//! Handles the requests of the other members.
//!
//! Requests that change something are executed in the order of their arrival, between the messages before and after
//! them. Queries, and acknowledgements, are answered by a separate task.

use super::ask::first_argument;
use super::core::Cluster;
use super::protocol::{Answer, Emit, ReplyTo, Request};
use crate::delivery::{Acknowledged, Deliveries, Source};
use crate::event::Event;
use crate::metrics as names;
use crate::msgpack::Json;
use crate::sockets::LocalSockets;
use crate::target::Target;
use metrics::counter;
use parking_lot::RwLock;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Maximum number of queued answers.
pub(super) const QUEUED_ANSWERS_MAX: usize = 1024;
/// Maximum number of messages whose acknowledgements are relayed at the same time. Others are not relayed.
const ACK_RELAYS_MAX: usize = 4096;
/// Limit for the acknowledgement timeout in another member's request.
const REMOTE_ACK_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// An answer to another member that is still to be given.
pub(super) struct QueuedAnswer {
    namespace: String,
    /// `None` if nobody waits for the answer.
    reply_to: Option<ReplyTo>,
    content: Content,
}

enum Content {
    /// The answer to this request.
    Answer(Request),
    /// The acknowledgements of clients.
    Acks(mpsc::Receiver<Acknowledged>),
}

/// Handles the events of programs on other nodes (`serverSideEmit`): takes namespace, event and arguments, and returns
/// the answer.
pub(crate) type ServerSideHandler = Arc<RwLock<Option<Arc<Listen>>>>;
type Listen = dyn Fn(&str, &str, &str) -> Option<String> + Send + Sync;

/// Handles the requests of other members.
#[derive(Clone)]
pub(crate) struct RequestHandler {
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) sockets: Arc<LocalSockets>,
    pub(crate) server_side: ServerSideHandler,
}

impl RequestHandler {
    /// Executes a request. Returns the answer if it is still to be given.
    pub(super) fn handle(
        &self,
        cluster: &Cluster,
        namespace: String,
        request: Request,
        reply_to: Option<ReplyTo>,
        digest: i64,
    ) -> Option<QueuedAnswer> {
        let here = cluster.namespaces.get(&namespace)?;
        let done = match request {
            Request::Join { target, rooms } => here.join(&target, &rooms),
            Request::Leave { target, rooms } => here.leave(&target, &rooms),
            Request::Disconnect { target, close } => self.sockets.disconnect(&here, &target, close),
            Request::Emit(emit) => {
                let reply_to = reply_to?;
                let Emit { event, target, timeout, origin } = emit;
                let source = Source {
                    source: if origin.is_some() { "greyhound" } else { "node" },
                    publisher: reply_to.uid(),
                    digest: origin.is_none().then_some(digest),
                    origin: origin.as_deref(),
                    copies: None,
                };
                let timeout = timeout.min(REMOTE_ACK_TIMEOUT_MAX);
                let (receipt, acks) = self.deliveries.send_with_ack(&here, event, &target, source, timeout);
                cluster.reply(&namespace, &reply_to, &Answer::Clients(receipt.recipients as u64));
                return Some(QueuedAnswer { namespace, reply_to: Some(reply_to), content: Content::Acks(acks) });
            }
            request @ Request::ServerSide(_) => {
                return Some(QueuedAnswer { namespace, reply_to, content: Content::Answer(request) });
            }
            request => {
                return Some(QueuedAnswer { namespace, reply_to: Some(reply_to?), content: Content::Answer(request) });
            }
        };
        // If the request names one socket, only the member that has the socket answers.
        if let (Some(reply_to), 1..) = (reply_to, done) {
            cluster.reply(&namespace, &reply_to, &Answer::Done);
        }
        None
    }

    /// Gives the queued answers one after the other until the queue is closed.
    pub(super) async fn run(self, cluster: Arc<Cluster>, mut due: mpsc::Receiver<QueuedAnswer>) {
        let mut relays = JoinSet::new();
        loop {
            let QueuedAnswer { namespace, reply_to, content } = tokio::select! {
                Some(_) = relays.join_next(), if !relays.is_empty() => continue,
                due = due.recv() => match due {
                    Some(due) => due,
                    None => return,
                },
            };
            match (content, reply_to) {
                (Content::Acks(acks), Some(reply_to)) if relays.len() < ACK_RELAYS_MAX => {
                    let cluster = cluster.clone();
                    relays.spawn(async move { cluster.relay_acks(&namespace, &reply_to, acks).await });
                }
                (Content::Acks(_), _) => counter!(names::REDIS_REFUSED).increment(1),
                (Content::Answer(request), reply_to) => {
                    if let (Some(answer), Some(reply_to)) = (self.answer(&cluster, &namespace, request).await, reply_to)
                    {
                        cluster.reply(&namespace, &reply_to, &answer);
                    }
                }
            }
        }
    }

    /// `None` if the requester expects no answer from this node.
    async fn answer(&self, cluster: &Cluster, namespace: &str, request: Request) -> Option<Answer> {
        let here = cluster.namespaces.get(namespace)?;
        match request {
            Request::Sockets(target) => {
                Some(Answer::Sockets(self.sockets.describe(namespace, &here.members(&target)).await))
            }
            Request::SocketIds(target) => Some(Answer::SocketIds(
                here.members(&target).sessions().iter().map(|session| session.sid.to_string()).collect(),
            )),
            Request::Rooms => Some(Answer::Rooms(here.rooms.read().names())),
            Request::RoomsOf(sid) => {
                let members = here.members(&Target::room(sid.clone()));
                let session = members.sessions().iter().find(|session| session.sid.to_string() == sid)?;
                Some(Answer::Rooms([vec![sid], session.user().rooms()].concat()))
            }
            Request::ServerSide(event) => Some(Answer::ServerSide(self.server_side_answer(namespace, &event))),
            // There are no hooks for custom requests. Node answers the same.
            Request::Custom => Some(Answer::ServerSide("null".into())),
            Request::Emit(_) | Request::Join { .. } | Request::Leave { .. } | Request::Disconnect { .. } => None,
        }
    }

    /// Calls the handler of server-side events. Without a handler the answer is `null`, so that no caller waits in vain.
    fn server_side_answer(&self, namespace: &str, event: &str) -> String {
        let listener = self.server_side.read().clone();
        let event = Event::parse(event, Vec::new()).ok();
        let answer = listener.zip(event).and_then(|(listen, event)| listen(namespace, &event.name, &event.args()));
        answer.filter(|json| serde_json::from_str::<&RawValue>(json).is_ok()).unwrap_or_else(|| "null".into())
    }
}

impl Cluster {
    fn reply(&self, namespace: &str, to: &ReplyTo, answer: &Answer) {
        let publication = self.protocol.answer(namespace, to, answer).map_err(super::reach::NotReached::from);
        // Also before the state is `Up`: the requester may have counted this node already.
        if let Err(why) = publication.and_then(|publication| self.publish_queue.put(publication)) {
            self.unanswered_log.log(
                |more| tracing::warn!(error = %why, more, "a request of another member of the cluster is not answered"),
            );
        }
    }

    /// Sends the acknowledgements of clients to another member.
    async fn relay_acks(&self, namespace: &str, to: &ReplyTo, mut acks: mpsc::Receiver<Acknowledged>) {
        while let Some(acknowledged) = acks.recv().await {
            if let Some(value) = acknowledged {
                let (text, attachments) = first_argument(&value);
                self.reply(namespace, to, &Answer::Ack(Json { text, attachments, placed: Vec::new() }));
            }
        }
    }
}
