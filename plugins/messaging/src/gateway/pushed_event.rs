//! A pushed event: one that a client emits.

use crate::event::Event;
use crate::namespace::{Namespace, Session};
use bytes::Bytes;
use serde_json::value::RawValue;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::FromMessageParts;
use socketioxide::socket::Socket;
use socketioxide_core::Value;
use std::sync::Arc;

/// An event with all its arguments.
pub(super) struct Push {
    pub(super) event: String,
    /// The arguments as a JSON array, with the attachments in base64.
    pub(super) data: String,
    /// Length of the arguments as a JSON array plus that of the attachments, in bytes.
    pub(super) size: usize,
    pub(super) wants_ack: bool,
}

/// An event whose turn it is.
pub(super) struct Arrived<'a> {
    pub(super) socket: &'a SocketRef<Namespace>,
    pub(super) session: &'a Arc<Session>,
    pub(super) push: &'a Push,
    pub(super) ack: AckSender<Namespace>,
    /// Why the authorization endpoint refuses it.
    pub(super) refusal: Option<String>,
}

/// The packet is not `["event", ...]`.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub(super) struct NotAnEvent(String);

impl FromMessageParts<Namespace> for Push {
    type Error = NotAnEvent;

    fn from_message_parts(
        _: &Arc<Socket<Namespace>>,
        value: &mut Value,
        ack: &Option<i64>,
    ) -> Result<Self, NotAnEvent> {
        let Value::Str(text, attachments) = value else { return Err(NotAnEvent("binary".into())) };
        let attachments: Vec<Bytes> = attachments.iter().flatten().cloned().collect();
        let mut push = parse(text.as_str(), &attachments).map_err(|e| NotAnEvent(e.to_string()))?;
        push.wants_ack = ack.is_some();
        Ok(push)
    }
}

fn parse(text: &str, attachments: &[Bytes]) -> Result<Push, serde_json::Error> {
    let whole: &RawValue = serde_json::from_str(text)?;
    let event = Event::parse(whole.get(), attachments.to_vec())?;
    Ok(Push { data: event.args(), size: event.size(), event: event.name, wants_ack: false })
}
