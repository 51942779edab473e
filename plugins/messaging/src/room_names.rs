//! The names of rooms, as programs in any language write them.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Reads the names of rooms: a list of texts and numbers, or a single text. An empty value of any type means no rooms.
pub(crate) fn names<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    some_names(input).map(Option::unwrap_or_default)
}

/// As [`names`]; `None` if there is no value.
pub(crate) fn some_names<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
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
