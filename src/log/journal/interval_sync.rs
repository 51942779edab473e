//! Syncs the journal periodically on its own thread, for the durability level `interval`.

use super::metrics;
use super::shared::Shared;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// Starts the thread, which ends when the journal is dropped.
pub(super) fn start(shared: &Arc<Shared>, interval: Duration) -> io::Result<()> {
    let shared = Arc::downgrade(shared);
    thread::Builder::new().name("journal-sync".to_owned()).spawn(move || run(&shared, interval))?;
    Ok(())
}

fn run(shared: &Weak<Shared>, interval: Duration) {
    loop {
        thread::sleep(interval);
        let Some(shared) = shared.upgrade() else { return };
        sync(&shared);
    }
}

/// Syncs the active segment without blocking the writer.
fn sync(shared: &Shared) {
    let dirty =
        shared.tail.lock().active.as_mut().and_then(|a| std::mem::take(&mut a.dirty).then(|| (a.file.clone(), a.base)));
    let Some((file, base)) = dirty else { return };
    if let Err(e) = file.sync() {
        ::metrics::counter!(metrics::FAILURES).increment(1);
        tracing::error!(error = %e, "cannot sync the journal: rows acknowledged since the last sync may not survive a power cut");
        let mut tail = shared.tail.lock();
        if tail.active.as_ref().is_some_and(|active| active.base == base) {
            tail.active = None;
        }
    }
}
