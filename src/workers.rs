//! The worker threads, on which plugins run, and the watchdog that notices if a task blocks one of them.
//!
//! Plugins, and so all handling of client input, run on their own runtime. Signals, the admin listener and supervision
//! use the runtime of the host's caller, and the bus's writer has its own thread. Therefore no client input can block
//! them, whatever a plugin does with it.

use greyhound_sdk::Health;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeMetrics};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

/// How often the watchdog checks the workers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The watchdog reports a worker that has been blocked for this many checks.
const BLOCKED_CHECKS_REPORTED: u32 = 3;
/// The watchdog ends the process if it has not exited by itself after this time.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// After this many turns, a worker that never parks polls for I/O and timers, and publishes its progress. A turn is up to
/// four polls of tasks. With tokio's default, 61, the watchdog would take a busy worker for a blocked one: 61 turns of
/// 50 ms take three seconds. Smaller values cost speed, because each poll for I/O is a system call.
const EVENT_INTERVAL: u32 = 16;

/// The threads that plugins run on.
pub(crate) struct Workers(Option<Runtime>);

impl Workers {
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().thread_name("worker").event_interval(EVENT_INTERVAL);
        Ok(Self(Some(builder.build()?)))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.as_ref().expect("only drop takes it out").handle().clone()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Does not wait: a worker may hang, and this may be dropped in a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` on the workers. It is aborted if this future is dropped.
pub(crate) async fn on<T: Send + 'static>(
    workers: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let mut task = JoinSet::new();
    task.spawn_on(work, workers);
    task.join_next().await.expect("a task was spawned")
}

/// Watches the workers until it is dropped.
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    stalled: oneshot::Receiver<Duration>,
}

impl Watchdog {
    /// Checks the workers once a second, or more often if `limit` is short. If a task blocks one for `limit`, it
    /// completes [`Watchdog::stalled`], and ends the process if that does not happen otherwise.
    pub(crate) fn start(workers: Handle, limit: Duration, health: Health) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (report, stalled) = oneshot::channel();
        let watch = Watch { workers, limit, interval: CHECK_INTERVAL.min(limit / 4), health, stop: stop.clone() };
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch.run(report))?;
        Ok(Self { stop, stalled })
    }

    /// Waits until a worker has been blocked for too long. Returns for how long.
    pub(crate) async fn stalled(&mut self) -> Duration {
        match (&mut self.stalled).await {
            Ok(blocked) => blocked,
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
    interval: Duration,
    health: Health,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// Counts time in its own intervals, because none pass while the process is stopped or the machine sleeps.
    fn run(&self, report: oneshot::Sender<Duration>) {
        let metrics = self.workers.metrics();
        let mut workers = vec![Worker::default(); metrics.num_workers()];
        let mut longest = 0;
        while self.interval * longest < self.limit {
            if !self.sleep() {
                return;
            }
            let before = longest;
            longest =
                workers.iter_mut().enumerate().map(|(n, it)| it.update(Progress::of(&metrics, n))).max().unwrap_or(0);
            if longest >= BLOCKED_CHECKS_REPORTED {
                self.report_blocked(longest, &workers);
            } else if before >= BLOCKED_CHECKS_REPORTED {
                tracing::warn!("no worker is blocked any more");
                self.health.ready();
            }
        }
        let _ = report.send(self.interval * longest);
        let mut left = EXIT_TIMEOUT.as_millis() / self.interval.as_millis().max(1);
        while self.sleep() {
            left = left.saturating_sub(1);
            if left == 0 {
                tracing::error!("the process does not exit by itself; the watchdog ends it");
                std::process::exit(1);
            }
        }
    }

    fn report_blocked(&self, longest: u32, workers: &[Worker]) {
        let (blocked, all) =
            (workers.iter().filter(|it| it.blocked_checks >= BLOCKED_CHECKS_REPORTED).count(), workers.len());
        let duration = humantime::format_duration(self.interval * longest);
        let limit = humantime::format_duration(self.limit);
        self.health.not_ready(format!(
            "a task of a plugin has blocked a worker thread for {duration} ({blocked} of {all} are blocked); after {limit} the process exits"
        ));
        if longest == BLOCKED_CHECKS_REPORTED {
            tracing::error!(%duration, blocked, all, %limit, "a task of a plugin blocks a worker thread; the process exits at the limit");
        }
    }

    /// Sleeps for one interval. Returns whether to continue.
    fn sleep(&self) -> bool {
        thread::sleep(self.interval);
        !self.stop.load(SeqCst)
    }
}

/// The watchdog's state of a worker.
#[derive(Clone, Copy, Default)]
struct Worker {
    last: Progress,
    /// For how many checks a task has blocked it.
    blocked_checks: u32,
}

impl Worker {
    /// Updates the state. Returns for how many checks the worker has been blocked.
    fn update(&mut self, now: Progress) -> u32 {
        let is_blocked = now == self.last && !now.is_idle();
        self.blocked_checks = if is_blocked { self.blocked_checks + 1 } else { 0 };
        self.last = now;
        self.blocked_checks
    }
}

/// The progress of a worker. Tokio updates it whenever the worker parks or wakes, and every [`EVENT_INTERVAL`] turns.
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

    /// Whether the worker waits for work.
    fn is_idle(&self) -> bool {
        self.parked_and_woken % 2 == 1
    }
}
