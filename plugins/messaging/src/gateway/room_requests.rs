//! The events `join` and `leave`, by which a client asks for rooms.

use super::acks;
use super::clients::Clients;
use super::pushed_event::{Arrived, Push};
use crate::auth::ROOM_NAME_LEN_MAX;
use crate::namespace::{AckAfter, JoinRefused, Namespace, Session};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde::Serialize;
use serde_json::value::RawValue;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoomRequest {
    Join,
    Leave,
}

/// The argument of the acknowledgement.
#[derive(Serialize)]
pub(super) struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Answer {
    const OK: Self = Self { ok: true, error: None };

    pub(super) fn refused(why: String) -> Self {
        Self { ok: false, error: Some(why) }
    }
}

impl RoomRequest {
    /// `None` if the event is an ordinary push.
    pub(super) fn of(push: &Push, session: &Session, namespace: &Namespace) -> Option<Self> {
        let request = match push.event.as_str() {
            "join" => Self::Join,
            "leave" => Self::Leave,
            _ => return None,
        };
        namespace.may_ask(session).then_some(request)
    }
}

impl Clients {
    /// Joins or leaves the room at once, and thus in the order of the client's events. Only the acknowledgement of
    /// `join` waits until this node receives the messages to the room.
    pub(super) fn change_room(&self, request: RoomRequest, namespace: &Namespace, arrived: Arrived<'_>) {
        let Arrived { socket, session, push, ack, refusal } = arrived;
        let room = first_text(&push.data);
        let result = match (refusal, &room, request) {
            (Some(why), ..) => Err(why),
            (None, None, _) => Err(JoinRefused::NotARoom.to_string()),
            (None, Some(room), RoomRequest::Join) => namespace.ask_to_join(session, room).map_err(|e| e.to_string()),
            (None, Some(room), RoomRequest::Leave) => namespace.ask_to_leave(session, room).map_err(|e| e.to_string()),
        };
        let answer = match result {
            Ok(()) => Answer::OK,
            Err(why) => {
                let name = room.as_deref().unwrap_or_default();
                session.record_refused_room(&name[..name.floor_char_boundary(ROOM_NAME_LEN_MAX)], &why);
                Answer::refused(why)
            }
        };
        if push.wants_ack {
            let done = match room {
                Some(room) if answer.ok && request == RoomRequest::Join => self.covered(socket.ns(), vec![room]),
                _ => ready(()).boxed(),
            };
            acks::enqueue(session, AckAfter::Done(done), Box::new(move || ack.send(&answer).is_ok()), &self.topics);
        }
    }

    /// Is ready once this node receives every message to `rooms`, or one of them has no members.
    fn covered(&self, namespace: &str, rooms: Vec<String>) -> BoxFuture<'static, ()> {
        let (cluster, namespace) = (self.cluster.clone(), namespace.to_owned());
        async move {
            if let Some(cluster) = cluster {
                cluster.wait_until_covered(&namespace, &rooms).await;
            }
        }
        .boxed()
    }
}

/// The first argument of an event, if it is a text.
fn first_text(args: &str) -> Option<String> {
    let args: Vec<&RawValue> = serde_json::from_str(args).ok()?;
    serde_json::from_str(args.first()?.get()).ok()
}
