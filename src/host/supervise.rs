//! Keeps a plugin running: one that fails is never half-dead in silence.

use super::RunError;
use super::erased::Configured;
use super::metrics::RESTARTS;
use super::workers;
use crate::config::OnFailure;
use greyhound_sdk::plugin::DrainHandle;
use greyhound_sdk::{Component, Context, Drain, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A plugin that ran so long begins again with the shortest pause.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// A plugin knows best how to stop in time: only this much later it is cut off.
const GRACE: Duration = Duration::from_millis(500);

/// A plugin that runs.
pub(super) struct Supervised {
    name: &'static str,
    drain: DrainHandle,
    task: JoinHandle<()>,
    failed: oneshot::Receiver<Error>,
}

/// What is needed to run a plugin again.
struct Keeper {
    plugin: Arc<dyn Configured>,
    context: Context,
    on_failure: OnFailure,
    workers: Handle,
    drain: Drain,
    pause: Duration,
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
        let (tell, failed) = oneshot::channel();
        let name = plugin.name();
        let keeper = Keeper { plugin, context, on_failure, workers, drain, pause: FIRST_PAUSE };
        let task = tokio::spawn(async move {
            if let Err(why) = keeper.keep(component).await {
                let _ = tell.send(why);
            }
        });
        Self { name, drain: handle, task, failed }
    }

    /// Waits until it failed and may not be restarted.
    pub(super) async fn failed(&mut self) -> RunError {
        match (&mut self.failed).await {
            Ok(why) => RunError::Plugin { name: self.name, why },
            // It ends without a word only by a panic of its own, or when it is drained, and then nobody asks.
            Err(_) => RunError::Plugin { name: self.name, why: "it could not be started again".into() },
        }
    }

    /// Tells it to finish within `limit`, and waits until it has.
    pub(super) async fn drain(mut self, limit: Duration) {
        self.drain.request(limit);
        if timeout(limit + GRACE, &mut self.task).await.is_err() {
            tracing::warn!(plugin = self.name, "did not finish in time");
            self.task.abort();
        }
    }
}

/// Builds a plugin on the threads that it is to run on.
pub(super) async fn build(
    workers: &Handle,
    plugin: &Arc<dyn Configured>,
    context: Context,
) -> Result<Box<dyn Component>, Error> {
    let plugin = plugin.clone();
    workers::on(workers, async move { plugin.build(context).await }).await?
}

// === impl Keeper ===

impl Keeper {
    /// Runs the plugin, again and again, until it is drained.
    async fn keep(mut self, mut component: Box<dyn Component>) -> Result<(), Error> {
        loop {
            let started = Instant::now();
            let why = match self.run(component).await {
                Ok(()) if self.drain.is_requested() => return Ok(()),
                Ok(()) => "it ended by itself".into(),
                Err(why) => why,
            };
            if self.on_failure == OnFailure::Exit {
                return Err(why);
            }
            if started.elapsed() > WELL_AFTER {
                self.pause = FIRST_PAUSE;
            }
            component = match self.build_again(why).await {
                Some(component) => component,
                None => return Ok(()),
            };
        }
    }

    /// Runs it in a task of its own, so that a panic is its alone; the task ends with this future.
    async fn run(&self, component: Box<dyn Component>) -> Result<(), Error> {
        workers::on(&self.workers, component.run(self.drain.clone())).await?
    }

    /// Builds it again, as often as it takes. `None` where it is to be drained.
    async fn build_again(&mut self, mut why: Error) -> Option<Box<dyn Component>> {
        loop {
            tracing::error!(plugin = self.plugin.name(), error = %why, again_in = %humantime::format_duration(self.pause), "a plugin failed");
            self.context.health.not_ready(format!("failed: {why}; it is started again"));
            tokio::select! {
                () = sleep(self.pause) => {}
                _ = self.drain.requested() => return None,
            }
            self.pause = (self.pause * 2).min(LAST_PAUSE);
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
