//! Runs a plugin, and restarts it or ends the process if it fails.

use super::RunError;
use super::erased::Configured;
use super::metrics::RESTARTS;
use crate::config::OnFailure;
use crate::workers;
use greyhound_sdk::plugin::DrainHandle;
use greyhound_sdk::{Component, Context, Drain, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const RESTART_DELAY_MIN: Duration = Duration::from_secs(1);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(30);
/// A plugin that ran this long restarts after the minimum delay.
const DELAY_RESET_AFTER: Duration = Duration::from_secs(60);
/// A plugin is aborted only this long after its deadline.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// A running plugin.
pub(super) struct Supervised {
    name: &'static str,
    drain: DrainHandle,
    task: JoinHandle<()>,
    failed: oneshot::Receiver<Error>,
}

/// Runs and restarts a plugin.
struct Supervisor {
    plugin: Arc<dyn Configured>,
    context: Context,
    on_failure: OnFailure,
    workers: Handle,
    drain: Drain,
    restart_delay: Duration,
}

// === impl Supervised ===

impl Supervised {
    pub(super) fn start(
        plugin: Arc<dyn Configured>,
        component: Box<dyn Component>,
        context: Context,
        on_failure: OnFailure,
        workers: Handle,
    ) -> Self {
        let (handle, drain) = Drain::new();
        let (report, failed) = oneshot::channel();
        let name = plugin.name();
        let supervisor = Supervisor { plugin, context, on_failure, workers, drain, restart_delay: RESTART_DELAY_MIN };
        let task = tokio::spawn(async move {
            if let Err(why) = supervisor.supervise(component).await {
                let _ = report.send(why);
            }
        });
        Self { name, drain: handle, task, failed }
    }

    /// Waits until the plugin has failed and is not restarted.
    pub(super) async fn failed(&mut self) -> RunError {
        match (&mut self.failed).await {
            Ok(why) => RunError::Plugin { name: self.name, why },
            // The supervisor panicked, or was drained, in which case nothing awaits this.
            Err(_) => RunError::Plugin { name: self.name, why: "it could not be restarted".into() },
        }
    }

    /// Tells the plugin to finish within `limit`, and waits until it has.
    pub(super) async fn drain(mut self, limit: Duration) {
        self.drain.request(limit);
        if timeout(limit + DRAIN_GRACE, &mut self.task).await.is_err() {
            tracing::warn!(plugin = self.name, "the plugin did not finish in time and was aborted");
            self.task.abort();
        }
    }
}

/// Builds a plugin on the worker threads.
pub(super) async fn build(
    workers: &Handle,
    plugin: &Arc<dyn Configured>,
    context: Context,
) -> Result<Box<dyn Component>, Error> {
    let plugin = plugin.clone();
    workers::on(workers, async move { plugin.build(context).await }).await?
}

// === impl Supervisor ===

impl Supervisor {
    /// Runs the plugin until it is drained, and restarts it if it fails.
    async fn supervise(mut self, mut component: Box<dyn Component>) -> Result<(), Error> {
        loop {
            let started = Instant::now();
            let why = match self.run(component).await {
                Ok(()) if self.drain.is_requested() => return Ok(()),
                Ok(()) => "it ended unexpectedly".into(),
                Err(why) => why,
            };
            if self.on_failure == OnFailure::Exit {
                return Err(why);
            }
            if started.elapsed() > DELAY_RESET_AFTER {
                self.restart_delay = RESTART_DELAY_MIN;
            }
            component = match self.rebuild(why).await {
                Some(component) => component,
                None => return Ok(()),
            };
        }
    }

    /// Runs the plugin in its own task, so that a panic does not spread. The task ends with this future.
    async fn run(&self, component: Box<dyn Component>) -> Result<(), Error> {
        workers::on(&self.workers, component.run(self.drain.clone())).await?
    }

    /// Builds the plugin again, and retries until it succeeds. Returns `None` if a drain is requested.
    async fn rebuild(&mut self, mut why: Error) -> Option<Box<dyn Component>> {
        loop {
            tracing::error!(plugin = self.plugin.name(), error = %why, restart_in = %humantime::format_duration(self.restart_delay), "a plugin failed");
            self.context.health.not_ready(format!("failed: {why}; it will be restarted"));
            tokio::select! {
                () = sleep(self.restart_delay) => {}
                _ = self.drain.requested() => return None,
            }
            self.restart_delay = (self.restart_delay * 2).min(RESTART_DELAY_MAX);
            metrics::counter!(RESTARTS, "plugin" => self.plugin.name()).increment(1);
            match build(&self.workers, &self.plugin, self.context.clone()).await {
                Ok(component) => {
                    self.context.health.ready();
                    return Some(component);
                }
                Err(e) => why = e,
            }
        }
    }
}
