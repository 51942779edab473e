//! The parts that run, from their start to their drain.

use super::erased::Configured;
use super::supervise::{self, Supervised};
use super::workers::{Watchdog, Workers};
use super::{Host, RunError, banner, metrics, storage};
use crate::api::{self, Listener};
use crate::bus::{End, EventBus};
use crate::config::Settings;
use greyhound_sdk::fs::{FileSystem, OsFileSystem};
use greyhound_sdk::plugin::DrainHandle;
use greyhound_sdk::{Component, Context, Drain, Health};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long requests to the admin listener may still take at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// The log gets so long to close, even where plugins took all the time.
const LAST_ROWS: Duration = Duration::from_secs(1);

/// How often to look at start whether everything works.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The parts that run.
pub(super) struct Running {
    settings: Settings,
    bus: Arc<EventBus>,
    health: Health,
    plugins: Vec<Supervised>,
    api: Option<(DrainHandle, JoinHandle<()>)>,
    workers: Workers,
    watchdog: Watchdog,
    /// A worker is kept by a task: what runs on it cannot be drained.
    is_stalled: bool,
}

/// A plugin that was built and does not run yet.
struct Built {
    plugin: Arc<dyn Configured>,
    component: Box<dyn Component>,
    context: Context,
}

impl Running {
    pub(super) async fn start(host: Host, recorder: api::metrics::Recorder) -> Result<Self, RunError> {
        metrics::describe();
        let health = Health::default();
        let topics = host.plugins.topics()?;
        let Host { settings, enabled, lines, .. } = host;
        let log = storage::open(&settings).await?;
        let bus = Arc::new(EventBus::start(log, topics, storage::bus_options(&settings, &health)).await?);
        let workers = Workers::start().map_err(RunError::Threads)?;
        let watchdog = Watchdog::start(workers.handle(), settings.host.watchdog, health.of("workers"))
            .map_err(RunError::Threads)?;
        let mut running =
            Self { settings, bus, health, plugins: Vec::new(), api: None, workers, watchdog, is_stalled: false };
        match running.start_parts(enabled, lines, recorder).await {
            Ok(()) => Ok(running),
            Err(e) => {
                // The log is closed cleanly all the same.
                let _ = running.drain().await;
                Err(e)
            }
        }
    }

    async fn start_parts(
        &mut self,
        enabled: Vec<Arc<dyn Configured>>,
        more_lines: Vec<(String, String)>,
        recorder: api::metrics::Recorder,
    ) -> Result<(), RunError> {
        let listener = Listener::bind(&self.settings.admin).await?;
        let mut built = self.build(enabled).await?;
        let routes = built.iter_mut().map(|it| (it.plugin.name(), it.component.routes())).collect();
        let mut lines: Vec<_> = built.iter().flat_map(|it| it.component.announce()).collect();
        lines.push(("admin".into(), format!("http://{}", listener.address())));
        lines.extend(more_lines);
        let on_failure = self.settings.host.on_failure;
        let workers = self.workers.handle();
        let start = |it: Built| Supervised::start(it.plugin, it.component, it.context, on_failure, workers.clone());
        self.plugins = built.into_iter().map(start).collect();
        let (handle, drain) = Drain::new();
        let shared = api::Shared {
            bus: self.bus.clone(),
            health: self.health.clone(),
            recorder,
            open_topics: self.settings.admin.open_topics.clone().into(),
        };
        self.api = Some((handle, tokio::spawn(listener.serve(shared, routes, workers, drain))));
        banner::print(lines, self.settings.host.log_format);
        Ok(())
    }

    /// Builds sinks before sources, so that a source takes nothing that has nowhere to go.
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

    /// Runs until `shutdown` is done, or until something fails that cannot be restarted.
    pub(super) async fn until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let health = self.health.clone();
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            failed = self.failure() => Err(failed),
            never = tell_ready(&health) => match never {},
        };
        let deadline = humantime::format_duration(self.settings.host.shutdown_deadline);
        match &ended {
            Ok(()) => tracing::info!(%deadline, "draining"),
            Err(why) => {
                tracing::error!(error = %why, %deadline, "draining, because something failed that is not restarted")
            }
        }
        ended
    }

    /// Waits until something fails that cannot be restarted.
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
            ended = api => RunError::AdminEnded(ended.err().map_or_else(|| "nobody told it to".to_owned(), |e| e.to_string())),
            kept = self.watchdog.stalled() => RunError::Stalled(kept),
            end = self.bus.ended() => closed(end).err().unwrap_or_else(|| RunError::LogFailed("it was closed".into())),
        };
        match &failed {
            RunError::Stalled(_) => self.is_stalled = true,
            // It is not asked a second time.
            RunError::AdminEnded(_) => self.api = None,
            _ => {}
        }
        failed
    }

    /// Ends everything within the deadline: plugins in the order in which rows flow, then the admin listener, then the
    /// log.
    pub(super) async fn drain(self) -> Result<(), RunError> {
        let Self { settings, bus, health, plugins, api, workers: _workers, watchdog, is_stalled } = self;
        health.of("host").not_ready("draining");
        if !is_stalled {
            sleep(settings.host.drain_wait).await;
        }
        let limit = if is_stalled { Duration::ZERO } else { settings.host.shutdown_deadline };
        // Of a drain the deadline is the end; of one without plugins the watchdog.
        let _watchdog = is_stalled.then_some(watchdog);
        let start = Instant::now();
        let (plugins_end, end) = (start + limit * 9 / 10, start + limit);
        let mut left = plugins.len();
        for plugin in plugins {
            left -= 1;
            // Who comes later is left some time, whatever this one takes.
            let share = until(plugins_end) / if left > 0 { 2 } else { 1 };
            plugin.drain(share).await;
            // What it published last is durable before those that consume it are told to finish.
            bus.flush(until(plugins_end)).await;
        }
        if let Some((handle, task)) = api {
            handle.request(LAST_REQUESTS.min(until(end)));
            let _ = task.await;
        }
        closed(bus.close(until(end).max(LAST_ROWS)).await)
    }
}

/// Logs that everything works, as soon as `/readyz` says so.
async fn tell_ready(health: &Health) -> Infallible {
    loop {
        sleep(LOOK_EVERY).await;
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
        End::Abandoned => Err(RunError::LogFailed("it was left without being closed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::config;
    use std::future::pending;
    use tokio::time::timeout;

    async fn running(dir: &tempfile::TempDir, recorder: api::metrics::Recorder) -> Running {
        let host = Host::builder().configure(config(dir.path(), "")).unwrap();
        Running::start(host, recorder).await.unwrap()
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

    /// What is measured is kept one by one until it is folded into its histogram.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_measured_is_folded_although_nobody_scrapes() {
        let dir = tempfile::tempdir().unwrap();
        let (records, recorder) = api::metrics::Recorder::detached();
        let running = running(&dir, recorder.clone()).await;
        // The listener folds at once when it starts: the second one is folded later.
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
