//! Sessions that began with polling, by their secret.
//!
//! Whoever knows a session's secret can read and write in its client's place: it is told to that client alone, in the
//! open packet. What everybody else knows a socket by is its public id, which opens nothing.

use crate::connection::Connection;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// As many bytes as Node's ids have: 20 characters in base64.
const SECRET_BYTES: usize = 15;

/// With so many, those that are over are forgotten; then again with twice as many as are left.
const SWEEP_MIN: usize = 1024;

/// The sessions.
#[derive(Default)]
pub(super) struct Sessions(RwLock<BySecret>);

#[derive(Default)]
struct BySecret {
    writers: HashMap<String, Weak<Connection>>,
    sweep_at: usize,
}

impl Sessions {
    /// Registers a session until its connection is over; returns its secret.
    pub(super) fn register(&self, connection: &Arc<Connection>) -> String {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let secret = BASE64_URL_SAFE_NO_PAD.encode(random);
        let mut all = self.0.write();
        if all.writers.len() >= all.sweep_at {
            all.writers.retain(|_, connection| connection.upgrade().is_some_and(|connection| !connection.is_over()));
            all.sweep_at = SWEEP_MIN.max(2 * all.writers.len());
        }
        all.writers.insert(secret.clone(), Arc::downgrade(connection));
        secret
    }

    pub(super) fn get(&self, secret: &str) -> Option<Arc<Connection>> {
        self.0.read().writers.get(secret)?.upgrade().filter(|connection| !connection.is_over())
    }
}
