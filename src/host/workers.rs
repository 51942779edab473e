//! The threads that plugins run on, and the watchdog that notices if they no longer answer.
//!
//! Plugins, and so what clients send, run on a runtime of their own. Signals, the admin listener and supervision are on
//! that of whoever runs the host, the bus's writer has its own thread: no client can hold them, whatever a plugin does
//! with its input.

use greyhound_sdk::Health;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

/// How often the watchdog asks.
const TICK: Duration = Duration::from_secs(1);
/// After so many questions without an answer it says so.
const SILENT: u32 = 3;
/// How long the process may take to end once it is told to, before the watchdog ends it.
const END: Duration = Duration::from_secs(10);

/// The threads that plugins run on.
pub(super) struct Workers(Option<Runtime>);

impl Workers {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().enable_all().thread_name("worker").build()?)))
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken out in drop only").handle().clone()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Without waiting: one may hang, and who drops this may be a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Does `work` on these threads. It ends with this future.
pub(crate) async fn on<T: Send + 'static>(
    workers: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let mut task = JoinSet::new();
    task.spawn_on(work, workers);
    task.join_next().await.expect("a task was spawned")
}

/// Watches the workers until it is dropped.
pub(super) struct Watchdog {
    stop: Arc<AtomicBool>,
    stalled: oneshot::Receiver<Duration>,
}

impl Watchdog {
    /// Asks the workers once a second. If they do not answer for `limit`, it says so, and ends the process if nobody
    /// else does.
    pub(super) fn start(workers: Handle, limit: Duration, health: Health) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, stalled) = oneshot::channel();
        let watch = Watch { workers, limit, tick: TICK.min(limit / 4), health, stop: stop.clone() };
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch.run(tell))?;
        Ok(Self { stop, stalled })
    }

    /// Waits until the workers have not answered for too long; tells for how long.
    pub(super) async fn stalled(&mut self) -> Duration {
        match (&mut self.stalled).await {
            Ok(silent) => silent,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

struct Watch {
    workers: Handle,
    limit: Duration,
    tick: Duration,
    health: Health,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// Time is counted in ticks of its own: while the process is stopped or the machine sleeps there are none.
    fn run(&self, tell: oneshot::Sender<Duration>) {
        let answered = Arc::new(AtomicU64::new(0));
        let (mut asked, mut missed) = (0, 0);
        while self.tick * missed < self.limit {
            if !self.sleep() {
                return;
            }
            if answered.load(SeqCst) != asked {
                missed += 1;
                self.is_silent(missed);
                continue;
            }
            if missed >= SILENT {
                tracing::warn!("the workers answer again");
                self.health.ready();
            }
            (asked, missed) = (asked + 1, 0);
            let answered = answered.clone();
            self.workers.spawn(async move { answered.store(asked, SeqCst) });
        }
        let _ = tell.send(self.tick * missed);
        let mut left = END.as_millis() / self.tick.as_millis().max(1);
        while self.sleep() {
            left = left.saturating_sub(1);
            if left == 0 {
                tracing::error!("the process does not end by itself: the watchdog ends it");
                std::process::exit(1);
            }
        }
    }

    fn is_silent(&self, missed: u32) {
        if missed < SILENT {
            return;
        }
        let silent = humantime::format_duration(self.tick * missed);
        let limit = humantime::format_duration(self.limit);
        self.health.not_ready(format!(
            "they have not answered for {silent}: a plugin keeps them busy; at {limit} the process ends"
        ));
        if missed == SILENT {
            tracing::error!(%silent, %limit, "the workers do not answer: a plugin keeps them busy; at the limit the process ends");
        }
    }

    /// Whether it is to go on.
    fn sleep(&self) -> bool {
        thread::sleep(self.tick);
        !self.stop.load(SeqCst)
    }
}
