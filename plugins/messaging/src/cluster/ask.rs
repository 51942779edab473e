//! Asking the other members, and waiting for all of them to answer.

use super::core::{Cluster, random};
use super::protocol::{Answer, Emit, Request};
use super::publish_queue::Published;
use super::reach::{NotReached, Unreached};
use crate::delivery::Acknowledged;
use crate::event::inline;
use crate::remote_socket::RemoteSocket;
use crate::target::Target;
use socketioxide_core::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long the other members may take, as Node's adapter waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// So many answers to one request may wait; what comes beyond is lost, and the answer incomplete.
const ANSWERS_WAITING_MAX: usize = 1 << 16;

/// What all nodes said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered<T> {
    /// What they said.
    pub items: Vec<T>,
    /// Whether all answered.
    pub complete: bool,
}

/// What clients acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckReport {
    /// The first argument of each acknowledgement, in JSON, binary data as base64 texts.
    pub values: Vec<String>,
    /// To how many sockets the message went.
    pub expected: usize,
    /// Whether all nodes, and all these sockets, answered.
    pub complete: bool,
    /// Whether the other nodes were asked; none where this node is alone.
    pub cluster: Option<Result<(), Unreached>>,
}

/// A request under way; its answers are listened to until this is dropped.
pub(crate) struct Asked {
    cluster: Arc<Cluster>,
    id: String,
    answers: mpsc::Receiver<Answer>,
    /// How many members are to answer.
    others: usize,
    deadline: Instant,
    /// Whether it can be complete at all.
    reached: bool,
}

impl<T> Gathered<T> {
    pub(crate) fn complete(items: Vec<T>) -> Self {
        Self { items, complete: true }
    }
}

impl Cluster {
    /// Lets the other members do something that they do not answer.
    pub(crate) fn tell(&self, namespace: &str, request: &Request) -> Result<Published, NotReached> {
        self.put(self.protocol.request(namespace, request, None)?)
    }

    /// How many members there are.
    pub(crate) async fn nodes(&self, namespace: &str) -> Result<usize, NotReached> {
        let lost = || NotReached::Down("the connection is lost".into());
        let redis = self.connection().ok_or_else(lost)?;
        redis
            .subscribers(&self.protocol.counted(namespace), self.protocol.sharded())
            .await
            .map_err(|e| NotReached::Refused(e.why))
    }

    /// The sockets of the other members.
    pub(crate) async fn sockets(self: &Arc<Self>, namespace: &str, target: Target) -> Gathered<RemoteSocket> {
        let asked = self.ask(namespace, &Request::Sockets(target)).await;
        asked
            .gather(Vec::new(), |answer| if let Answer::Sockets(sockets) = answer { sockets } else { Vec::new() })
            .await
    }

    /// The rooms of all members, those of this one being `local`.
    pub(crate) async fn rooms(self: &Arc<Self>, namespace: &str, local: Vec<String>) -> Gathered<String> {
        // The sharded protocol has no request for rooms.
        let request = if self.protocol.sharded() { Request::Sockets(Target::default()) } else { Request::Rooms };
        let rooms = |answer| match answer {
            Answer::Rooms(rooms) => rooms,
            Answer::Sockets(sockets) => sockets.into_iter().flat_map(|socket| socket.rooms).collect(),
            _ => Vec::new(),
        };
        self.ask(namespace, &request).await.gather(local, rooms).await
    }

    /// Tells the programs of the other members an event, `["name",arg,...]`, and gathers what they answer.
    pub(crate) async fn server_side(self: &Arc<Self>, namespace: &str, event: String) -> Gathered<String> {
        let asked = self.ask(namespace, &Request::ServerSide(event)).await;
        asked
            .gather(Vec::new(), |answer| if let Answer::ServerSide(value) = answer { vec![value] } else { Vec::new() })
            .await
    }

    /// Lets the other members send an event to their clients and tell what these acknowledge.
    ///
    /// # Errors
    /// Where they cannot be asked: a member before 7.1 crashes of this request.
    pub(crate) async fn ask_for_acks(self: &Arc<Self>, namespace: &str, emit: Emit) -> Result<Asked, NotReached> {
        let members = self.nodes(namespace).await?;
        if let (Some(glob), Some(redis), 2..) = (self.protocol.understanding(namespace), self.connection(), members) {
            let understanding = redis.channels(&glob).await.map_err(|e| NotReached::Refused(e.why))?.len();
            if understanding < members {
                self.old_member.say(|more| tracing::warn!(members, understanding, more, "{}", NotReached::OldMember));
                return Err(NotReached::OldMember);
            }
        }
        let timeout = emit.timeout;
        let mut asked = self.asked(members, timeout);
        asked.publish(namespace, &Request::Emit(emit)).await?;
        asked.reached = true;
        Ok(asked)
    }

    /// Asks the other members.
    async fn ask(self: &Arc<Self>, namespace: &str, request: &Request) -> Asked {
        let Ok(members) = self.nodes(namespace).await else { return self.asked(1, ANSWER_TIMEOUT) };
        let mut asked = self.asked(members, ANSWER_TIMEOUT);
        asked.reached = asked.others == 0 || asked.publish(namespace, request).await.is_ok();
        asked
    }

    /// A request that is not yet published, to so many members, this one included.
    fn asked(self: &Arc<Self>, members: usize, patience: Duration) -> Asked {
        let id = id();
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        self.pending.0.lock().insert(id.clone(), sender);
        Asked {
            cluster: self.clone(),
            id,
            answers,
            others: members.saturating_sub(1),
            deadline: Instant::now() + patience,
            reached: false,
        }
    }
}

impl Asked {
    async fn publish(&self, namespace: &str, request: &Request) -> Result<(), NotReached> {
        let publication = self.cluster.protocol.request(namespace, request, Some(&self.id))?;
        self.cluster.put(publication)?.done().await
    }

    /// Adds to `items` what `of` finds in one answer of each member.
    async fn gather<T>(mut self, items: Vec<T>, of: impl Fn(Answer) -> Vec<T>) -> Gathered<T> {
        let mut all = Gathered { items, complete: self.reached };
        let mut silent = if self.reached { self.others } else { 0 };
        while silent > 0 && all.complete {
            match timeout_at(self.deadline, self.answers.recv()).await {
                Ok(Some(answer)) => all.items.extend(of(answer)),
                _ => all.complete = false,
            }
            silent -= 1;
        }
        all
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.cluster.pending.0.lock().remove(&self.id);
    }
}

impl AckReport {
    /// Gathers what the clients of this node and those of the others acknowledge until `timeout`.
    pub(crate) async fn gather(
        recipients: usize,
        mut local: mpsc::Receiver<Acknowledged>,
        asked: Option<Result<Asked, NotReached>>,
        timeout: Duration,
    ) -> Self {
        let (mut asked, cluster) = match asked {
            None => (None, None),
            Some(Ok(asked)) => (Some(asked), Some(Ok(()))),
            Some(Err(why)) => (None, Some(Err(Unreached::from(why)))),
        };
        let mut silent = asked.as_ref().map_or(0, |asked| asked.others);
        let mut acks = Self { values: Vec::new(), expected: recipients, complete: false, cluster };
        // A moment more, for what comes in the last one.
        let deadline = Instant::now() + timeout + Duration::from_millis(100);
        let mut local_open = true;
        while acks.values.len() < acks.expected || silent > 0 {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                acknowledged = local.recv(), if local_open => match acknowledged {
                    Some(Some(value)) => acks.values.push(first(value)),
                    Some(None) => {}
                    None => local_open = false,
                },
                answer = next(&mut asked), if asked.is_some() => match answer {
                    Some(Answer::Clients(count)) => {
                        acks.expected += usize::try_from(count).unwrap_or(0);
                        silent = silent.saturating_sub(1);
                    }
                    Some(Answer::Ack(value)) => acks.values.push(inline(value.text, &value.attachments)),
                    Some(_) => {}
                    None => asked = None,
                },
                else => break,
            }
        }
        acks.complete = silent == 0 && acks.values.len() >= acks.expected && !matches!(acks.cluster, Some(Err(_)));
        acks
    }
}

async fn next(asked: &mut Option<Asked>) -> Option<Answer> {
    asked.as_mut()?.answers.recv().await
}

/// The first argument of an acknowledgement, in JSON.
fn first(value: Value) -> String {
    let (text, attachments) = first_argument(&value);
    inline(text, &attachments)
}

/// The first argument of an acknowledgement, and its attachments.
pub(super) fn first_argument(value: &Value) -> (String, Vec<bytes::Bytes>) {
    let Value::Str(text, attachments) = value else { return ("null".into(), Vec::new()) };
    let first = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(text)
        .ok()
        .and_then(|args| args.first().map(|a| a.get().to_owned()));
    (first.unwrap_or_else(|| "null".into()), attachments.iter().flatten().cloned().collect())
}

/// An id of a request.
fn id() -> String {
    random::<8>().iter().map(|byte| format!("{byte:02x}")).collect()
}
