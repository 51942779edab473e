//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGTERM and SIGINT from now on, and waits for the first. After it, a second one ends the process at
/// once, with the exit status that a shell shows for a process which that signal ended: 130 for SIGINT, 143 for SIGTERM.
///
/// # Panics
/// Outside a Tokio runtime, and where the process cannot have signal handlers.
pub fn signals() -> impl Future<Output = ()> {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler for SIGTERM");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a handler for SIGINT");
    async move {
        first(&mut terminate, &mut interrupt).await;
        tracing::info!("draining; a second signal exits at once");
        tokio::spawn(async move { std::process::exit(first(&mut terminate, &mut interrupt).await) });
    }
}

async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    tokio::select! {
        _ = terminate.recv() => 143,
        _ = interrupt.recv() => 130,
    }
}
