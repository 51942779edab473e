//! Doing what the other members want, and answering them.
//!
//! What changes something is done in the order in which it came, between the messages before and after it; what takes
//! long is answered on a task of its own.

use super::ask::first_argument;
use super::core::Cluster;
use super::protocol::{Answer, Emit, ReplyTo, Request};
use crate::delivery::{Acknowledged, Deliveries, Source};
use crate::event::Event;
use crate::metrics as names;
use crate::msgpack::Json;
use crate::sockets::Local;
use crate::target::Target;
use metrics::counter;
use parking_lot::RwLock;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// So many answers may wait to be given.
pub(super) const ANSWERS_DUE_MAX: usize = 1024;
/// The acknowledgements of so many messages may be passed on at once; those of more are not.
const ACK_RELAYS_MAX: usize = 4096;
/// The longest that clients may take to acknowledge, whatever another member says.
const REMOTE_ACK_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// An answer that is to be given.
pub(super) struct Due {
    namespace: String,
    /// None where nobody waits for it.
    reply_to: Option<ReplyTo>,
    what: What,
}

enum What {
    /// The answer to this.
    Answer(Request),
    /// What clients acknowledge.
    Acks(mpsc::Receiver<Acknowledged>),
}

/// What listens to the programs on other nodes (`serverSideEmit`): namespace, event, arguments; the answer.
pub(crate) type ServerSideHandler = Arc<RwLock<Option<Arc<Listen>>>>;
type Listen = dyn Fn(&str, &str, &str) -> Option<String> + Send + Sync;

/// What it takes to answer.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) local: Arc<Local>,
    pub(crate) server_side: ServerSideHandler,
}

impl Answering {
    /// Does what a request wants to be done; returns the answer that is still due.
    pub(super) fn act(
        &self,
        cluster: &Cluster,
        namespace: String,
        request: Request,
        reply_to: Option<ReplyTo>,
        digest: i64,
    ) -> Option<Due> {
        let here = cluster.namespaces.get(&namespace)?;
        let done = match request {
            Request::Join { target, rooms } => here.join(&target, &rooms),
            Request::Leave { target, rooms } => here.leave(&target, &rooms),
            Request::Disconnect { target, close } => self.local.disconnect(&here, &target, close),
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
                return Some(Due { namespace, reply_to: Some(reply_to), what: What::Acks(acks) });
            }
            request @ Request::ServerSide(_) => return Some(Due { namespace, reply_to, what: What::Answer(request) }),
            request => return Some(Due { namespace, reply_to: Some(reply_to?), what: What::Answer(request) }),
        };
        // Who names one socket is told by the member that has it.
        if let (Some(reply_to), 1..) = (reply_to, done) {
            cluster.reply(&namespace, &reply_to, &Answer::Done);
        }
        None
    }

    /// Gives one answer after the other, until no more can come.
    pub(super) async fn run(self, cluster: Arc<Cluster>, mut due: mpsc::Receiver<Due>) {
        let mut passing = JoinSet::new();
        loop {
            let Due { namespace, reply_to, what } = tokio::select! {
                Some(_) = passing.join_next(), if !passing.is_empty() => continue,
                due = due.recv() => match due {
                    Some(due) => due,
                    None => return,
                },
            };
            match (what, reply_to) {
                (What::Acks(acks), Some(reply_to)) if passing.len() < ACK_RELAYS_MAX => {
                    let cluster = cluster.clone();
                    passing.spawn(async move { cluster.pass_on(&namespace, &reply_to, acks).await });
                }
                (What::Acks(_), _) => counter!(names::REDIS_REFUSED).increment(1),
                (What::Answer(request), reply_to) => {
                    if let (Some(answer), Some(reply_to)) = (self.answer(&cluster, &namespace, request).await, reply_to)
                    {
                        cluster.reply(&namespace, &reply_to, &answer);
                    }
                }
            }
        }
    }

    /// None where who asks expects nothing from this node.
    async fn answer(&self, cluster: &Cluster, namespace: &str, request: Request) -> Option<Answer> {
        let here = cluster.namespaces.get(namespace)?;
        match request {
            Request::Sockets(target) => {
                Some(Answer::Sockets(self.local.describe(namespace, &here.members(&target)).await))
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
            Request::ServerSide(event) => Some(Answer::ServerSide(self.tell(namespace, &event))),
            // Nobody hooks in here: Node answers the same.
            Request::Custom => Some(Answer::ServerSide("null".into())),
            Request::Emit(_) | Request::Join { .. } | Request::Leave { .. } | Request::Disconnect { .. } => None,
        }
    }

    /// Tells the program. Where nobody listens the answer is `null`, so that no caller waits in vain.
    fn tell(&self, namespace: &str, event: &str) -> String {
        let listener = self.server_side.read().clone();
        let told = listener.zip(Event::parse(event, Vec::new()).ok());
        let answer = told.and_then(|(listen, event)| listen(namespace, &event.name, &event.args()));
        answer.filter(|json| serde_json::from_str::<&RawValue>(json).is_ok()).unwrap_or_else(|| "null".into())
    }
}

impl Cluster {
    fn reply(&self, namespace: &str, to: &ReplyTo, answer: &Answer) {
        let publication = self.protocol.answer(namespace, to, answer).map_err(super::reach::NotReached::from);
        // Also while this node is only just coming in: who asks has counted it already.
        if let Err(why) = publication.and_then(|publication| self.publish_queue.put(publication)) {
            self.unanswered
                .say(|more| tracing::warn!(error = %why, more, "another member of the cluster gets no answer"));
        }
    }

    /// Tells another member what clients acknowledge.
    async fn pass_on(&self, namespace: &str, to: &ReplyTo, mut acks: mpsc::Receiver<Acknowledged>) {
        while let Some(acknowledged) = acks.recv().await {
            if let Some(value) = acknowledged {
                let (text, attachments) = first_argument(&value);
                self.reply(namespace, to, &Answer::Ack(Json { text, attachments, placed: Vec::new() }));
            }
        }
    }
}
