//! The load: WebSocket clients that count messages, and publishers over HTTP.

use crate::server::Server;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Number of concurrent handshakes.
const DIALING: usize = 64;

/// The recipients of a message.
#[derive(Clone, Copy)]
pub enum Target {
    Everybody,
    /// One user at a time, in a scattered order.
    EachUser(usize),
}

#[derive(Default)]
struct Tally {
    delivered: Cell<u64>,
    latencies_us: RefCell<Vec<u32>>,
}

/// Connected, authenticated clients. They read until this is dropped.
pub struct Clients {
    tally: Rc<Tally>,
    epoch: Instant,
    count: u64,
    pub(crate) local: tokio::task::LocalSet,
}

impl Clients {
    pub async fn connect(server: &Server, count: usize) -> Self {
        let clients = Self {
            tally: Rc::default(),
            epoch: Instant::now(),
            count: count as u64,
            local: tokio::task::LocalSet::new(),
        };
        let dialing = Rc::new(tokio::sync::Semaphore::new(DIALING));
        let (ready, mut all_ready) = tokio::sync::mpsc::channel::<io::Result<()>>(count);
        for user in 0..count {
            let (port, tally, epoch, dialing, ready) =
                (server.port, clients.tally.clone(), clients.epoch, dialing.clone(), ready.clone());
            clients.local.spawn_local(async move {
                let permit = dialing.acquire().await;
                let connected = Connection::authenticated(port, &Server::token(user)).await;
                drop(permit);
                match connected {
                    Ok(mut connection) => {
                        let _ = ready.send(Ok(())).await;
                        let _ = connection.count(&tally, epoch).await;
                    }
                    Err(e) => drop(ready.send(Err(e)).await),
                }
            });
        }
        let all = async {
            for _ in 0..count {
                all_ready.recv().await.expect("a client task ended").expect("a client could not connect");
            }
        };
        clients.local.run_until(all).await;
        clients
    }

    pub fn delivered(&self) -> u64 {
        self.tally.delivered.get()
    }

    pub async fn wait_for(&mut self, expected: u64, limit: Duration) {
        let end = Instant::now() + limit;
        let tally = self.tally.clone();
        let all = async {
            while tally.delivered.get() < expected && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        self.local.run_until(all).await;
    }

    /// Returns the median and 99th percentile of the time from publishing to arrival, in milliseconds.
    pub fn latency_ms(&self) -> (f64, f64) {
        let mut sorted = self.tally.latencies_us.borrow().clone();
        sorted.sort_unstable();
        let at = |q: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * q) as usize).copied().unwrap_or(0);
        (f64::from(at(0.5)) / 1000.0, f64::from(at(0.99)) / 1000.0)
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn authenticated(port: u16, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, buffer: Vec::new() };
        let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        connection.stream.write_all(upgrade.as_bytes()).await?;
        while !connection.buffer.windows(4).any(|w| w == b"\r\n\r\n") {
            connection.read().await?;
        }
        let end = connection.buffer.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        connection.buffer.drain(..end);
        connection.send(b"40").await?;
        connection.answer(b"40").await?;
        connection.send(format!(r#"42["authenticate",{{"token":"{token}"}}]"#).as_bytes()).await?;
        connection.answer(br#"42["authenticated"]"#).await?;
        connection.buffer.shrink_to(4096);
        Ok(connection)
    }

    /// Waits for a packet that begins with `wanted`, and answers pings meanwhile.
    async fn answer(&mut self, wanted: &[u8]) -> io::Result<()> {
        loop {
            let mut answers: Vec<Vec<u8>> = Vec::new();
            self.frames(|frame| answers.push(frame.to_vec()));
            if answers.iter().any(|a| a == b"2") {
                self.send(b"3").await?;
            }
            if answers.iter().any(|a| a.starts_with(b"42[\"unauthorized") || a.starts_with(b"44")) {
                return Err(io::Error::other(format!("refused: {answers:?}")));
            }
            if answers.iter().any(|a| a.starts_with(wanted)) {
                return Ok(());
            }
            self.read().await?;
        }
    }

    pub(crate) async fn send(&mut self, text: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x81];
        match text.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long => frame.extend([0x80 | 126, (long >> 8) as u8, long as u8]),
        }
        frame.extend([0; 4]); // a mask of zeros does not change the text
        frame.extend(text);
        self.stream.write_all(&frame).await
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Passes the payload of every complete frame to `each`, and removes the frame from the buffer.
    fn frames(&mut self, mut each: impl FnMut(&[u8])) {
        let mut at = 0;
        while let Some(head) = self.buffer.get(at..at + 2) {
            let (start, len) = match head[1] {
                126 if self.buffer.len() >= at + 4 => {
                    (at + 4, usize::from(self.buffer[at + 2]) << 8 | usize::from(self.buffer[at + 3]))
                }
                len @ 0..126 => (at + 2, usize::from(len)),
                _ => break,
            };
            let Some(payload) = self.buffer.get(start..start + len) else { break };
            each(payload);
            at = start + len;
        }
        self.buffer.drain(..at);
    }

    async fn count(&mut self, tally: &Tally, epoch: Instant) -> io::Result<()> {
        loop {
            self.read().await?;
            let (mut messages, mut ping) = (0, false);
            self.frames(|frame| match frame {
                b"2" => ping = true,
                message if message.starts_with(b"42[\"message\"") => {
                    messages += 1;
                    if (tally.delivered.get() + messages).is_multiple_of(16) {
                        let sent = message.get(14..30).and_then(|t| std::str::from_utf8(t).ok()?.parse::<u128>().ok());
                        let latency = sent.map(|sent| epoch.elapsed().as_micros().saturating_sub(sent));
                        tally.latencies_us.borrow_mut().extend(latency.map(|l| l as u32));
                    }
                }
                _ => {}
            });
            tally.delivered.set(tally.delivered.get() + messages);
            if ping {
                self.send(b"3").await?;
            }
        }
    }
}

/// One keep-alive connection to the admin listener.
struct Publisher {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Publisher {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.admin)).await.expect("the admin listener");
        stream.set_nodelay(true).expect("a TCP option");
        Self { stream, answer: Vec::new() }
    }

    async fn publish(&mut self, target: Target, nth: u64, sent_us: u128) {
        let room = match target {
            Target::Everybody => "site(bench.example)".to_owned(),
            Target::EachUser(users) => format!("user({})", nth * 7919 % users as u64),
        };
        let padding = crate::setting("PAYLOAD", 100_usize).saturating_sub(18);
        let body = format!(
            r#"{{"rooms":["{room}"],"event":"message","args":["{sent_us:016}{}"],"durable":false}}"#,
            "x".repeat(padding)
        );
        let request = format!(
            "POST /v1/messaging/emit HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("the program accepts a message");
        self.answer.clear();
        while !self.answer.ends_with(b"}") {
            let read = self.stream.read_buf(&mut self.answer).await.expect("an answer");
            assert_ne!(read, 0, "the program closed the connection");
        }
        assert!(self.answer.starts_with(b"HTTP/1.1 200"), "refused: {}", String::from_utf8_lossy(&self.answer));
    }
}

/// Publishes while `go_on(sent)` is true, with `in_flight` messages at a time that are not yet answered and delivered.
pub async fn closed_loop(
    server: &Server,
    clients: &Clients,
    target: Target,
    in_flight: usize,
    go_on: impl Fn(u64) -> bool + Clone + 'static,
) -> u64 {
    let sent = Rc::new(Cell::new(0));
    let each = match target {
        Target::Everybody => clients.count,
        Target::EachUser(_) => 1,
    };
    let mut publishers = Vec::new();
    for _ in 0..in_flight {
        let (mut publisher, sent, go_on, tally, epoch) =
            (Publisher::connect(server).await, sent.clone(), go_on.clone(), clients.tally.clone(), clients.epoch);
        publishers.push(clients.local.spawn_local(async move {
            while go_on(sent.get()) {
                let nth = sent.get();
                sent.set(nth + 1);
                publisher.publish(target, nth, epoch.elapsed().as_micros()).await;
                // At most `in_flight` messages that are not delivered.
                while (nth + 1).saturating_sub(in_flight as u64) * each > tally.delivered.get() {
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    let all = async {
        for publisher in publishers {
            publisher.await.expect("a publisher ended");
        }
    };
    clients.local.run_until(all).await;
    sent.get()
}

/// Publishes `rate` messages per second for `time`.
pub async fn paced(server: &Server, clients: &Clients, target: Target, rate: u32, time: Duration) -> u64 {
    let mut publisher = Publisher::connect(server).await;
    let count = u64::from(rate) * time.as_secs();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let all = async {
        for nth in 0..count {
            ticks.tick().await;
            publisher.publish(target, nth, clients.epoch.elapsed().as_micros()).await;
        }
    };
    clients.local.run_until(all).await;
    count
}
