//! Environment variables that look like a key but are not read.

use super::tree::{PREFIX, Tree};
use greyhound_sdk::config::Problem;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

impl Tree {
    /// A problem for each variable with single underscores that would name a key with double ones: `GREYHOUND_NODE_NAME`.
    /// Other variables with the prefix may belong to other programs. `knows` reports whether a key exists.
    pub(crate) fn misspelt(&self, knows: impl Fn(&[String]) -> bool) -> Vec<Problem> {
        let meant = |name: &String| {
            let key = splits(&name[PREFIX.len() + 1..].to_lowercase()).into_iter().find(|key| knows(key))?;
            let right = key.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>().join("__");
            let message = format!(
                "this variable is not read; did you mean {PREFIX}__{right}, with two underscores before each part?"
            );
            Some(Problem { key: name.clone(), message })
        };
        self.strangers.iter().filter_map(meant).collect()
    }
}

/// Whether the section `T` has a value at this key.
pub(crate) fn knows<T: DeserializeOwned>(key: &[String]) -> bool {
    let nested = |value: Value, name: &String| Value::Object(Map::from_iter([(name.clone(), value)]));
    let error = serde_json::from_value::<T>(key.iter().rev().fold(Value::Null, nested)).err().map(|e| e.to_string());
    error.is_none_or(|e| !e.starts_with("unknown field") && !e.contains("expected struct"))
}

/// All ways to split `a_b_c` into the parts of a key: each underscore belongs to a name or separates two names.
fn splits(text: &str) -> Vec<Vec<String>> {
    // No key has more words, and each word doubles the number of ways.
    const MOST: usize = 10;
    let words: Vec<_> = text.split('_').filter(|word| !word.is_empty()).take(MOST).collect();
    let Some((first, rest)) = words.split_first() else { return Vec::new() };
    rest.iter().fold(vec![vec![(*first).to_owned()]], |ways, word| {
        let joined = ways.iter().cloned().map(|mut way| {
            way.last_mut().expect("a way has a part").push_str(&format!("_{word}"));
            way
        });
        let apart = ways.iter().cloned().map(|way| [way, vec![(*word).to_owned()]].concat());
        joined.chain(apart).collect()
    })
}
