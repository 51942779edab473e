//! Measures the capacity of the gateway, with the server on one core and a load generator on another.
//!
//! `cargo bench --bench gateway -- [SCENARIO...]` starts the program on core 0 for each scenario, opens authenticated
//! WebSocket clients from core 1, publishes over HTTP and prints one Markdown table. If the generator is the limit,
//! compare the CPU time per delivery. Needs Linux with two cores, `taskset`, and file descriptors for 9,000
//! connections.
//!
//! Environment: `SECONDS_EACH` (10), `PAYLOAD` (100 bytes), `RECORD` (`all`, or `nothing` for neither delivery rows nor
//! the sink), `STORE` (of the tables; default: a new directory), `IDLE` (9000 connections), `DELIVERIES` (10 million,
//! for the scenario `growth`).

mod client;
mod hostile;
mod server;

use client::{Clients, Target};
use server::{Server, Usage};
use std::time::{Duration, Instant};

/// One workload.
struct Scenario {
    name: &'static str,
    clients: usize,
    load: Load,
}

enum Load {
    /// Messages to all clients, with so many in flight.
    Broadcast { in_flight: usize },
    /// Messages to all clients, at a rate per second.
    Paced { rate: u32 },
    /// As `Paced`, among so many clients that stall, that flood, and that send slowly.
    Hostile { rate: u32, each: usize },
    /// Messages to one user each, with so many in flight.
    Single { in_flight: usize },
    /// Nothing is published.
    Idle,
    /// Broadcasts until so many deliveries are done, to measure the growth of memory.
    Growth { deliveries: u64 },
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario { name: "broadcast", clients: 1000, load: Load::Broadcast { in_flight: 16 } },
        Scenario { name: "one-in-flight", clients: 1000, load: Load::Broadcast { in_flight: 1 } },
        Scenario { name: "broadcast-5k", clients: 5000, load: Load::Broadcast { in_flight: 8 } },
        Scenario { name: "paced", clients: 1000, load: Load::Paced { rate: 20 } },
        Scenario { name: "hostile", clients: 1000, load: Load::Hostile { rate: 20, each: 100 } },
        Scenario { name: "single-user", clients: 1000, load: Load::Single { in_flight: 64 } },
        Scenario { name: "idle", clients: setting("IDLE", 9000), load: Load::Idle },
        Scenario {
            name: "growth",
            clients: 1000,
            load: Load::Growth { deliveries: setting("DELIVERIES", 10_000_000) },
        },
    ]
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    server::pin_to_core_1();
    println!(
        "| scenario | deliveries/s | server CPU each | core | p50 | p99 | connect + auth | RSS a connection | RSS before → after (peak) | missing |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for scenario in scenarios().into_iter().filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.name)) {
        runtime.block_on(measure(&scenario));
    }
}

async fn measure(scenario: &Scenario) {
    let server = Server::start(setting("RECORD", "all".to_owned()) != "nothing").await;
    let idle = server.usage();
    let started = Instant::now();
    let mut clients = Clients::connect(&server, scenario.clients).await;
    let connecting = started.elapsed();
    let connected = server.usage();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let settled = server.usage();
    if let Load::Hostile { each, .. } = scenario.load {
        hostile::join(&server, &clients, each).await;
    }
    let run = Instant::now();
    let published = publish(scenario, &server, &clients).await;
    let elapsed = run.elapsed();
    let expected = published * if matches!(scenario.load, Load::Single { .. }) { 1 } else { scenario.clients as u64 };
    let in_time = clients.delivered();
    let after = server.usage();
    clients.wait_for(expected, Duration::from_secs(5)).await;
    let connect = format!(
        "{:.0}/s, {:.0} µs",
        scenario.clients as f64 / connecting.as_secs_f64(),
        Usage::cpu_us(&idle, &connected) / scenario.clients as f64
    );
    let a_connection = format!("{:.1} kB", (settled.rss_kb - idle.rss_kb) as f64 / scenario.clients as f64);
    let (rate, each, core) = match in_time {
        0 => ("-".into(), "-".into(), "-".into()),
        n => (
            format!("{:.0}k", n as f64 / elapsed.as_secs_f64() / 1000.0),
            format!("{:.2} µs", Usage::cpu_us(&settled, &after) / n as f64),
            format!("{:.0}%", Usage::cpu_us(&settled, &after) / elapsed.as_micros() as f64 * 100.0),
        ),
    };
    let (p50, p99) = clients.latency_ms();
    let missing = expected.saturating_sub(clients.delivered());
    println!(
        "| {} | {rate} | {each} | {core} | {p50:.1} ms | {p99:.1} ms | {connect} | {a_connection} | {} → {} MB ({}) | {missing} |",
        scenario.name,
        settled.rss_kb / 1024,
        server.usage().rss_kb / 1024,
        server.usage().peak_kb / 1024,
    );
    server.stop().await;
}

/// Publishes the scenario's load and returns how many messages were published.
async fn publish(scenario: &Scenario, server: &Server, clients: &Clients) -> u64 {
    let time = Duration::from_secs(setting("SECONDS_EACH", 10));
    let target = match scenario.load {
        Load::Single { .. } => Target::EachUser(scenario.clients),
        _ => Target::Everybody,
    };
    match scenario.load {
        Load::Idle => 0,
        Load::Broadcast { in_flight } | Load::Single { in_flight } => {
            let end = Instant::now() + time;
            client::closed_loop(server, clients, target, in_flight, move |_| Instant::now() < end).await
        }
        Load::Paced { rate } | Load::Hostile { rate, .. } => client::paced(server, clients, target, rate, time).await,
        Load::Growth { deliveries } => {
            let clients_count = scenario.clients as u64;
            client::closed_loop(server, clients, target, 16, move |sent| sent * clients_count < deliveries).await
        }
    }
}
