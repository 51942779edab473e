//! The bodies of publications: JSON and msgpack.

use super::packet::{Malformed, Unpublishable};
use crate::event::Event;
use crate::msgpack::{Json, to_json};
use bytes::Bytes;
use rmp_serde::encode::to_vec_named;
use serde::Serialize;
use serde_json::value::RawValue;

/// Returns a body's JSON text. The body is JSON or msgpack.
pub(super) fn json(body: &Bytes) -> Result<Json, Malformed> {
    if body.first() != Some(&b'{') {
        return Ok(to_json(body)?);
    }
    let text = String::from_utf8_lossy(body).into_owned();
    Ok(Json { text, attachments: Vec::new(), placed: Vec::new() })
}

/// Parses the event of a packet. `data` is the part of `all` that may contain binary data; no other part may.
pub(super) fn event(data: &RawValue, all: &Json) -> Result<Event, Malformed> {
    let data = data.get();
    let begin = data.as_ptr().addr() - all.text.as_ptr().addr();
    if !all.placed.iter().all(|at| (begin..begin + data.len()).contains(at)) {
        return Err(Malformed::Binary);
    }
    Ok(Event::parse(data, all.attachments.clone())?)
}

pub(super) fn msgpack(body: &impl Serialize) -> Result<Bytes, Unpublishable> {
    to_vec_named(body).map(Bytes::from).map_err(|e| Unpublishable(e.to_string()))
}

pub(super) fn text(body: &impl Serialize) -> Result<Bytes, Unpublishable> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|e| Unpublishable(e.to_string()))
}

pub(super) fn raw(json: &str) -> Result<Box<RawValue>, Unpublishable> {
    RawValue::from_string(json.to_owned()).map_err(|e| Unpublishable(e.to_string()))
}
