//! Problems, in words with which the operator can fix them.

use greyhound_sdk::config::Problem;
use serde_json::Value;
use std::fmt;

/// Everything that is wrong with a configuration, one line per problem.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The name of the configuration, for the first line.
    pub source_name: String,
    /// The problems, each with the full path of its key.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{}: {count} {}", self.source_name, if count == 1 { "problem" } else { "problems" })?;
        self.problems.iter().try_for_each(|p| write!(f, "\n  {}: {}", p.key, p.message))
    }
}

/// Translates an error of serde for the operator. `key` is the full path of `value`, which is never shown, because any key
/// may hold a secret by mistake.
pub(super) fn explain(key: &str, error: &str, value: Option<&Value>) -> String {
    // serde_json adds a place in its text, but the value comes from no text.
    let error = error.rsplit_once(" at line ").map_or(error, |(error, _)| error);
    if let Some(unknown) = error.strip_prefix("unknown field ") {
        return explain_unknown(unknown);
    }
    let (found, expected) = match error.rsplit_once(", expected ") {
        Some((found, expected)) => (found, expected),
        None => return explain_custom(key, error, value),
    };
    let expected = expected_in_words(expected);
    match found.strip_prefix("invalid type: ") {
        Some(found) => format!("is {}: expected {expected}", kind(found)),
        None if found.starts_with("missing field") => found.to_owned(),
        None => format!("is not valid: expected {expected}"),
    }
}

/// The type that serde found, without the value.
fn kind(found: &str) -> &'static str {
    match found.split([' ', '`', '"']).next().unwrap_or_default() {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "floating" => "a number",
        "string" => "a text",
        "map" => "a section",
        "sequence" => "a list",
        _ => "something else",
    }
}

/// The type that serde expected.
fn expected_in_words(expected: &str) -> String {
    match expected {
        _ if expected.starts_with("struct ") => "a section with keys".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a section".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "usize" | "u64" | "u32" => "a whole number, 0 or more".to_owned(),
        "u16" => "a whole number up to 65535".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "socket address" => ADDRESS.to_owned(),
        "a duration" => "a duration such as \"500ms\" or \"5s\"".to_owned(),
        "parsable string" => "a size such as \"64kB\" or \"256MiB\"".to_owned(),
        other => other.to_owned(),
    }
}

const ADDRESS: &str = "an address and a port, such as \"127.0.0.1:3001\"";

/// Explains an error that the type itself reports.
fn explain_custom(key: &str, error: &str, value: Option<&Value>) -> String {
    let shows = value.is_some_and(|value| leaves(value).iter().any(|leaf| error.contains(leaf.as_str())));
    match error {
        _ if error.contains("invalid socket address") => format!("is not valid: expected {ADDRESS}"),
        _ if shows || error.contains("parse unit") || error.contains("ByteSize") => {
            let name = key.rsplit('.').next().unwrap_or(key);
            format!("is not valid (its value is not shown); greyhound.toml has an example of `{name}`")
        }
        other => other.to_owned(),
    }
}

/// Every text and number in a value.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(keys) => keys.values().flat_map(leaves).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(_) | Value::Null => Vec::new(),
    }
}

/// The name in `known` that was probably meant by `wrong`.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|name| (strsim::damerau_levenshtein(wrong, name), name));
    scored.filter(|(distance, name)| *distance <= 1 + name.len() / 4).min().map(|(_, name)| name)
}

/// serde says: `wrong`, expected one of `a`, `b`.
fn explain_unknown(text: &str) -> String {
    let mut names = text.split('`').skip(1).step_by(2);
    let wrong = names.next().unwrap_or_default();
    let known: Vec<_> = names.collect();
    match nearest(wrong, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None => format!("unknown key; expected one of: {}", known.join(", ")),
    }
}
