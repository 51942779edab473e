//! Starts, watches and drains the parts of the program.

use super::erased::Configured;
use super::supervise::{self, Supervised};
use super::{RunError, banner, metrics, storage};
use crate::api::{self, Listener};
use crate::bus::{End, EventBus};
use crate::config::Settings;
use crate::workers::{Watchdog, Workers};
use greyhound_sdk::fs::{FileSystem, OsFileSystem};
use greyhound_sdk::plugin::DrainHandle;
use greyhound_sdk::{Component, Context, Drain, Health, TopicSchema};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Drain timeout of requests to the admin listener.
const API_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Minimum time for closing the log, even if the plugins used up the deadline.
const LOG_CLOSE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// How often the readiness is polled at start.
const READINESS_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The running parts of the program.
pub(super) struct Running {
    settings: Settings,
    bus: Arc<EventBus>,
    health: Health,
    plugins: Vec<Supervised>,
    api: Option<(DrainHandle, JoinHandle<()>)>,
    /// Notified when a caller of the admin listener asks the program to stop.
    shutdown: Arc<Notify>,
    workers: Workers,
    watchdog: Watchdog,
    /// A task blocks a worker thread, so what runs on it cannot be drained.
    is_stalled: bool,
}

/// A plugin that was built but is not running yet.
struct Built {
    plugin: Arc<dyn Configured>,
    component: Box<dyn Component>,
    context: Context,
}

impl Running {
    pub(super) async fn start(
        settings: Settings,
        topics: Vec<TopicSchema>,
        plugins: Vec<Arc<dyn Configured>>,
        lines: Vec<(String, String)>,
        recorder: api::metrics::Recorder,
    ) -> Result<Self, RunError> {
        metrics::describe();
        let health = Health::default();
        let log = storage::open(&settings).await?;
        let bus = Arc::new(EventBus::start(log, topics, storage::bus_options(&settings, &health)).await?);
        let workers = Workers::start().map_err(RunError::Threads)?;
        let watchdog = Watchdog::start(workers.handle(), settings.host.watchdog, health.of("workers"))
            .map_err(RunError::Threads)?;
        let mut running = Self {
            settings,
            bus,
            health,
            plugins: Vec::new(),
            api: None,
            shutdown: Arc::default(),
            workers,
            watchdog,
            is_stalled: false,
        };
        match running.start_parts(plugins, lines, recorder).await {
            Ok(()) => Ok(running),
            Err(e) => {
                // Closes the log cleanly.
                let _ = running.drain().await;
                Err(e)
            }
        }
    }

    async fn start_parts(
        &mut self,
        plugins: Vec<Arc<dyn Configured>>,
        more_lines: Vec<(String, String)>,
        recorder: api::metrics::Recorder,
    ) -> Result<(), RunError> {
        let listener = Listener::bind(&self.settings.admin).await?;
        let mut built = self.build(plugins).await?;
        let routes = built.iter_mut().map(|it| (it.plugin.name(), it.component.routes())).collect();
        let mut lines: Vec<_> = built.iter().flat_map(|it| it.component.announce()).collect();
        lines.push(("admin".into(), listener.url()));
        lines.extend(more_lines);
        let on_failure = self.settings.host.on_failure;
        let workers = self.workers.handle();
        let start = |it: Built| Supervised::start(it.plugin, it.component, it.context, on_failure, workers.clone());
        self.plugins = built.into_iter().map(start).collect();
        let (handle, drain) = Drain::new();
        let state = api::ApiState {
            bus: self.bus.clone(),
            health: self.health.clone(),
            recorder,
            open_topics: self.settings.admin.open_topics.clone().into(),
            shutdown: self.shutdown.clone(),
        };
        self.api = Some((handle, tokio::spawn(listener.serve(state, routes, workers, drain))));
        banner::print(lines, self.settings.host.log_format);
        Ok(())
    }

    /// Builds sinks before sources, so that a source accepts no data before its sinks exist.
    async fn build(&self, plugins: Vec<Arc<dyn Configured>>) -> Result<Vec<Built>, RunError> {
        let mut built = Vec::new();
        for plugin in plugins.into_iter().rev() {
            let context = self.context(plugin.name())?;
            let component = supervise::build(&self.workers.handle(), &plugin, context.clone()).await;
            let component = component.map_err(|why| RunError::Plugin { name: plugin.name(), why })?;
            built.push(Built { plugin, component, context });
        }
        built.reverse();
        Ok(built)
    }

    fn context(&self, name: &'static str) -> Result<Context, RunError> {
        let data_dir = self.settings.plugin_dir(name);
        OsFileSystem
            .create_dir_all(&data_dir)
            .map_err(|e| RunError::DataDir { path: data_dir.clone(), why: e.to_string() })?;
        Ok(Context {
            bus: self.bus.handle(),
            node: self.settings.node.name.clone(),
            data_dir,
            health: self.health.of(name),
        })
    }

    /// Runs until `shutdown` completes, a caller of the admin listener asks for it, or a part fails that cannot be
    /// restarted.
    pub(super) async fn until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let (health, asked) = (self.health.clone(), self.shutdown.clone());
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            () = asked.notified() => Ok(()),
            failed = self.failure() => Err(failed),
            never = log_ready(&health) => match never {},
        };
        let deadline = humantime::format_duration(self.settings.host.shutdown_deadline);
        match &ended {
            Ok(()) => tracing::info!(%deadline, "draining"),
            Err(why) => {
                tracing::error!(error = %why, %deadline, "draining after a failure")
            }
        }
        ended
    }

    /// Waits until a part fails that cannot be restarted.
    async fn failure(&mut self) -> RunError {
        let plugins: Vec<_> = self.plugins.iter_mut().map(|p| Box::pin(p.failed())).collect();
        let any_plugin = async {
            match plugins.is_empty() {
                true => std::future::pending().await,
                false => futures_util::future::select_all(plugins).await.0,
            }
        };
        let api = async {
            match &mut self.api {
                Some((_, task)) => task.await,
                None => std::future::pending().await,
            }
        };
        let failed = tokio::select! {
            failed = any_plugin => failed,
            ended = api => RunError::AdminEnded(ended.err().map_or_else(|| "it was not drained".to_owned(), |e| e.to_string())),
            blocked = self.watchdog.stalled() => RunError::Stalled(blocked),
            end = self.bus.ended() => closed(end).err().unwrap_or_else(|| RunError::LogFailed("it was closed".into())),
        };
        match &failed {
            RunError::Stalled(_) => self.is_stalled = true,
            // Its task has completed and must not be awaited again.
            RunError::AdminEnded(_) => self.api = None,
            _ => {}
        }
        failed
    }

    /// Stops everything within the deadline: the plugins in the order in which rows flow, then the admin listener, then
    /// the log.
    pub(super) async fn drain(self) -> Result<(), RunError> {
        let Self { settings, bus, health, plugins, api, workers: _workers, watchdog, is_stalled, .. } = self;
        health.of("host").not_ready("draining");
        if !is_stalled {
            sleep(settings.host.drain_wait).await;
        }
        let limit = if is_stalled { Duration::ZERO } else { settings.host.shutdown_deadline };
        // The deadline bounds a normal drain. If the workers are stalled, the watchdog stays alive to bound it.
        let _watchdog = is_stalled.then_some(watchdog);
        let start = Instant::now();
        let (plugins_end, end) = (start + limit * 9 / 10, start + limit);
        let mut left = plugins.len();
        for plugin in plugins {
            left -= 1;
            // Every plugin but the last may use half of the remaining time.
            let share = until(plugins_end) / if left > 0 { 2 } else { 1 };
            plugin.drain(share).await;
            // Its last rows must be durable before their consumers are told to finish.
            bus.flush(until(plugins_end)).await;
        }
        if let Some((handle, task)) = api {
            handle.request(API_DRAIN_TIMEOUT.min(until(end)));
            let _ = task.await;
        }
        closed(bus.close(until(end).max(LOG_CLOSE_TIMEOUT_MIN)).await)
    }
}

/// Logs `ready` as soon as all parts are ready.
async fn log_ready(health: &Health) -> Infallible {
    loop {
        sleep(READINESS_POLL_INTERVAL).await;
        if health.parts().iter().all(|(_, why)| why.is_none()) {
            tracing::info!("ready");
            return std::future::pending().await;
        }
    }
}

fn until(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

fn closed(end: End) -> Result<(), RunError> {
    match end {
        End::Clean => Ok(()),
        End::GaveUp(why) | End::Failed(why) => Err(RunError::LogFailed(why)),
        End::Abandoned => Err(RunError::LogFailed("it was dropped without being closed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::host::tests::config;
    use std::future::pending;
    use tokio::time::timeout;

    async fn running(dir: &tempfile::TempDir, recorder: api::metrics::Recorder) -> Running {
        let host = Host::builder().configure(config(dir.path(), "")).unwrap();
        host.start(recorder).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_of_the_admin_listener_ends_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut running = running(&dir, api::metrics::install()).await;
        let (handle, listener) = running.api.take().unwrap();
        listener.abort();
        running.api = Some((handle, tokio::spawn(async { panic!("on purpose") })));
        let ended = timeout(Duration::from_secs(30), running.until(pending())).await.unwrap();
        assert!(matches!(&ended, Err(RunError::AdminEnded(why)) if why.contains("panicked")), "{ended:?}");
        running.drain().await.unwrap();
    }

    /// Samples are kept one by one until they are folded into their histogram.
    #[tokio::test(flavor = "multi_thread")]
    async fn samples_are_folded_even_without_a_scrape() {
        let dir = tempfile::tempdir().unwrap();
        let (records, recorder) = api::metrics::Recorder::detached();
        let running = running(&dir, recorder.clone()).await;
        // The listener folds once when it starts; the second sample is folded later.
        for name in ["first", "second"] {
            ::metrics::with_local_recorder(&records, || ::metrics::histogram!(name).record(1.0));
            let folded = async {
                while !recorder.has_folded(name) {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(Duration::from_secs(60), folded).await.unwrap();
        }
        running.drain().await.unwrap();
    }
}
