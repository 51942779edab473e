//! The target of a message or a request.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// A selection of a namespace's sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The sockets in any of these rooms. If empty, all sockets.
    pub(crate) rooms: Vec<String>,
    /// Leave out the sockets in any of these rooms.
    pub(crate) except: Vec<String>,
    /// Drop the message for clients that cannot receive it immediately.
    pub(crate) volatile: bool,
}

impl Target {
    pub(crate) fn room(room: String) -> Self {
        Self { rooms: vec![room], ..Self::default() }
    }
}

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

/// Reads the names of rooms: a list of texts and numbers, or a single text. An empty value of any type means no rooms.
pub(super) fn names<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    some_names(input).map(Option::unwrap_or_default)
}

fn some_names<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of rooms")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::with_capacity(list.size_hint().unwrap_or(1).min(64));
            while let Some(Name(name)) = list.next_element()? {
                names.push(name);
            }
            Ok(Some(names))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            // Some languages write an empty list as a map.
            match map.next_entry::<IgnoredAny, IgnoredAny>()? {
                None => Ok(Some(Vec::new())),
                Some(_) => Err(serde::de::Error::custom("expected a list of rooms, not a map")),
            }
        }
    }
    input.deserialize_any(Names)
}

/// A room's name.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a room")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.to_owned()))
            }

            // Null and booleans become names that no room has. If they were left out, an empty list would mean
            // everybody.
            fn visit_unit<E>(self) -> Result<Name, E> {
                Ok(Name("null".into()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Name, E> {
                Ok(Name(value.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }
        }
        input.deserialize_any(Any)
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
