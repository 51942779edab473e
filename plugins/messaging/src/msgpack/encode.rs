//! Serializes JSON text.

use bytes::Bytes;
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// Serializes JSON text as the value that it describes. Placeholders become their attachments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FromJson<'a> {
    pub(crate) text: &'a str,
    pub(crate) attachments: &'a [Bytes],
}

impl Serialize for FromJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = well_formed(self.text);
        if !self.attachments.is_empty() {
            let value = serde_json::from_str(&text).map_err(S::Error::custom)?;
            return Filled { value: &value, attachments: self.attachments }.serialize(serializer);
        }
        let mut json = serde_json::Deserializer::from_str(&text);
        let written = serde_transcode::transcode(&mut json, serializer)?;
        json.end().map_err(S::Error::custom)?;
        Ok(written)
    }
}

/// A value and the attachments for its placeholders.
struct Filled<'a> {
    value: &'a Value,
    attachments: &'a [Bytes],
}

impl<'a> Filled<'a> {
    fn with(&self, value: &'a Value) -> Self {
        Self { value, ..*self }
    }

    /// The value's attachment, if the value is a placeholder.
    fn attachment(&self) -> Option<&'a Bytes> {
        let number = self.value.get("num").filter(|_| self.value.get("_placeholder") == Some(&Value::Bool(true)))?;
        self.attachments.get(usize::try_from(number.as_u64()?).ok()?)
    }
}

impl Serialize for Filled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Array(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| seq.serialize_element(&self.with(value)))?;
                seq.end()
            }
            Value::Object(fields) => {
                if let Some(bytes) = self.attachment() {
                    return serializer.serialize_bytes(bytes);
                }
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(key, value)| map.serialize_entry(key, &self.with(value)))?;
                map.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// Replaces each unpaired surrogate by the replacement character, as Node's buffers do. JavaScript writes it as an
/// escape, but it is not a character in msgpack or in other languages.
fn well_formed(text: &str) -> Cow<'_, str> {
    let mut whole = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match (surrogate(&text[at..]), text.get(at + 6..).and_then(surrogate)) {
            (Some(Half::High), Some(Half::Low)) => at += 12,
            (Some(_), _) => {
                whole.to_mut().replace_range(at..at + 6, "\\ufffd");
                at += 6;
            }
            // Skip the backslash and the escaped character, which may be another backslash.
            (None, _) => at += text[at..].chars().take(2).map(char::len_utf8).sum::<usize>(),
        }
    }
    whole
}

enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that the text begins with, as an escape.
fn surrogate(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u").and_then(|rest| rest.get(..4))?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}
