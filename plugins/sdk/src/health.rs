//! Readiness, as `/readyz` reports it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reports the readiness of one part of the program on `/readyz`.
///
/// Cheap to clone. A part that never reported is not listed.
#[derive(Debug, Clone, Default)]
pub struct Health {
    prefix: String,
    parts: Arc<Mutex<BTreeMap<String, Readiness>>>,
}

/// The readiness of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Readiness {
    Ready,
    Degraded(String),
    NotReady(String),
}

impl Health {
    /// Returns a handle for the part `prefix` below this part.
    #[must_use]
    pub fn of(&self, prefix: &str) -> Self {
        let prefix = if self.prefix.is_empty() { prefix.to_owned() } else { format!("{}.{prefix}", self.prefix) };
        Self { prefix, parts: self.parts.clone() }
    }

    /// Reports that this part is ready.
    pub fn ready(&self) {
        self.parts.lock().insert(self.prefix.clone(), Readiness::Ready);
    }

    /// Reports that this part is not ready. `why` tells the operator the reason and the remedy.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.parts.lock().insert(self.prefix.clone(), Readiness::NotReady(why.into()));
    }

    /// Reports that this part is ready, but that the operator should do something. `why` tells the reason and the remedy.
    pub fn degraded(&self, why: impl Into<String>) {
        self.parts.lock().insert(self.prefix.clone(), Readiness::Degraded(why.into()));
    }

    /// Returns the name of every part that reported, and the reason if it is not ready.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Option<String>)> {
        let why = |readiness: &Readiness| match readiness {
            Readiness::NotReady(why) => Some(why.clone()),
            Readiness::Ready | Readiness::Degraded(_) => None,
        };
        self.parts.lock().iter().map(|(part, readiness)| (part.clone(), why(readiness))).collect()
    }

    /// Returns the name of every part that is degraded, and the reason.
    #[must_use]
    pub fn degraded_parts(&self) -> Vec<(String, String)> {
        let parts = self.parts.lock();
        let degraded = parts.iter().filter_map(|(part, readiness)| match readiness {
            Readiness::Degraded(why) => Some((part.clone(), why.clone())),
            Readiness::Ready | Readiness::NotReady(_) => None,
        });
        degraded.collect()
    }
}
