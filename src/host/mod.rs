//! The life of the program: configuration, log, bus, plugins, the admin listener, and their end.

mod banner;
mod erased;
mod error;
mod logging;
mod look;
pub mod metrics;
mod running;
mod signals;
mod storage;
mod supervise;
#[cfg(test)]
mod tests;
pub(crate) mod workers;

pub(crate) use error::RunError;
pub(crate) use logging::{init as init_logging, json_line};
pub(crate) use signals::signals;

use crate::api;
use crate::config::{ConfigError, Settings, Tree, knows, nearest};
use erased::{Configured, ErasedPlugin};
use greyhound_sdk::config::{Problem, Problems};
use greyhound_sdk::{Check, Plugin, SchemaError, TopicSchema, descriptors};
use running::Running;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;

/// The plugins of a program; [`cli::main`](crate::cli::main) runs it.
#[derive(Default)]
pub struct HostBuilder {
    plugins: Vec<Box<dyn ErasedPlugin>>,
}

/// The program with its configuration, which was found valid.
pub struct Host {
    /// All plugins: the topics of one that is switched off may still have rows.
    plugins: HostBuilder,
    settings: Settings,
    enabled: Vec<Arc<dyn Configured>>,
    lines: Vec<(String, String)>,
}

/// Whether people look at what is written to `out`, and want colours (<https://no-color.org>).
pub(crate) fn is_coloured(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

// === impl Host ===

impl Host {
    /// A program without plugins.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Whether the plugin `name` is there and switched on.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.enabled.iter().any(|plugin| plugin.name() == name)
    }

    /// Adds a line to what is printed at start.
    pub(crate) fn announce(&mut self, name: &str, value: impl Into<String>) {
        self.lines.push((name.to_owned(), value.into()));
    }

    /// Looks on this machine for what the configuration names, without changing anything; what is not there, or in the
    /// way.
    pub(crate) async fn look(&self) -> Vec<Problem> {
        let mut missing = look::own(&self.settings, self.enabled.iter().map(|plugin| plugin.name()));
        missing.extend(look::listeners(&self.settings, &listens(&self.settings, &self.enabled)));
        for plugin in &self.enabled {
            missing.extend(plugin.look(&self.settings.plugin_dir(plugin.name())).await);
        }
        missing
    }

    /// Tries what the plugins depend on; the checks of each by its name.
    pub(crate) async fn check(&self) -> Vec<(&'static str, Vec<Check>)> {
        let mut checks = Vec::new();
        for plugin in &self.enabled {
            checks.push((plugin.name(), plugin.check().await));
        }
        checks
    }

    /// Runs the program until `shutdown` is done, then drains it. Logs to stderr, unless logging is set up already.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        logging::init(self.settings.host.log_format);
        let (node, data_dir) = (self.settings.node.name.clone(), self.settings.node.data_dir.display().to_string());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), node, data_dir, "starting");
        descriptors::raise();
        let mut running = Running::start(self, api::metrics::install()).await?;
        let ended = running.until(shutdown).await;
        let drained = running.drain().await;
        tracing::info!("stopped");
        ended.and(drained)
    }
}

/// Every address on which the program will listen, with its key.
fn listens(settings: &Settings, plugins: &[Arc<dyn Configured>]) -> Vec<(String, SocketAddr)> {
    let own = ("admin.listen".to_owned(), settings.admin.listen);
    [own].into_iter().chain(plugins.iter().flat_map(|plugin| plugin.listens())).collect()
}

// === impl HostBuilder ===

impl HostBuilder {
    /// Adds a plugin. They stand in the order in which rows flow, sources first and sinks last: they are drained in
    /// this order, and started in the reverse.
    ///
    /// # Panics
    /// If another plugin has the same name.
    #[must_use]
    pub fn plugin<P: Plugin>(mut self, plugin: P) -> Self {
        assert!(!self.contains(plugin.name()), "two plugins are called `{}`: rename one of them", plugin.name());
        self.plugins.push(erased::erase(plugin));
        self
    }

    /// Whether the plugin `name` is part of the program, switched on or off.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.name() == name)
    }

    /// The topics of all plugins, in the order in which rows may name each other. The bus adds `greyhound.gap`.
    pub(crate) fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        let topics: Result<Vec<_>, _> = self.plugins.iter().map(|plugin| plugin.topics()).collect();
        Ok(topics?.into_iter().flatten().collect())
    }

    /// Reads the configuration, without any I/O, for a program that runs the plugins.
    pub(crate) fn configure(self, mut config: Tree) -> Result<Host, ConfigError> {
        let (settings, enabled, mut problems) = self.read(&mut config);
        problems.extend(self.unknown_sections(&config));
        problems.extend(self.unknown_topics(&settings));
        match problems.is_empty() {
            true => Ok(Host { plugins: self, settings, enabled, lines: Vec::new() }),
            false => Err(ConfigError { source_name: config.source_name().to_owned(), problems }),
        }
    }

    /// Reads the program's own part of the configuration, for commands that run no plugin. The file may also have
    /// sections and topics of plugins that this program does not know: it may be that of another program.
    pub(crate) fn settings(&self, config: &Tree) -> Result<Settings, ConfigError> {
        let (settings, _, problems) = self.read(&mut config.clone());
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(ConfigError { source_name: config.source_name().to_owned(), problems }),
        }
    }

    /// Reads what the program and its plugins know of the configuration: the settings, the plugins that are switched
    /// on, and what is wrong.
    fn read(&self, config: &mut Tree) -> (Settings, Vec<Arc<dyn Configured>>, Vec<Problem>) {
        let mut problems = Vec::new();
        let settings: Settings = config.read("", &mut problems);
        let mut impossible = Problems::default();
        settings.validate(&mut impossible);
        problems.extend(impossible.into_list());
        let enabled: Vec<_> = self.plugins.iter().filter_map(|p| p.configure(config, &mut problems)).collect();
        problems.extend(look::clashes(&listens(&settings, &enabled)));
        problems.extend(config.misspelt(|key| self.knows(key)));
        (settings, enabled, problems)
    }

    fn knows(&self, key: &[String]) -> bool {
        match key {
            [plugins, name, key @ ..] if plugins == "plugins" => {
                self.plugins.iter().any(|plugin| plugin.name() == name && plugin.knows(key))
            }
            _ => knows::<Settings>(key),
        }
    }

    fn unknown_topics(&self, settings: &Settings) -> Vec<Problem> {
        let topics: Vec<_> = self.plugins.iter().filter_map(|plugin| plugin.topics().ok()).flatten().collect();
        let names: Vec<_> = topics.iter().map(TopicSchema::name).collect();
        let open = settings.admin.open_topics.iter().filter(|topic| !names.contains(&topic.as_str()));
        let message = |topic: &String| format!("there is no topic {topic}; expected some of: {}", names.join(", "));
        open.map(|topic| Problem { key: "admin.open_topics".into(), message: message(topic) }).collect()
    }

    fn unknown_sections(&self, config: &Tree) -> Vec<Problem> {
        let known: Vec<&str> = self.plugins.iter().map(|p| p.name()).collect();
        let unknown = config.names("plugins").into_iter().filter(|name| !known.contains(&name.as_str()));
        let hint = |name: &str| match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("expected one of: {}", known.join(", ")),
        };
        let message = |name: &str| format!("this program has no such plugin; {}", hint(name));
        unknown.map(|name| Problem { message: message(&name), key: format!("plugins.{name}") }).collect()
    }
}
