//! SIGTERM, SIGINT and SIGHUP.

use std::io::IsTerminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Installs signal handlers, and returns a future that completes at the first signal to stop: SIGTERM, SIGINT, or
/// SIGHUP because the terminal was closed. After that, a second SIGTERM or SIGINT ends the process at once, with the
/// exit status that shells use for that signal: 143 or 130.
///
/// A program that was not started from a terminal ignores SIGHUP and logs a warning.
///
/// # Panics
/// Outside a Tokio runtime, or if signal handlers cannot be installed.
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
        tracing::info!(signal = name, "stopping; a second SIGTERM or SIGINT ends the process at once");
        tokio::spawn(async move {
            let (name, status) = first(&mut terminate, &mut interrupt).await;
            tracing::warn!(
                signal = name,
                "second signal to stop: the process ends at once and does not finish its accepted work"
            );
            std::process::exit(status)
        });
    }
}

/// Waits for the first of the two. Returns its name and the exit status that shells use for it.
async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", 143),
        _ = interrupt.recv() => ("SIGINT", 130),
    }
}

/// Waits until the terminal is closed. Without a terminal, it never completes.
async fn hung_up(hangup: &mut Signal, in_terminal: bool) {
    while hangup.recv().await.is_some() {
        if in_terminal {
            return;
        }
        tracing::warn!(
            "SIGHUP is ignored: the configuration is read only at start, and no log file is open; restart to apply a changed configuration"
        );
    }
    std::future::pending().await
}
