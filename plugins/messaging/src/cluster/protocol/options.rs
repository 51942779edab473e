//! The target of a message or a request.

use crate::room_names::{names, some_names};
use crate::target::Target;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// A received [`Target`].
#[derive(Deserialize)]
pub(super) struct Options {
    #[serde(default, deserialize_with = "names")]
    rooms: Vec<String>,
    #[serde(default, deserialize_with = "some_names")]
    except: Option<Vec<String>>,
    #[serde(default)]
    flags: Flags,
    /// The message's row on the Greyhound node that published it. Node ignores this field.
    #[serde(default)]
    pub(super) greyhound: Option<String>,
}

/// A [`Target`] to send.
#[derive(Serialize)]
pub(super) struct OptionsOut<'a> {
    rooms: &'a [String],
    except: &'a [String],
    flags: FlagsOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    greyhound: Option<&'a str>,
}

#[derive(Serialize)]
struct FlagsOut {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    volatile: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

#[derive(Default)]
struct Flags {
    volatile: bool,
    timeout: Option<f64>,
}

impl Options {
    /// Whether `except` is present. Emitters before 4 do not send it.
    pub(super) fn has_except(&self) -> bool {
        self.except.is_some()
    }

    /// How long clients may take to acknowledge.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.flags.timeout.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
    }

    pub(super) fn target(self) -> Target {
        Target { rooms: self.rooms, except: self.except.unwrap_or_default(), volatile: self.flags.volatile }
    }
}

impl<'a> OptionsOut<'a> {
    pub(super) fn new(target: &'a Target, timeout: Option<Duration>, origin: Option<&'a str>) -> Self {
        let Target { rooms, except, volatile } = target;
        let timeout = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        Self { rooms, except, flags: FlagsOut { volatile: *volatile, timeout }, greyhound: origin }
    }
}

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Flags;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("flags")
            }

            // Some languages write missing flags as null, a text or a list.
            fn visit_unit<E>(self) -> Result<Flags, E> {
                Ok(Flags::default())
            }

            fn visit_str<E>(self, _: &str) -> Result<Flags, E> {
                Ok(Flags::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Flags, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Flags::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flags, A::Error> {
                let mut flags = Flags::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "volatile" => {
                            flags.volatile = map.next_value::<serde_json::Value>()? == serde_json::Value::Bool(true)
                        }
                        "timeout" => flags.timeout = map.next_value::<serde_json::Value>()?.as_f64(),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(flags)
            }
        }
        input.deserialize_any(Seen)
    }
}
