//! What `/readyz` says.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One part's voice on `/readyz`: each part says whether it is ready, and if not, why.
///
/// Cheap to clone. A part that never spoke is not listed.
#[derive(Debug, Clone, Default)]
pub struct Health {
    prefix: String,
    parts: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// The same board, where this part's names begin with `prefix`.
    #[must_use]
    pub fn of(&self, prefix: &str) -> Self {
        let prefix = if self.prefix.is_empty() { prefix.to_owned() } else { format!("{}.{prefix}", self.prefix) };
        Self { prefix, parts: self.parts.clone() }
    }

    /// This part is ready.
    pub fn ready(&self) {
        self.parts.lock().insert(self.prefix.clone(), None);
    }

    /// This part is not ready, and what the operator should know or do.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.parts.lock().insert(self.prefix.clone(), Some(why.into()));
    }

    /// Every part that spoke: its name and, where it is not ready, why.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Option<String>)> {
        self.parts.lock().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}
