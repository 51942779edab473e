//! The current keys of an issuer, and the task that keeps them current.

use super::key::Keys;
use super::source::{JWKS_LIMITS, Source};
use crate::http_client::HttpClient;
use crate::metrics as names;
use greyhound_sdk::Health;
use metrics::gauge;
use parking_lot::{Mutex, RwLock};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// How long to wait after a failure, at most.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Tokens with an unknown `kid` cause at most one request in this time, however many there are.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// How many tokens may wait for the answer. Others are refused at once.
const WAITING_MAX: usize = 256;

/// The current keys of an issuer: the last good ones.
pub(super) struct LiveKeys {
    name: String,
    source: Source,
    keys: RwLock<Arc<Keys>>,
    asked: Mutex<Asked>,
    ask: Notify,
    /// The number of attempts to load the keys.
    attempts: watch::Sender<u64>,
    waiting: Arc<Semaphore>,
}

/// The last request for an unknown `kid`.
#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    is_pending: bool,
}

impl LiveKeys {
    /// Reads the keys, unless they are at a URL: those are fetched by [`LiveKeys::keep_current`].
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(super) fn new(name: String, source: Source) -> Result<Self, String> {
        let keys = RwLock::new(Arc::new(source.read()?));
        Ok(Self {
            name,
            source,
            keys,
            asked: Mutex::default(),
            ask: Notify::new(),
            attempts: watch::Sender::new(0),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        })
    }

    /// Whether the keys are at a URL.
    pub(super) fn are_remote(&self) -> bool {
        self.source.is_remote()
    }

    pub(super) fn current(&self) -> Arc<Keys> {
        self.keys.read().clone()
    }

    /// Has the keys fetched for a token whose key is unknown. Returns what to wait for; `None` if the keys are not at a
    /// URL, or were fetched for another such token a moment ago, or if too many are waiting.
    pub(super) fn ask(self: &Arc<Self>) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !self.source.is_remote() {
            return None;
        }
        let place = self.waiting.clone().try_acquire_owned().ok()?;
        let mut attempts = self.attempts.subscribe();
        let mut asked = self.asked.lock();
        if !asked.is_pending {
            if asked.at.is_some_and(|at| at.elapsed() < ASK_INTERVAL) {
                return None;
            }
            *asked = Asked { at: Some(Instant::now()), is_pending: true };
            self.ask.notify_one();
        }
        Some(async move {
            let _ = timeout(2 * JWKS_LIMITS.timeout, attempts.changed()).await;
            drop(place);
        })
    }

    /// Loads the keys again and again, and reports on `/readyz` how that goes.
    pub(super) async fn keep_current(&self, http: &HttpClient, health: &Health) {
        let Some(interval) = self.source.interval() else { return };
        let health = health.of(&self.name);
        match self.source.is_remote() {
            true => health.not_ready("its keys have not been fetched yet"),
            false => health.ready(),
        }
        // Files have just been read.
        let (mut failure, mut pause) = (None, if self.source.is_remote() { Duration::ZERO } else { interval });
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.ask.notified() => {}
            }
            let loaded = self.source.load(http).await;
            pause = if loaded.is_ok() { interval } else { interval.min(RETRY_INTERVAL) };
            self.take(loaded, &mut failure, &health);
            self.asked.lock().is_pending = false;
            self.attempts.send_modify(|attempts| *attempts += 1);
        }
    }

    /// Replaces the keys by those that were loaded. After a failure, the last good ones stay.
    fn take(&self, loaded: Result<Keys, String>, failure: &mut Option<String>, health: &Health) {
        gauge!(names::KEYS_STALE, "issuer" => self.name.clone()).set(if loaded.is_ok() { 0 } else { 1 });
        match loaded {
            Ok(keys) => {
                if *self.current() != keys {
                    tracing::info!(issuer = self.name, keys = keys.len(), "new keys verify tokens");
                    *self.keys.write() = Arc::new(keys);
                } else if failure.is_some() {
                    tracing::info!(issuer = self.name, "the keys can be read again");
                }
                *failure = None;
                health.ready();
            }
            Err(why) => {
                let has_keys = self.current().len() > 0;
                match has_keys {
                    true => health.degraded(format!("the last good keys are in use: {why}")),
                    false => health.not_ready(format!("no token can be verified: {why}")),
                }
                if failure.as_ref() != Some(&why) {
                    tracing::warn!(issuer = self.name, why, keeps_last = has_keys, "the keys of tokens cannot be read");
                    *failure = Some(why);
                }
            }
        }
    }
}
