//! Type erasure for plugins.

use crate::config::{ENABLED, Tree, knows};
use async_trait::async_trait;
use greyhound_sdk::config::{Problem, Problems};
use greyhound_sdk::{Check, Component, Context, Error, Plugin, SchemaError, TopicSchema};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A plugin without its type.
pub(super) trait ErasedPlugin: Send + Sync {
    fn name(&self) -> &'static str;
    fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError>;
    /// Whether the plugin's section has this key.
    fn knows(&self, key: &[String]) -> bool;
    /// Reads the plugin's section and reports its problems. Returns `None` if the plugin is disabled.
    fn configure(&self, tree: &mut Tree, problems: &mut Vec<Problem>) -> Option<Arc<dyn Configured>>;
}

/// A plugin with its configuration, which can be built repeatedly.
#[async_trait]
pub(super) trait Configured: Send + Sync {
    fn name(&self) -> &'static str;
    /// Returns the addresses on which it listens, with the full paths of their keys.
    fn listens(&self) -> Vec<(String, SocketAddr)>;
    async fn inspect(&self, data_dir: &Path) -> Problems;
    async fn check(&self) -> Vec<Check>;
    async fn build(&self, context: Context) -> Result<Box<dyn Component>, Error>;
}

pub(super) fn erase<P: Plugin>(plugin: P) -> Box<dyn ErasedPlugin> {
    Box::new(Typed(Arc::new(plugin)))
}

struct Typed<P>(Arc<P>);

struct TypedConfigured<P: Plugin> {
    plugin: Arc<P>,
    config: P::Config,
}

impl<P: Plugin> ErasedPlugin for Typed<P> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        self.0.topics()
    }

    fn knows(&self, key: &[String]) -> bool {
        key == [ENABLED] || knows::<P::Config>(key)
    }

    fn configure(&self, tree: &mut Tree, problems: &mut Vec<Problem>) -> Option<Arc<dyn Configured>> {
        let section = section(self.name());
        let enabled = enabled(tree, &section, problems);
        let config: P::Config = tree.read(&section, problems);
        let mut invalid = Problems::below(&section);
        self.0.validate(&config, &mut invalid);
        problems.extend(invalid.into_list());
        enabled.then(|| Arc::new(TypedConfigured { plugin: self.0.clone(), config }) as Arc<dyn Configured>)
    }
}

#[async_trait]
impl<P: Plugin> Configured for TypedConfigured<P> {
    fn name(&self) -> &'static str {
        self.plugin.name()
    }

    fn listens(&self) -> Vec<(String, SocketAddr)> {
        let full = |(key, address)| (format!("{}.{key}", section(self.name())), address);
        self.plugin.listens(&self.config).into_iter().map(full).collect()
    }

    async fn inspect(&self, data_dir: &Path) -> Problems {
        let mut problems = Problems::below(&section(self.name()));
        self.plugin.inspect(&self.config, data_dir, &mut problems).await;
        problems
    }

    async fn check(&self) -> Vec<Check> {
        self.plugin.check(&self.config).await
    }

    async fn build(&self, context: Context) -> Result<Box<dyn Component>, Error> {
        self.plugin.build(self.config.clone(), context).await
    }
}

/// Returns the path of the plugin's section.
fn section(name: &str) -> String {
    format!("plugins.{name}")
}

/// Reads the key `enabled`, which the host handles for every plugin.
fn enabled(tree: &mut Tree, section: &str, problems: &mut Vec<Problem>) -> bool {
    let key = format!("{section}.{ENABLED}");
    let Some(value) = tree.take(&key) else { return true };
    let switch = value.as_bool().or_else(|| value.as_str()?.parse().ok());
    if switch.is_none() {
        problems.push(Problem { key, message: "expected true or false".into() });
    }
    switch.unwrap_or(true)
}
