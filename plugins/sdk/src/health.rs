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
    parts: Arc<Mutex<BTreeMap<String, Option<String>>>>,
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
        self.parts.lock().insert(self.prefix.clone(), None);
    }

    /// Reports that this part is not ready. `why` tells the operator the reason and the remedy.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.parts.lock().insert(self.prefix.clone(), Some(why.into()));
    }

    /// Returns the name of every part that reported, and the reason if it is not ready.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Option<String>)> {
        self.parts.lock().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}
