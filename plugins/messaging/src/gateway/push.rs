//! An event that a client emitted.

use crate::fanout::Fanout;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use socketioxide::handler::FromMessageParts;
use socketioxide::socket::Socket;
use socketioxide_core::Value;
use std::sync::Arc;

/// The event with all its arguments, however many.
pub(super) struct Push {
    pub(super) event: String,
    /// The arguments as a JSON array, attachments as base64 texts.
    pub(super) data: String,
    /// Bytes of the arguments as a JSON array, and of the attachments.
    pub(super) size: usize,
    pub(super) wants_ack: bool,
}

/// Not `["event", ...]`.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub(super) struct NotAnEvent(String);

impl FromMessageParts<Fanout> for Push {
    type Error = NotAnEvent;

    fn from_message_parts(_: &Arc<Socket<Fanout>>, value: &mut Value, ack: &Option<i64>) -> Result<Self, NotAnEvent> {
        let Value::Str(text, attachments) = value else { return Err(NotAnEvent("binary".into())) };
        let attachments: Vec<Bytes> = attachments.iter().flatten().cloned().collect();
        let mut push = parse(text.as_str(), &attachments).map_err(|e| NotAnEvent(e.to_string()))?;
        push.wants_ack = ack.is_some();
        Ok(push)
    }
}

fn parse(text: &str, attachments: &[Bytes]) -> Result<Push, serde_json::Error> {
    let parts: Vec<&RawValue> = serde_json::from_str(text)?;
    let (event, args) = parts.split_first().ok_or_else(|| serde::de::Error::custom("it is empty"))?;
    // An event's name may be a number.
    let event = serde_json::from_str(event.get()).unwrap_or_else(|_| event.get().to_owned());
    let data = format!("[{}]", args.iter().map(|a| a.get()).collect::<Vec<_>>().join(","));
    let size = data.len() + attachments.iter().map(Bytes::len).sum::<usize>();
    let data = if attachments.is_empty() { data } else { with_attachments(&data, attachments)? };
    Ok(Push { event, data, size, wants_ack: false })
}

fn with_attachments(data: &str, attachments: &[Bytes]) -> Result<String, serde_json::Error> {
    let mut tree: Json = serde_json::from_str(data)?;
    put(&mut tree, attachments);
    Ok(tree.to_string())
}

/// Puts attachments in the places of their placeholders.
fn put(tree: &mut Json, attachments: &[Bytes]) {
    match tree {
        Json::Object(map) if map.get("_placeholder") == Some(&Json::Bool(true)) => {
            let number = map.get("num").and_then(Json::as_u64).and_then(|n| attachments.get(usize::try_from(n).ok()?));
            *tree = number.map_or(Json::Null, |bytes| Json::String(BASE64_STANDARD.encode(bytes)));
        }
        Json::Object(map) => map.values_mut().for_each(|v| put(v, attachments)),
        Json::Array(list) => list.iter_mut().for_each(|v| put(v, attachments)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_number_of_arguments_is_kept() {
        let push = |text: &str| parse(text, &[]).map(|p| (p.event, p.data)).unwrap();
        assert_eq!(push(r#"["move"]"#), ("move".into(), "[]".into()));
        assert_eq!(push(r#"["move", 1, {"a": [1e3]}, null]"#), ("move".into(), r#"[1,{"a": [1e3]},null]"#.into()));
        assert_eq!(push(r#"["größe ☃", "x"]"#).0, "größe ☃");
        assert_eq!(push("[7]").0, "7");
        assert!(parse("[]", &[]).is_err() && parse("{}", &[]).is_err());
    }

    #[test]
    fn attachments_become_base64() {
        let text = r#"["file", {"a": {"_placeholder": true, "num": 1}}, {"_placeholder": true, "num": 9}]"#;
        let push = parse(text, &[Bytes::from_static(b"x"), Bytes::from_static(b"hello")]).unwrap();
        assert_eq!(push.data, r#"[{"a":"aGVsbG8="},null]"#);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_parsed_or_refused(text in "\\PC*") {
            let _ = parse(&text, &[Bytes::from_static(b"x")]);
        }
    }
}
