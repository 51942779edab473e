//! SIGTERM, SIGINT and SIGHUP.

use std::io::IsTerminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for signals from now on, and waits for the first that ends the program: SIGTERM, SIGINT, or SIGHUP when the
/// terminal is closed that it was started from. After it, a second one ends the process at once, with the exit status
/// that a shell shows for a process which that signal ended: 130 for SIGINT, 143 for SIGTERM.
///
/// A program that was not started from a terminal ignores SIGHUP, and says so.
///
/// # Panics
/// Outside a Tokio runtime, and where the process cannot have signal handlers.
pub fn signals() -> impl Future<Output = ()> {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler for SIGTERM");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a handler for SIGINT");
    let mut hangup = signal(SignalKind::hangup()).expect("a handler for SIGHUP");
    let in_terminal = std::io::stdin().is_terminal();
    async move {
        let name = tokio::select! {
            (name, _) = first(&mut terminate, &mut interrupt) => name,
            () = hung_up(&mut hangup, in_terminal) => "SIGHUP",
        };
        tracing::info!(signal = name, "told to stop; a second SIGTERM or SIGINT ends the process at once");
        tokio::spawn(async move {
            let (name, status) = first(&mut terminate, &mut interrupt).await;
            tracing::warn!(
                signal = name,
                "told to stop again: the process ends at once, without finishing what it accepted"
            );
            std::process::exit(status)
        });
    }
}

/// The first of the two, and the exit status that a shell shows for it.
async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", 143),
        _ = interrupt.recv() => ("SIGINT", 130),
    }
}

/// Waits until the terminal is closed; without one, for ever.
async fn hung_up(hangup: &mut Signal, in_terminal: bool) {
    while hangup.recv().await.is_some() {
        if in_terminal {
            return;
        }
        tracing::warn!(
            "SIGHUP is ignored: the configuration is read at start only, and no log file is kept open; restart to change the configuration"
        );
    }
    std::future::pending().await
}
