//! Joins the layers of a configuration, and reads it section by section.

use super::LogFormat;
use super::problem::{ConfigError, explain};
use config::{Environment, File, FileFormat};
use greyhound_sdk::config::Problem;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The prefix of variables that override keys, such as `GREYHOUND__NODE__NAME`.
pub(super) const PREFIX: &str = "GREYHOUND";
/// The file to read if none is named.
const DEFAULT_FILE: &str = "greyhound.toml";

/// The key that the section of every plugin has.
pub(crate) const ENABLED: &str = "enabled";

/// The sources of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file. `None`: `greyhound.toml` in the working directory, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: HashMap<String, String>,
}

/// A configuration whose sections are still to be read.
///
/// An environment variable is text. If the key has another type, the text is read as a number, a boolean or a list (`a,b` or
/// `["a", "b"]`). So a secret of digits stays text.
#[derive(Clone)]
pub struct Tree {
    source_name: String,
    root: Value,
    /// The keys that environment variables set, and these variables.
    variables: HashMap<String, String>,
    /// Other variables that begin with `GREYHOUND_`.
    pub(super) strangers: Vec<String>,
}

// === impl Layers ===

impl Layers {
    /// `file`, and the environment of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self { file, environment: environment.collect() }
    }

    /// Reads the file and joins the layers.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML.
    pub fn load(&self) -> Result<Tree, ConfigError> {
        let (source_name, text) = self.text()?;
        Tree::join(source_name, &text, &self.environment)
    }

    /// The format of log lines, even if the configuration cannot be read: for errors at that point.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        let known = match self.load() {
            Ok(tree) => tree.text("host.log_format").map(str::to_owned),
            Err(_) => self.environment.get("GREYHOUND__HOST__LOG_FORMAT").cloned().or_else(|| self.written_format()),
        };
        if known.as_deref() == Some("json") { LogFormat::Json } else { LogFormat::Text }
    }

    /// The format that a line of the file names, even if the file is not valid TOML.
    fn written_format(&self) -> Option<String> {
        let (_, text) = self.text().ok()?;
        let value =
            text.lines().find_map(|line| line.trim().strip_prefix("log_format")?.trim_start().strip_prefix('='))?;
        Some(value.split('#').next()?.trim().trim_matches(['"', '\'']).to_owned())
    }

    fn text(&self) -> Result<(String, String), ConfigError> {
        let path = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.file.is_none() => {
                Ok(("the built-in configuration".to_owned(), String::new()))
            }
            Err(e) => Err(only(&path.display().to_string(), "the file", format!("cannot be read: {e}"))),
        }
    }
}

// === impl Tree ===

impl Tree {
    fn join(source_name: String, text: &str, environment: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let ours: HashMap<_, _> = environment.iter().filter(|(name, _)| name.starts_with("GREYHOUND__")).collect();
        let variables = ours.iter().map(|(name, value)| ((*name).clone(), (*value).clone())).collect();
        let variables = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(variables));
        let layers = config::Config::builder().add_source(File::from_str(text, FileFormat::Toml)).add_source(variables);
        let root = layers.build().and_then(config::Config::try_deserialize);
        let root = root.map_err(|e| only(&source_name, "syntax", without_source(&e.to_string())))?;
        let variables = ours.keys().map(|name| (key_of(name), (*name).clone())).collect();
        let mut strangers: Vec<_> = environment
            .keys()
            .filter(|name| name.starts_with("GREYHOUND_") && !ours.contains_key(name))
            .cloned()
            .collect();
        strangers.sort_unstable();
        Ok(Self { source_name, root, variables, strangers })
    }

    /// The name of the configuration, for messages.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// The text at `key`, such as `plugins.messaging.listen`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        key.split('.').try_fold(&self.root, |at, name| at.get(name))?.as_str()
    }

    /// Sets `key` to `value`, which overrides all layers.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let (parent, name) = split(key);
        if let Some(section) = self.section(parent, true) {
            section.insert(name.to_owned(), value.into());
        }
    }

    /// Removes `key` and returns its value.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        let (parent, name) = split(key);
        self.section(parent, false)?.remove(name)
    }

    /// Reads the section of the plugin `name`.
    ///
    /// # Errors
    /// [`ConfigError`] with every invalid key.
    pub fn plugin<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ConfigError> {
        let (mut tree, mut problems, section) = (self.clone(), Vec::new(), format!("plugins.{name}"));
        tree.take(&format!("{section}.{ENABLED}"));
        let config = tree.read(&section, &mut problems);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(ConfigError { source_name: self.source_name.clone(), problems }),
        }
    }

    /// The names of the sections and keys in the section `key`.
    pub(crate) fn names(&self, key: &str) -> Vec<String> {
        let section = key.split('.').try_fold(&self.root, |at, name| at.get(name));
        section.and_then(Value::as_object).map(|it| it.keys().cloned().collect()).unwrap_or_default()
    }

    /// The name of an environment variable that sets `key`, or a key below it.
    pub(crate) fn variable_in(&self, key: &str) -> Option<&str> {
        let sets = |(it, _): &(&String, &String)| {
            it.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.variables.iter().filter(sets).map(|(_, variable)| variable.as_str()).min()
    }

    /// Reads the section `key` (empty: the whole configuration) as a `T`, and reports every invalid key. The result has the
    /// default for invalid keys.
    pub(crate) fn read<T: DeserializeOwned + Default>(&mut self, key: &str, problems: &mut Vec<Problem>) -> T {
        // Each round converts a text or removes a key, so the loop ends.
        loop {
            let value = self.value(key).unwrap_or_else(|| Value::Object(Map::new()));
            let error = match serde_path_to_error::deserialize::<_, T>(value) {
                Ok(part) => return part,
                Err(error) => error,
            };
            let (full, owner) = paths(key, error.path());
            let why = error.inner().to_string();
            if self.reread(&owner, &why) {
                continue;
            }
            problems.push(Problem { message: self.explain(&full, &owner, &why), key: full });
            if self.take(&owner).is_none() {
                return T::default();
            }
        }
    }

    fn value(&self, key: &str) -> Option<Value> {
        let names = key.split('.').filter(|name| !name.is_empty());
        names.into_iter().try_fold(&self.root, |at, name| at.get(name)).cloned()
    }

    fn explain(&self, full: &str, owner: &str, why: &str) -> String {
        let why = explain(full, why, self.value(owner).as_ref());
        match self.variables.get(owner) {
            Some(variable) => format!("{why} (from {variable})"),
            None => why,
        }
    }

    /// Converts a text from the environment to the type of the key. False if it did not come from there or is no longer text.
    fn reread(&mut self, key: &str, why: &str) -> bool {
        let text = self.text(key).filter(|_| self.variables.contains_key(key));
        let value =
            text.and_then(|text| typed(text, why.contains("expected a sequence"))).filter(|value| !value.is_string());
        let Some(value) = value else { return false };
        self.set(key, value);
        true
    }

    /// The section at `key`. Creates it if it is missing and `make` is true.
    fn section(&mut self, key: &str, make: bool) -> Option<&mut Map<String, Value>> {
        let mut at = self.root.as_object_mut()?;
        for name in key.split('.').filter(|name| !name.is_empty()) {
            if make {
                at.entry(name).or_insert_with(|| Value::Object(Map::new()));
            }
            at = at.get_mut(name)?.as_object_mut()?;
        }
        Some(at)
    }
}

/// A single problem.
pub(super) fn only(source_name: &str, key: &str, message: String) -> ConfigError {
    ConfigError { source_name: source_name.to_owned(), problems: vec![Problem { key: key.to_owned(), message }] }
}

/// A TOML error without the lines that quote the file, which may have a secret.
fn without_source(error: &str) -> String {
    let quotes =
        |line: &str| line.split_once('|').is_some_and(|(number, _)| number.trim().bytes().all(|b| b.is_ascii_digit()));
    error.lines().filter(|line| !quotes(line)).collect::<Vec<_>>().join(": ")
}

/// The key that a variable overrides.
fn key_of(variable: &str) -> String {
    variable[PREFIX.len() + 2..].to_lowercase().replace("__", ".")
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The path of an error below `section`: in full for the operator, and that of its key (a list is one key).
fn paths(section: &str, path: &serde_path_to_error::Path) -> (String, String) {
    let (mut full, mut owner, mut in_list) = (section.to_owned(), section.to_owned(), false);
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                full += &format!("[{index}]");
                in_list = true;
            }
            Segment::Map { key } => {
                let dot = if full.is_empty() { "" } else { "." };
                full += &format!("{dot}{key}");
                if !in_list {
                    owner += &format!("{dot}{key}");
                }
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    (full, owner)
}

/// Parses a text as a TOML value. A list needs no brackets and quotes.
fn typed(text: &str, list: bool) -> Option<Value> {
    if list && !text.trim_start().starts_with('[') {
        return Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect());
    }
    let toml = format!("value = {text}");
    let parsed = config::Config::builder().add_source(File::from_str(&toml, FileFormat::Toml)).build().ok()?;
    parsed.get::<Value>("value").ok()
}
