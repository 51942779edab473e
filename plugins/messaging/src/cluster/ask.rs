//! Requests to the other members, and their answers.

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

/// Time for the other members to answer, as in Node's adapter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of queued answers to one request. Further answers are lost, and the result is incomplete.
const ANSWERS_PER_REQUEST_MAX: usize = 1 << 16;

/// The answers of all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered<T> {
    /// The items of all answers.
    pub items: Vec<T>,
    /// Whether all nodes answered.
    pub complete: bool,
}

/// The acknowledgements of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckReport {
    /// The first argument of each acknowledgement, in JSON, with binary data in base64.
    pub values: Vec<String>,
    /// Number of sockets that the message was sent to.
    pub expected: usize,
    /// Whether all nodes and all these sockets answered.
    pub complete: bool,
    /// Whether the other nodes were asked; `None` without a cluster.
    pub cluster: Option<Result<(), Unreached>>,
}

/// A request to the other members. Its answers are collected until this is dropped.
pub(crate) struct PendingRequest {
    cluster: Arc<Cluster>,
    id: String,
    answers: mpsc::Receiver<Answer>,
    /// Number of members that must answer.
    others: usize,
    deadline: Instant,
    /// Whether the request was published. If not, the result is incomplete.
    published: bool,
}

impl<T> Gathered<T> {
    pub(crate) fn complete(items: Vec<T>) -> Self {
        Self { items, complete: true }
    }
}

impl Cluster {
    /// Sends a request that the other members do not answer.
    pub(crate) fn send_request(&self, namespace: &str, request: &Request) -> Result<Published, NotReached> {
        self.put(self.protocol.request(namespace, request, None)?)
    }

    /// Number of members, including this one.
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
        let pending = self.ask(namespace, &Request::Sockets(target)).await;
        pending
            .gather(Vec::new(), |answer| if let Answer::Sockets(sockets) = answer { sockets } else { Vec::new() })
            .await
    }

    /// The rooms of all members; `local` are those of this one.
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

    /// Sends an event, `["name",arg,...]`, to the programs of the other members, and gathers their answers.
    pub(crate) async fn server_side(self: &Arc<Self>, namespace: &str, event: String) -> Gathered<String> {
        let pending = self.ask(namespace, &Request::ServerSide(event)).await;
        pending
            .gather(Vec::new(), |answer| if let Answer::ServerSide(value) = answer { vec![value] } else { Vec::new() })
            .await
    }

    /// Has the other members send an event to their clients and report the acknowledgements.
    ///
    /// # Errors
    /// If the request cannot be published, or would crash a member before 7.1.
    pub(crate) async fn ask_for_acks(
        self: &Arc<Self>,
        namespace: &str,
        emit: Emit,
    ) -> Result<PendingRequest, NotReached> {
        let members = self.nodes(namespace).await?;
        if let (Some(glob), Some(redis), 2..) = (self.protocol.understanding(namespace), self.connection(), members) {
            let understanding = redis.channels(&glob).await.map_err(|e| NotReached::Refused(e.why))?.len();
            if understanding < members {
                self.old_member_log
                    .log(|more| tracing::warn!(members, understanding, more, "{}", NotReached::OldMember));
                return Err(NotReached::OldMember);
            }
        }
        let timeout = emit.timeout;
        let mut pending = self.register_request(members, timeout);
        pending.publish(namespace, &Request::Emit(emit)).await?;
        pending.published = true;
        Ok(pending)
    }

    /// Sends a request to the other members.
    async fn ask(self: &Arc<Self>, namespace: &str, request: &Request) -> PendingRequest {
        let Ok(members) = self.nodes(namespace).await else { return self.register_request(1, ANSWER_TIMEOUT) };
        let mut pending = self.register_request(members, ANSWER_TIMEOUT);
        pending.published = pending.others == 0 || pending.publish(namespace, request).await.is_ok();
        pending
    }

    /// Registers a request before it is published. `members` includes this one.
    fn register_request(self: &Arc<Self>, members: usize, timeout: Duration) -> PendingRequest {
        let id = request_id();
        let (sender, answers) = mpsc::channel(ANSWERS_PER_REQUEST_MAX);
        self.pending.0.lock().insert(id.clone(), sender);
        PendingRequest {
            cluster: self.clone(),
            id,
            answers,
            others: members.saturating_sub(1),
            deadline: Instant::now() + timeout,
            published: false,
        }
    }
}

impl PendingRequest {
    async fn publish(&self, namespace: &str, request: &Request) -> Result<(), NotReached> {
        let publication = self.cluster.protocol.request(namespace, request, Some(&self.id))?;
        self.cluster.put(publication)?.done().await
    }

    /// Waits for one answer of each member, and adds its items to `items`. `of` extracts them.
    async fn gather<T>(mut self, items: Vec<T>, of: impl Fn(Answer) -> Vec<T>) -> Gathered<T> {
        let mut all = Gathered { items, complete: self.published };
        let mut unanswered = if self.published { self.others } else { 0 };
        while unanswered > 0 && all.complete {
            match timeout_at(self.deadline, self.answers.recv()).await {
                Ok(Some(answer)) => all.items.extend(of(answer)),
                _ => all.complete = false,
            }
            unanswered -= 1;
        }
        all
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.cluster.pending.0.lock().remove(&self.id);
    }
}

impl AckReport {
    /// Gathers the acknowledgements of the clients of all nodes until `timeout`.
    pub(crate) async fn gather(
        recipients: usize,
        mut local: mpsc::Receiver<Acknowledged>,
        pending: Option<Result<PendingRequest, NotReached>>,
        timeout: Duration,
    ) -> Self {
        let (mut pending, cluster) = match pending {
            None => (None, None),
            Some(Ok(pending)) => (Some(pending), Some(Ok(()))),
            Some(Err(why)) => (None, Some(Err(Unreached::from(why)))),
        };
        let mut unanswered = pending.as_ref().map_or(0, |pending| pending.others);
        let mut acks = Self { values: Vec::new(), expected: recipients, complete: false, cluster };
        // A little longer, for acknowledgements that arrive at the last moment.
        let deadline = Instant::now() + timeout + Duration::from_millis(100);
        let mut local_open = true;
        while acks.values.len() < acks.expected || unanswered > 0 {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                acknowledged = local.recv(), if local_open => match acknowledged {
                    Some(Some(value)) => acks.values.push(first(value)),
                    Some(None) => {}
                    None => local_open = false,
                },
                answer = next(&mut pending), if pending.is_some() => match answer {
                    Some(Answer::Clients(count)) => {
                        acks.expected += usize::try_from(count).unwrap_or(0);
                        unanswered = unanswered.saturating_sub(1);
                    }
                    Some(Answer::Ack(value)) => acks.values.push(inline(value.text, &value.attachments)),
                    Some(_) => {}
                    None => pending = None,
                },
                else => break,
            }
        }
        acks.complete = unanswered == 0 && acks.values.len() >= acks.expected && !matches!(acks.cluster, Some(Err(_)));
        acks
    }
}

async fn next(pending: &mut Option<PendingRequest>) -> Option<Answer> {
    pending.as_mut()?.answers.recv().await
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

fn request_id() -> String {
    random::<8>().iter().map(|byte| format!("{byte:02x}")).collect()
}
