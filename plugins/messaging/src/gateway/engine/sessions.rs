//! Sessions that began with polling, by their secrets.
//!
//! A session's secret allows reading and writing in its client's place, so only that client gets it, in the open packet.
//! Others identify a socket by its public id, which gives no access.

use crate::connection::Connection;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// As in Node's ids: 20 characters in base64.
const SECRET_BYTES: usize = 15;

/// From this number on, ended sessions are removed: each time the number has doubled since the last removal.
const SWEEP_MIN: usize = 1024;

/// The sessions by secret.
#[derive(Default)]
pub(super) struct Sessions(RwLock<BySecret>);

#[derive(Default)]
struct BySecret {
    connections: HashMap<String, Weak<Connection>>,
    sweep_at: usize,
}

impl Sessions {
    /// Registers a session until its connection ends. Returns its secret.
    pub(super) fn register(&self, connection: &Arc<Connection>) -> String {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let secret = BASE64_URL_SAFE_NO_PAD.encode(random);
        let mut all = self.0.write();
        if all.connections.len() >= all.sweep_at {
            all.connections
                .retain(|_, connection| connection.upgrade().is_some_and(|connection| !connection.is_ended()));
            all.sweep_at = SWEEP_MIN.max(2 * all.connections.len());
        }
        all.connections.insert(secret.clone(), Arc::downgrade(connection));
        secret
    }

    pub(super) fn get(&self, secret: &str) -> Option<Arc<Connection>> {
        self.0.read().connections.get(secret)?.upgrade().filter(|connection| !connection.is_ended())
    }
}
