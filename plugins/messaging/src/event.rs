//! A socket.io event, and its encodings.

use crate::connection::{MARK, binary_frame, text_frame};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use serde::de::Error as _;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use socketioxide_core::{Value, packet::Packet};

/// An event that clients receive or emit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// `["name",arg,...]`, with a placeholder for each attachment.
    pub(crate) text: String,
    pub(crate) attachments: Vec<Bytes>,
    /// Offset of the first argument in `text`, or of the closing bracket if there are no arguments.
    args_at: usize,
}

impl Event {
    pub(crate) fn new(name: &str, args: &[Box<RawValue>]) -> Self {
        let quoted = serde_json::to_string(name).expect("a text is JSON");
        let mut text = String::with_capacity(quoted.len() + 2 + args.iter().map(|a| a.get().len() + 1).sum::<usize>());
        text.push('[');
        text.push_str(&quoted);
        let args_at = text.len() + usize::from(!args.is_empty());
        for arg in args {
            text.push(',');
            text.push_str(arg.get());
        }
        text.push(']');
        Self { name: name.to_owned(), text, attachments: Vec::new(), args_at }
    }

    /// Sets the attachments for the event's placeholders.
    pub(crate) fn with(self, attachments: Vec<Bytes>) -> Self {
        Self { attachments, ..self }
    }

    /// Reads `["name",arg,...]`.
    ///
    /// # Errors
    /// If `text` is not an array, or an empty one.
    pub(crate) fn parse(text: &str, attachments: Vec<Bytes>) -> Result<Self, serde_json::Error> {
        let inside = text.strip_prefix('[').ok_or_else(|| serde_json::Error::custom("an event must be an array"))?;
        let mut parts = serde_json::Deserializer::from_str(inside).into_iter::<&RawValue>();
        let name = parts.next().ok_or_else(|| serde_json::Error::custom("the event has no name"))??;
        let rest = inside[parts.byte_offset()..].trim_start();
        let args_at = text.len() - rest.strip_prefix(',').unwrap_or(rest).len();
        // In JavaScript a name may be any value, such as a number.
        let name = serde_json::from_str(name.get()).unwrap_or_else(|_| name.get().to_owned());
        Ok(Self { name, text: text.to_owned(), attachments, args_at })
    }

    /// Length of the arguments as a JSON array plus that of the attachments, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.text.len() - self.args_at + 1 + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// The arguments as a JSON array, with the attachments in base64.
    pub(crate) fn args(&self) -> String {
        inline(format!("[{}", &self.text[self.args_at..]), &self.attachments)
    }

    /// The event as a packet of the library, and whether it ends with a mark. An event with attachments ends with them
    /// instead.
    pub(crate) fn marked_packet(&self, namespace: &str) -> (Packet, bool) {
        if self.attachments.is_empty() {
            return (
                Packet::event(namespace.to_owned(), Value::Str(format!("{}{MARK}", self.text).into(), None)),
                true,
            );
        }
        let attachments = Some(self.attachments.clone().into());
        (Packet::event(namespace.to_owned(), Value::Str(self.text.clone().into(), attachments)), false)
    }

    /// The event as WebSocket frames. The text begins with `4` (engine.io: message) and `2` (socket.io: event), or `5`
    /// and the number of attachments, which follow as binary frames.
    pub(crate) fn frames(&self, namespace: &str) -> Frames {
        let kind = match self.attachments.len() {
            0 => "42".to_owned(),
            count => format!("45{count}-"),
        };
        let text = match namespace {
            "/" => text_frame(&[&kind, &self.text]),
            other => text_frame(&[&kind, other, ",", &self.text]),
        };
        if self.attachments.is_empty() {
            return Frames { v3: text.clone(), v4: text };
        }
        // In engine.io 3 the packet's type precedes the bytes.
        let with = |prefix: &[u8]| {
            let attachments = self.attachments.iter().map(|bytes| binary_frame(&[prefix, bytes]));
            std::iter::once(text.clone()).chain(attachments).fold(BytesMut::new(), |mut all, frame| {
                all.extend_from_slice(&frame);
                all
            })
        };
        Frames { v3: with(&[4]).freeze(), v4: with(&[]).freeze() }
    }
}

/// The WebSocket frames of an event, by protocol.
pub(crate) struct Frames {
    v3: Bytes,
    v4: Bytes,
}

impl Frames {
    /// Replaces the frames by what `count` makes of them, once if both protocols share them.
    pub(crate) fn counted(self, count: impl Fn(Bytes) -> Bytes) -> Self {
        if self.v3.as_ptr() == self.v4.as_ptr() {
            let both = count(self.v4);
            return Self { v3: both.clone(), v4: both };
        }
        Self { v3: count(self.v3), v4: count(self.v4) }
    }

    pub(crate) fn of(&self, protocol: i32) -> &Bytes {
        if protocol == 3 { &self.v3 } else { &self.v4 }
    }
}

/// Replaces the placeholders in a JSON text with the attachments in base64.
pub(crate) fn inline(text: String, attachments: &[Bytes]) -> String {
    if attachments.is_empty() {
        return text;
    }
    match serde_json::from_str(&text) {
        Ok(mut tree) => {
            put(&mut tree, attachments);
            tree.to_string()
        }
        Err(_) => text,
    }
}

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

    fn args(text: &str) -> Vec<Box<RawValue>> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn any_number_of_arguments_is_kept() {
        let read = |text: &str| Event::parse(text, Vec::new()).map(|e| (e.name.clone(), e.args(), e.size())).unwrap();
        assert_eq!(read(r#"["move"]"#), ("move".into(), "[]".into(), 2));
        assert_eq!(read(r#"["move", 1,{"a":[1e3]},null]"#), ("move".into(), r#"[ 1,{"a":[1e3]},null]"#.into(), 21));
        assert_eq!(read(r#"["größe ☃","x"]"#).0, "größe ☃");
        assert_eq!(read("[7]").0, "7");
        assert!(Event::parse("[]", Vec::new()).is_err() && Event::parse("{}", Vec::new()).is_err());
    }

    #[test]
    fn a_new_event_is_parsed_back() {
        for list in ["[]", r#"[1]"#, r#"[{"a":"b"},null,"ü"]"#] {
            let made = Event::new("a \"name\"", &args(list));
            assert_eq!(made.args(), list);
            assert_eq!(Event::parse(&made.text, Vec::new()).unwrap(), made);
        }
    }

    #[test]
    fn attachments_become_base64() {
        let text = r#"["file",{"a":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":9}]"#;
        let event = Event::parse(text, vec![Bytes::from_static(b"x"), Bytes::from_static(b"hello")]).unwrap();
        assert_eq!(event.args(), r#"[{"a":"aGVsbG8="},null]"#);
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_parsed_or_refused(text in "\\PC*") {
            let _ = Event::parse(&text, vec![Bytes::from_static(b"x")]);
        }
    }
}
