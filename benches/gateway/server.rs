//! The program under load, on its own core.

use greyhound_messaging::auth::{AuthConfig, Minter};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const SECRET: &str = "a secret for the benchmark, long enough";

pub struct Server {
    child: Child,
    pub port: u16,
    pub admin: u16,
    data: tempfile::TempDir,
}

/// The resources that the process has used.
pub struct Usage {
    pub rss_kb: i64,
    pub peak_kb: i64,
    cpu_ticks: u64,
}

impl Usage {
    /// Returns the CPU time between two readings, in microseconds (the kernel counts in ticks of 10 ms).
    pub fn cpu_us(from: &Self, to: &Self) -> f64 {
        (to.cpu_ticks - from.cpu_ticks) as f64 * 10_000.0
    }
}

/// Pins the load generator, this thread and its future threads, to core 1.
pub fn pin_to_core_1() {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-acp", "1", &pid]).stdout(Stdio::null()).status();
    assert!(
        pinned.is_ok_and(|s| s.success()),
        "taskset (of util-linux) is needed to pin the server and the generator to one core each"
    );
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

impl Server {
    /// Starts the program on core 0 with a new data directory. `record` enables delivery rows and the sink.
    pub async fn start(record: bool) -> Self {
        let data =
            tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").into()))
                .expect("a directory");
        let (port, admin) = (free_port(), free_port());
        let store = std::env::var("STORE").unwrap_or_else(|_| data.path().join("tables").display().to_string());
        let env = [
            ("NODE__DATA_DIR", data.path().join("data").display().to_string()),
            ("ADMIN__LISTEN", format!("127.0.0.1:{admin}")),
            ("PLUGINS__MESSAGING__LISTEN", format!("127.0.0.1:{port}")),
            ("PLUGINS__MESSAGING__AUTH__SECRET", SECRET.into()),
            ("PLUGINS__MESSAGING__RECORD_DELIVERIES", record.to_string()),
            ("PLUGINS__ACTIVITY__ENABLED", record.to_string()),
            ("PLUGINS__ACTIVITY__STORE", store),
        ];
        let mut command = Command::new("taskset");
        command
            .args(["-c", "0", env!("CARGO_BIN_EXE_greyhound")])
            .envs(env.map(|(k, v)| (format!("GREYHOUND__{k}"), v)));
        command.current_dir(data.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("taskset starts the program");
        let server = Self { child, port, admin, data };
        for _ in 0..200 {
            if server.is_ready().await {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the program is not ready after 10 s; its data is in {}", server.data.path().display());
    }

    async fn is_ready(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", self.admin)).await else { return false };
        let mut answer = [0; 12];
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && answer.ends_with(b"200")
    }

    /// Returns a token for `user` with the site room `site(bench.example)`.
    pub fn token(user: usize) -> String {
        let claims = json!({"id": user, "site": "bench.example", "exp": 4_000_000_000_u64});
        let auth = AuthConfig { secret: vec![SECRET.into()], ..AuthConfig::default() };
        let minter = Minter::new(&auth, Path::new("")).expect("a secret is configured");
        minter.mint(claims.as_object().expect("an object").clone()).expect("no claim is required")
    }

    pub fn usage(&self) -> Usage {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the program runs")
        };
        let stat = read("stat");
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a command in stat") + 2..].split(' ').collect();
        let cpu_ticks = [11, 12].iter().map(|&i| fields[i].parse::<u64>().expect("ticks")).sum();
        let status = read("status");
        let kb = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of /proc/.../status");
            value.trim().trim_end_matches(" kB").parse().expect("kB")
        };
        Usage { rss_kb: kb("VmRSS:"), peak_kb: kb("VmHWM:"), cpu_ticks }
    }

    pub async fn stop(mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        for _ in 0..300 {
            if self.child.try_wait().is_ok_and(|s| s.is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let _ = self.child.kill();
        panic!("the program did not stop within 30 s of SIGTERM");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
