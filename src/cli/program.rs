//! What the commands work with: the plugins of the program, and its configuration.

use super::admin::Client;
use super::failure::Failure;
use crate::bus::gap_schema;
use crate::config::{ConfigError, Layers, Settings, Tree};
use crate::host::{Host, HostBuilder};
use greyhound_sdk::TopicSchema;
use greyhound_sdk::config::Problem;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The plugins that have commands of their own.
pub(super) const MESSAGING: &str = "messaging";
pub(super) const ACTIVITY: &str = "activity";
const LISTEN: &str = "plugins.messaging.listen";

/// The plugins of the program, and its configuration, which is not checked yet.
pub(super) struct Program {
    plugins: HostBuilder,
    config: Tree,
    wrong_port: Option<Problem>,
}

/// The name under which the program was started.
pub(super) fn program_name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    path.file_name().map_or_else(|| "greyhound".to_owned(), |name| name.to_string_lossy().into_owned())
}

impl Program {
    /// Reads the file and the environment.
    pub(super) fn load(plugins: HostBuilder, layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self::new(plugins, layers.load()?, layers.environment.get("PORT").map_or("", String::as_str)))
    }

    /// The program with this configuration. `port`, unless it is empty, overrides the port that clients connect to.
    pub(super) fn new(plugins: HostBuilder, mut config: Tree, port: &str) -> Self {
        let overrides = plugins.contains(MESSAGING) && !port.is_empty();
        let wrong_port = if overrides { override_port(&mut config, port).err() } else { None };
        Self { plugins, config, wrong_port }
    }

    /// The name of the configuration file.
    pub(super) fn source_name(&self) -> &str {
        self.config.source_name()
    }

    /// The program, ready to run. Every section must belong to one of its plugins.
    pub(super) fn host(self) -> Result<Host, ConfigError> {
        let source_name = self.config.source_name().to_owned();
        with(self.wrong_port, source_name, self.plugins.configure(self.config))
    }

    /// The settings, for commands that run no plugin. They also work with the configuration of a program that has more
    /// plugins.
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        let source_name = self.config.source_name().to_owned();
        with(self.wrong_port.clone(), source_name, self.plugins.settings(&self.config))
    }

    /// The configuration of the plugin `name`, for commands that run no plugin.
    pub(super) fn plugin<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ConfigError> {
        self.settings()?;
        self.config.plugin(name)
    }

    /// Whether the program has the plugin `name`.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.plugins.contains(name)
    }

    /// The topics of all plugins.
    pub(super) fn topics(&self) -> Result<Vec<TopicSchema>, Failure> {
        self.plugins.topics().map_err(|e| Failure::failed(e.to_string()))
    }

    /// The topics that have tables: those of all plugins, and the bus's.
    pub(super) fn tables(&self) -> Result<Vec<TopicSchema>, Failure> {
        let mut topics = self.topics()?;
        topics.push(gap_schema());
        Ok(topics)
    }

    /// A client of the admin listener.
    pub(super) fn admin(&self) -> Result<Client, Failure> {
        Client::new(&self.settings()?.admin)
    }
}

/// `read`, with one more problem if there is one.
fn with<T>(problem: Option<Problem>, source_name: String, read: Result<T, ConfigError>) -> Result<T, ConfigError> {
    match (read, problem) {
        (Ok(_), Some(problem)) => Err(ConfigError { source_name, problems: vec![problem] }),
        (Ok(it), None) => Ok(it),
        (Err(mut error), problem) => {
            error.problems.extend(problem);
            Err(error)
        }
    }
}

fn override_port(config: &mut Tree, text: &str) -> Result<(), Problem> {
    let port: u16 = text.parse().map_err(|_| Problem {
        key: "PORT".into(),
        message: format!("`{text}` is not a port: expected a number up to 65535"),
    })?;
    let listen = match config.text(LISTEN) {
        Some(text) if text.starts_with("unix:") => {
            let message = format!("{LISTEN} is a Unix socket, which has no port: unset PORT, or set an address");
            return Err(Problem { key: "PORT".into(), message });
        }
        // The plugin reports an invalid address when it reads the key.
        Some(text) => text.parse().ok(),
        None => greyhound_messaging::Config::default().listen.socket_address(),
    };
    if let Some(listen) = listen {
        config.set(LISTEN, SocketAddr::new(listen.ip(), port).to_string());
    }
    Ok(())
}
