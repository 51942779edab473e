//! Problems, put so that the operator can mend them.

use greyhound_sdk::config::Problem;
use std::fmt;

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// Where the configuration came from, for the first line.
    pub source_name: String,
    /// What is wrong, with each key's full path.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{}: {count} {}", self.source_name, if count == 1 { "problem" } else { "problems" })?;
        self.problems.iter().try_for_each(|p| write!(f, "\n  {}: {}", p.key, p.message))
    }
}

/// A reader's error in the operator's words. `key` is the full path of the value.
pub(super) fn explain(key: &str, error: &str) -> String {
    // serde_json adds where in its text; there is none.
    let error = error.split(" at line ").next().unwrap_or(error);
    if let Some(unknown) = error.strip_prefix("unknown field ") {
        return explain_unknown(unknown);
    }
    let error = if is_secret(key) { without_value(error) } else { error.to_owned() };
    match error.split_once("expected struct ") {
        Some((found, _)) => format!("{found}expected a section with keys"),
        None if error.contains("invalid socket address") => "expected an address and a port, such as \"127.0.0.1:3001\"".to_owned(),
        None => error.replace("expected a sequence", "expected a list").replace("map", "section"),
    }
}

/// The name among `known` that `wrong` was probably meant to be.
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

fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    ["secret", "token", "password", "url"].contains(&name)
}

/// An error without the value that it complains about.
fn without_value(error: &str) -> String {
    match error.split_once("expected ") {
        Some((_, expected)) => format!("not a possible value (not shown), expected {expected}"),
        None => "not a possible value (not shown)".to_owned(),
    }
}
