//! A plugin's life: validate, build, run, drain.

use crate::config::Problems;
use crate::{Bus, Check, Health, TopicSchema};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a plugin's life may fail with; its text is shown to the operator.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A part of the program that lives on the bus, switched on by a section `[plugins.NAME]`.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// The plugin's configuration: its section of `greyhound.toml`. Every key has a default; unknown
    /// keys must be refused (`#[serde(default, deny_unknown_fields)]`). The key `enabled` is the host's.
    type Config: DeserializeOwned + Default + Clone + Send + Sync;

    /// The name of the plugin, of its section, its directory and its HTTP routes.
    fn name(&self) -> &'static str;

    /// The topics that it publishes. A topic stands after those whose rows its own rows name.
    ///
    /// # Errors
    /// Where one of its schemas is not valid.
    fn topics(&self) -> Result<Vec<TopicSchema>, crate::SchemaError> {
        Ok(Vec::new())
    }

    /// Looks at the configuration alone, without I/O, and reports every problem at once, with the
    /// key's path below the plugin's section.
    fn validate(&self, _config: &Self::Config, _problems: &mut Problems) {}

    /// The addresses on which it will listen, each with its key below the plugin's section: no two listeners may have
    /// the same.
    fn listens(&self, _config: &Self::Config) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }

    /// Looks on this machine for what the configuration names, such as files (see [`crate::place`]), and reports what
    /// is not there as [`Plugin::validate`] does. `data_dir` is the plugin's own directory, which may not exist yet.
    /// Changes nothing, asks no other machine, ends by itself.
    async fn look(&self, _config: &Self::Config, _data_dir: &Path, _problems: &mut Problems) {}

    /// Tries what the plugin depends on, for `greyhound validate --connect`: each thing once, with a [`Check`] for it.
    /// Does I/O, ends by itself, leaves nothing behind.
    async fn check(&self, _config: &Self::Config) -> Vec<Check> {
        Vec::new()
    }

    /// Makes what [runs](Component::run). May do I/O (bind, connect, open), spawns nothing.
    ///
    /// # Errors
    /// Whatever keeps it from starting, in words for the operator.
    async fn build(&self, config: Self::Config, context: Context) -> Result<Box<dyn Component>, Error>;
}

/// What a plugin is given when it is built.
#[derive(Clone)]
pub struct Context {
    /// The bus.
    pub bus: Bus,
    /// The node's name.
    pub node: String,
    /// A directory of the plugin's own, which exists.
    pub data_dir: PathBuf,
    /// The plugin's voice on `/readyz`.
    pub health: Health,
}

/// A built plugin.
#[async_trait]
pub trait Component: Send {
    /// Routes for the admin listener, served below `/v1/<plugin>/` behind its check of the caller. Asked for once: they
    /// go on when the plugin is built again.
    fn routes(&mut self) -> axum::Router {
        axum::Router::new()
    }

    /// Lines for the operator at start: what is where (for example `("clients", "http://127.0.0.1:3000")`).
    fn announce(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Runs until `drain` is requested, then finishes what was accepted by its deadline. Owns its tasks:
    /// when it returns, none is left.
    ///
    /// # Errors
    /// Whatever ended it early: the host restarts it, or ends the process, as configured.
    async fn run(self: Box<Self>, drain: Drain) -> Result<(), Error>;
}

/// Tells a plugin when to finish. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Option<Instant>>);

/// The other end of a [`Drain`].
#[derive(Debug)]
pub struct DrainHandle(watch::Sender<Option<Instant>>);

impl Drain {
    /// A drain and the handle that requests it.
    #[must_use]
    pub fn new() -> (DrainHandle, Self) {
        let (tx, rx) = watch::channel(None);
        (DrainHandle(tx), Self(rx))
    }

    /// Waits until the plugin must finish and returns its deadline. Cancel-safe.
    pub async fn requested(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await.map(|at| *at) {
            Ok(Some(at)) => at,
            // The handle is gone: nobody waits for a clean end.
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
