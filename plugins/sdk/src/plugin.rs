//! The lifecycle of a plugin: validate, build, run, drain.

use crate::config::Problems;
use crate::{Bus, Check, Health, TopicSchema};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// An error of a plugin. Its text is shown to the operator.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A part of the program that uses the bus and is configured in the section `[plugins.NAME]`.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// The plugin's configuration: its section of `greyhound.toml`. Every key must have a default, and unknown keys
    /// must be refused (`#[serde(default, deny_unknown_fields)]`). The host handles the key `enabled`.
    type Config: DeserializeOwned + Default + Clone + Send + Sync;

    /// Returns the name of the plugin, which is also that of its section, its directory and its HTTP routes.
    fn name(&self) -> &'static str;

    /// Returns the topics that the plugin publishes. A topic must follow the topics that its rows refer to.
    ///
    /// # Errors
    /// [`SchemaError`](crate::SchemaError) if one of the schemas is not valid.
    fn topics(&self) -> Result<Vec<TopicSchema>, crate::SchemaError> {
        Ok(Vec::new())
    }

    /// Validates the configuration without I/O, and reports all problems, each with the key's path below the plugin's
    /// section.
    fn validate(&self, _config: &Self::Config, _problems: &mut Problems) {}

    /// Returns the addresses on which the plugin listens, each with its key below the plugin's section. The host
    /// refuses a configuration in which two listeners have the same address.
    fn listens(&self, _config: &Self::Config) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }

    /// Checks that the files and directories in the configuration exist (see [`crate::paths`]), and reports problems
    /// like [`Plugin::validate`]. `data_dir` is the plugin's own directory, which may not exist yet. Must not change
    /// anything or contact another machine, and must return in bounded time.
    async fn inspect(&self, _config: &Self::Config, _data_dir: &Path, _problems: &mut Problems) {}

    /// Tries each dependency of the plugin once and returns a [`Check`] for it; called by `greyhound validate
    /// --connect`. Does I/O, must return in bounded time and must leave nothing behind.
    async fn check(&self, _config: &Self::Config) -> Vec<Check> {
        Vec::new()
    }

    /// Builds the component that [runs](Component::run). May do I/O (bind, connect, open), but must not spawn tasks.
    ///
    /// # Errors
    /// The reason why the plugin cannot start, with a remedy for the operator.
    async fn build(&self, config: Self::Config, context: Context) -> Result<Box<dyn Component>, Error>;
}

/// What the host passes to a plugin when it builds it.
#[derive(Clone)]
pub struct Context {
    /// The bus.
    pub bus: Bus,
    /// The node's name.
    pub node: String,
    /// The plugin's own directory, which exists.
    pub data_dir: PathBuf,
    /// Reports the plugin's readiness on `/readyz`.
    pub health: Health,
}

/// A built plugin.
#[async_trait]
pub trait Component: Send {
    /// Returns routes for the admin listener, which serves them below `/v1/<plugin>/` to authorized callers. Called
    /// once: the routes stay in use when the plugin is built again.
    fn routes(&mut self) -> axum::Router {
        axum::Router::new()
    }

    /// Returns names and values to print for the operator at start, for example `("clients", "http://127.0.0.1:3000")`.
    fn announce(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Runs until `drain` is requested, then finishes its accepted work by the deadline. No task of the plugin may be
    /// left when this returns.
    ///
    /// # Errors
    /// The reason why it ended early. The host restarts the plugin or ends the process, as configured.
    async fn run(self: Box<Self>, drain: Drain) -> Result<(), Error>;
}

/// Signals a plugin to finish. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Option<Instant>>);

/// The other end of a [`Drain`].
#[derive(Debug)]
pub struct DrainHandle(watch::Sender<Option<Instant>>);

impl Drain {
    /// Creates a drain and the handle that requests it.
    #[must_use]
    pub fn new() -> (DrainHandle, Self) {
        let (tx, rx) = watch::channel(None);
        (DrainHandle(tx), Self(rx))
    }

    /// Waits until the plugin must finish, and returns the deadline. Cancel-safe.
    pub async fn requested(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await.map(|at| *at) {
            Ok(Some(at)) => at,
            // The handle was dropped, so nothing waits for a clean end.
            _ => Instant::now(),
        }
    }

    /// Whether the plugin must finish.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }
}

impl DrainHandle {
    /// Tells the plugin to finish within `limit`.
    pub fn request(&self, limit: Duration) {
        self.0.send_replace(Some(Instant::now() + limit));
    }
}
