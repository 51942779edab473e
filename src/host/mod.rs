//! Configures, starts, supervises and stops the program: log, bus, plugins and admin listener.

mod banner;
mod erased;
mod error;
mod inspect;
mod logging;
pub mod metrics;
mod running;
mod signals;
mod storage;
mod supervise;
#[cfg(test)]
mod tests;

pub(crate) use error::RunError;
pub(crate) use logging::{init as init_logging, is_coloured, json_line};
pub(crate) use signals::signals;

use crate::api;
use crate::config::{ConfigError, Settings, Tree, knows, nearest};
use erased::{Configured, ErasedPlugin};
use futures_util::FutureExt;
use greyhound_sdk::config::{Problem, Problems};
use greyhound_sdk::{Check, Plugin, SchemaError, TopicSchema, descriptors};
use running::Running;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

/// The plugins of a program; [`cli::main`](crate::cli::main) runs it.
#[derive(Default)]
pub struct HostBuilder {
    plugins: Vec<Box<dyn ErasedPlugin>>,
}

/// The program with its valid configuration.
pub struct Host {
    /// All plugins, because the topics of a disabled plugin may still have rows.
    plugins: HostBuilder,
    settings: Settings,
    enabled: Vec<Arc<dyn Configured>>,
    lines: Vec<(String, String)>,
}

// === impl Host ===

impl Host {
    /// Returns a builder without plugins.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Whether the plugin `name` exists and is enabled.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.enabled.iter().any(|plugin| plugin.name() == name)
    }

    /// Adds a line to those that are printed at start.
    pub(crate) fn announce(&mut self, name: &str, value: impl Into<String>) {
        self.lines.push((name.to_owned(), value.into()));
    }

    /// Checks the files, directories and addresses in the configuration on this machine, without changing anything.
    /// Returns the problems and the warnings.
    pub(crate) async fn inspect(&self) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = inspect::files(&self.settings, self.enabled.iter().map(|plugin| plugin.name()));
        problems.extend(inspect::listeners(&self.settings, &listens(&self.settings, &self.enabled)));
        let mut warnings = Vec::new();
        for plugin in &self.enabled {
            let found = plugin.inspect(&self.settings.plugin_dir(plugin.name())).await;
            warnings.extend_from_slice(found.warnings());
            problems.extend(found.into_list());
        }
        (problems, warnings)
    }

    /// Tries the dependencies of the plugins. Returns the name and the checks of each plugin.
    pub(crate) async fn check(&self) -> Vec<(&'static str, Vec<Check>)> {
        let mut checks = Vec::new();
        for plugin in &self.enabled {
            checks.push((plugin.name(), plugin.check().await));
        }
        checks
    }

    /// Runs the program until `shutdown` completes, then drains it. Logs to stderr unless logging is set up already.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        logging::init(self.settings.host.log_format);
        let (node, data_dir) = (self.settings.node.name.clone(), self.settings.node.data_dir.display().to_string());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), node, data_dir, "starting");
        descriptors::raise();
        let mut running = self.start(api::metrics::install()).await?;
        let mut shutdown = pin!(shutdown.fuse());
        let ended = running.until(shutdown.as_mut()).await;
        let mut drain = pin!(running.drain());
        let drained = loop {
            tokio::select! {
                drained = &mut drain => break drained,
                // The first signal after a request to drain ends nothing at once.
                () = &mut shutdown => {}
            }
        };
        tracing::info!("stopped");
        ended.and(drained)
    }

    async fn start(self, recorder: api::metrics::Recorder) -> Result<Running, RunError> {
        let topics = self.plugins.topics()?;
        Running::start(self.settings, topics, self.enabled, self.lines, recorder).await
    }
}

/// Returns every address on which the program listens, with its key.
fn listens(settings: &Settings, plugins: &[Arc<dyn Configured>]) -> Vec<(String, SocketAddr)> {
    let own = ("admin.listen".to_owned(), settings.admin.listen);
    [own].into_iter().chain(plugins.iter().flat_map(|plugin| plugin.listens())).collect()
}

// === impl HostBuilder ===

impl HostBuilder {
    /// Adds a plugin. Add plugins in the order in which rows flow, sources first and sinks last: they are drained in
    /// this order and started in reverse.
    ///
    /// # Panics
    /// If another plugin has the same name.
    #[must_use]
    pub fn plugin<P: Plugin>(mut self, plugin: P) -> Self {
        assert!(!self.contains(plugin.name()), "two plugins are called `{}`: rename one of them", plugin.name());
        self.plugins.push(erased::erase(plugin));
        self
    }

    /// Whether the plugin `name` is part of the program, enabled or not.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.name() == name)
    }

    /// Returns the topics of all plugins, each after the topics that its rows refer to. The bus adds `greyhound.gap`.
    pub(crate) fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        let topics: Result<Vec<_>, _> = self.plugins.iter().map(|plugin| plugin.topics()).collect();
        Ok(topics?.into_iter().flatten().collect())
    }

    /// Reads and validates the configuration, without I/O, for a program that runs the plugins.
    pub(crate) fn configure(self, mut config: Tree) -> Result<Host, ConfigError> {
        let (settings, enabled, mut problems) = self.read(&mut config);
        problems.extend(self.other_sections(&config));
        problems.extend(self.unknown_topics(&settings));
        match problems.is_empty() {
            true => Ok(Host { plugins: self, settings, enabled, lines: Vec::new() }),
            false => Err(ConfigError { source_name: config.source_name().to_owned(), problems }),
        }
    }

    /// Reads the program's own part of the configuration, for commands that run no plugin. The file may be that of
    /// another program, and have sections and topics of plugins that this program does not have. A misspelt section is
    /// refused, because the command would work with the plugin's defaults.
    pub(crate) fn settings(&self, config: &Tree) -> Result<Settings, ConfigError> {
        let (settings, _, problems) = self.read(&mut config.clone());
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(ConfigError { source_name: config.source_name().to_owned(), problems }),
        }
    }

    /// Reads the configuration of the program and its plugins. Returns the settings, the enabled plugins and the
    /// problems.
    fn read(&self, config: &mut Tree) -> (Settings, Vec<Arc<dyn Configured>>, Vec<Problem>) {
        let mut problems = Vec::new();
        let settings: Settings = config.read("", &mut problems);
        let mut invalid = Problems::default();
        settings.validate(&mut invalid);
        problems.extend(invalid.into_list());
        let enabled: Vec<_> = self.plugins.iter().filter_map(|p| p.configure(config, &mut problems)).collect();
        problems.extend(inspect::clashes(&listens(&settings, &enabled)));
        problems.extend(self.misspelt_sections(config));
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
        let message = |topic: &String| format!("unknown topic {topic}; expected any of: {}", names.join(", "));
        open.map(|topic| Problem { key: "admin.open_topics".into(), message: message(topic) }).collect()
    }

    /// The sections that are probably meant for a plugin of this program.
    fn misspelt_sections(&self, config: &Tree) -> Vec<Problem> {
        let meant = |name: String| {
            let near = self.nearest(&name)?;
            Some(no_such_plugin(config, &name, &format!("did you mean `{near}`?")))
        };
        self.unknown_sections(config).filter_map(meant).collect()
    }

    /// The sections of plugins that this program does not have, except misspelt ones.
    fn other_sections(&self, config: &Tree) -> Vec<Problem> {
        let expected = format!("expected one of: {}", self.names().collect::<Vec<_>>().join(", "));
        let others = self.unknown_sections(config).filter(|name| self.nearest(name).is_none());
        others.map(|name| no_such_plugin(config, &name, &expected)).collect()
    }

    fn unknown_sections(&self, config: &Tree) -> impl Iterator<Item = String> {
        config.names("plugins").into_iter().filter(|name| !self.contains(name))
    }

    fn nearest(&self, section: &str) -> Option<&'static str> {
        nearest(section, self.names())
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.plugins.iter().map(|plugin| plugin.name())
    }
}

fn no_such_plugin(config: &Tree, name: &str, hint: &str) -> Problem {
    let key = format!("plugins.{name}");
    let origin = config.variable_in(&key).map(|variable| format!(" (from {variable})")).unwrap_or_default();
    Problem { message: format!("this program has no such plugin; {hint}{origin}"), key }
}
