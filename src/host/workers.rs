//! The threads that plugins run on, and the watchdog that notices if a task keeps one of them.
//!
//! Plugins, and so what clients send, run on a runtime of their own. Signals, the admin listener and supervision are on
//! that of whoever runs the host, the bus's writer has its own thread: no client can hold them, whatever a plugin does
//! with its input.

use greyhound_sdk::Health;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeMetrics};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

/// How often the watchdog looks.
const TICK: Duration = Duration::from_secs(1);
/// It says so if a worker has been kept for so many ticks.
const KEPT: u32 = 3;
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
    /// Looks at the workers once a second. If a task keeps one for `limit`, it says so, and ends the process if nobody
    /// else does.
    pub(super) fn start(workers: Handle, limit: Duration, health: Health) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, stalled) = oneshot::channel();
        let watch = Watch { workers, limit, tick: TICK.min(limit / 4), health, stop: stop.clone() };
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch.run(tell))?;
        Ok(Self { stop, stalled })
    }

    /// Waits until a worker has been kept for too long; tells for how long.
    pub(super) async fn stalled(&mut self) -> Duration {
        match (&mut self.stalled).await {
            Ok(kept) => kept,
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
        let metrics = self.workers.metrics();
        let mut workers = vec![Worker::default(); metrics.num_workers()];
        let mut longest = 0;
        while self.tick * longest < self.limit {
            if !self.sleep() {
                return;
            }
            let before = longest;
            longest =
                workers.iter_mut().enumerate().map(|(n, it)| it.look(Progress::of(&metrics, n))).max().unwrap_or(0);
            if longest >= KEPT {
                self.is_kept(longest, &workers);
            } else if before >= KEPT {
                tracing::warn!("no worker is kept any more");
                self.health.ready();
            }
        }
        let _ = tell.send(self.tick * longest);
        let mut left = END.as_millis() / self.tick.as_millis().max(1);
        while self.sleep() {
            left = left.saturating_sub(1);
            if left == 0 {
                tracing::error!("the process does not end by itself: the watchdog ends it");
                std::process::exit(1);
            }
        }
    }

    fn is_kept(&self, longest: u32, workers: &[Worker]) {
        let (kept, all) = (workers.iter().filter(|it| it.kept >= KEPT).count(), workers.len());
        let duration = humantime::format_duration(self.tick * longest);
        let limit = humantime::format_duration(self.limit);
        self.health.not_ready(format!(
            "a task of a plugin has kept a worker for {duration} ({kept} of {all} are kept); at {limit} the process ends"
        ));
        if longest == KEPT {
            tracing::error!(%duration, kept, all, %limit, "a task of a plugin keeps a worker: at the limit the process ends");
        }
    }

    /// Whether it is to go on.
    fn sleep(&self) -> bool {
        thread::sleep(self.tick);
        !self.stop.load(SeqCst)
    }
}

/// What the watchdog knows of a worker.
#[derive(Clone, Copy, Default)]
struct Worker {
    last: Progress,
    /// For how many ticks a task has kept it.
    kept: u32,
}

impl Worker {
    fn look(&mut self, now: Progress) -> u32 {
        let is_kept = now == self.last && !now.is_idle();
        self.kept = if is_kept { self.kept + 1 } else { 0 };
        self.last = now;
        self.kept
    }
}

/// How far a worker has come. Tokio counts on whenever it parks or wakes, and every few dozen tasks.
#[derive(Clone, Copy, Default, PartialEq)]
struct Progress {
    parked_and_woken: u64,
    busy: Duration,
}

impl Progress {
    fn of(metrics: &RuntimeMetrics, worker: usize) -> Self {
        Self {
            parked_and_woken: metrics.worker_park_unpark_count(worker),
            busy: metrics.worker_total_busy_duration(worker),
        }
    }

    /// It waits for work.
    fn is_idle(&self) -> bool {
        self.parked_and_woken % 2 == 1
    }
}
