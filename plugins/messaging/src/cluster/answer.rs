//! Answering the other members, and doing what they want.

use super::Cluster;
use super::ask::first_argument;
use super::protocol::{Answer, ReplyTo, Request, Target};
use crate::emit::Listener;
use crate::event::Event;
use crate::local::Local;
use crate::msgpack::Json;
use crate::outlet::{Acknowledged, Outlet, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// So many requests may wait.
pub(super) const WAITING: usize = 1024;
/// The acknowledgements of so many messages may be passed on at once; those of more are not.
const WITH_ACK: usize = 256;
/// The longest that clients may take to acknowledge, whatever another member says.
const LONGEST: Duration = Duration::from_secs(300);

/// A request that came.
pub(super) struct Asking {
    pub(super) namespace: String,
    pub(super) request: Request,
    pub(super) reply_to: Option<ReplyTo>,
}

/// What it takes to answer.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) local: Arc<Local>,
    pub(crate) listener: Listener,
}

impl Answering {
    /// Answers one request after the other.
    pub(super) async fn run(self, cluster: Arc<Cluster>, mut requests: mpsc::Receiver<Asking>) {
        let mut waiting = JoinSet::new();
        loop {
            let asking = tokio::select! {
                Some(_) = waiting.join_next(), if !waiting.is_empty() => continue,
                asking = requests.recv() => match asking {
                    Some(asking) => asking,
                    None => return,
                },
            };
            match asking {
                Asking { namespace, request: Request::Emit { event, target, timeout }, reply_to: Some(reply_to) } => {
                    if let Some(acks) =
                        self.emit(&cluster, &namespace, event, &target, timeout, &reply_to).filter(|_| waiting.len() < WITH_ACK)
                    {
                        let cluster = cluster.clone();
                        waiting.spawn(async move { cluster.pass_on(&namespace, &reply_to, acks).await });
                    }
                }
                Asking { namespace, request, reply_to } => {
                    if let (Some(answer), Some(reply_to)) = (self.answer(&cluster, &namespace, request), reply_to) {
                        cluster.reply(&namespace, &reply_to, &answer);
                    }
                }
            }
            // Describing sockets takes long where there are many.
            tokio::task::yield_now().await;
        }
    }

    /// Sends an event that is to be acknowledged, and tells to how many.
    fn emit(
        &self,
        cluster: &Cluster,
        namespace: &str,
        event: Event,
        target: &Target,
        timeout: Duration,
        reply_to: &ReplyTo,
    ) -> Option<mpsc::Receiver<Acknowledged>> {
        let fanout = cluster.namespaces.get(namespace)?;
        let source = Source { source: "node", publisher: reply_to.uid(), ..Source::default() };
        let (receipt, acks) = self.outlet.deliver_with_ack(&fanout, namespace, event, target, source, timeout.min(LONGEST));
        cluster.reply(namespace, reply_to, &Answer::Clients(receipt.recipients as u64));
        Some(acks)
    }

    /// Does what is asked. None where who asked expects nothing from this node.
    fn answer(&self, cluster: &Cluster, namespace: &str, request: Request) -> Option<Answer> {
        let fanout = cluster.namespaces.get(namespace)?;
        let done = |sockets: usize| (sockets > 0).then_some(Answer::Done);
        match request {
            Request::Join { target, rooms } => done(fanout.join(&target, &rooms)),
            Request::Leave { target, rooms } => done(fanout.leave(&target, &rooms)),
            Request::Disconnect { target, close } => done(self.local.disconnect(&fanout, &target, close)),
            Request::Sockets(target) => Some(Answer::Sockets(self.local.describe(namespace, &fanout.members(&target)))),
            Request::SocketIds(target) => {
                Some(Answer::SocketIds(fanout.members(&target).sessions().iter().map(|session| session.sid.to_string()).collect()))
            }
            Request::Rooms => Some(Answer::Rooms(fanout.rooms.read().names())),
            Request::RoomsOf(sid) => {
                let members = fanout.members(&Target::room(sid.clone()));
                let session = members.sessions().iter().find(|session| session.sid.to_string() == sid)?;
                Some(Answer::Rooms([vec![sid], session.rooms()].concat()))
            }
            Request::ServerSide(event) => Some(Answer::ServerSide(self.tell(namespace, &event))),
            // Nobody hooks in here: Node answers the same.
            Request::Custom => Some(Answer::ServerSide("null".into())),
            Request::Emit { .. } => None,
        }
    }

    /// Tells the program. Where nobody listens the answer is `null`, so that no caller waits in vain.
    fn tell(&self, namespace: &str, event: &str) -> String {
        let listener = self.listener.read().clone();
        let told = listener.zip(Event::parse(event, Vec::new()).ok());
        told.and_then(|(listen, event)| listen(namespace, &event.name, &event.args())).unwrap_or_else(|| "null".into())
    }
}

impl Cluster {
    fn reply(&self, namespace: &str, to: &ReplyTo, answer: &Answer) {
        let publication = self.protocol.answer(namespace, to, answer).map_err(super::NotReached::from);
        // Where Redis is lost, who asked will know.
        if let Err(why) = publication.and_then(|publication| self.outbox.put(publication, &self.state.borrow())) {
            tracing::debug!(error = %why, "another member gets no answer");
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
