use super::*;
use crate::Config;
use crate::limits::{LimitsConfig, QueueMemory};
use crate::proxies::ClientEnd;
use Offered::{Full, Queued, ViaLibrary};
use bytes::Bytes;
use greyhound_sdk::config::ByteSize;
use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// The server's side of a connection.
struct Server {
    connection: Arc<Connection>,
    last_mark: LastMark,
    writers: Arc<Writers>,
}

impl std::ops::Deref for Server {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Server {
    fn send(&self, text: &str, volatile: bool) -> Offered {
        let mut due = Vec::new();
        let frame = text_frame(&[text]);
        let offered = self.offer(&frame, &self.last_mark, volatile, QueuedDelivery::NONE, &mut due);
        self.writers.write_to(due);
        offered
    }
}

/// A client and the connection to it, after the library has written the open packet and an event with a mark.
async fn connected(buffer: usize, write_timeout: Duration) -> (TcpStream, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let stream = ByteStream::Tcp(stream);
    let writers = Arc::new(Writers::default());
    let limits = LimitsConfig { queue: ByteSize::gib(1), ..LimitsConfig::default() };
    let config = Config { buffer, write_timeout, limits, ..Config::default() };
    let settings = Arc::new(Settings::new(&config, QueueMemory::new(usize::MAX)));
    let (reads, writes) = stream.into_split();
    std::mem::forget(reads);
    let client_end = ClientEnd { address: peer.ip(), secure: false };
    let connection = Arc::new(Connection::new((client_end, Protocol::V4), Some(writes), None, None, settings));
    let server = Server { connection, last_mark: LastMark::default(), writers: writers.clone() };
    tokio::spawn(async move { writers.write().await });
    assert_eq!(server.send("42[]", false), ViaLibrary);
    library_writes(&server, &["0{}"]).await;
    server.send_through_library(&server.last_mark, QueuedDelivery::NONE, || Handover::Marked);
    assert_eq!(server.send("42[]", false), ViaLibrary);
    library_writes(&server, &["42[\"first\"] "]).await;
    (client, server)
}

async fn library_writes(connection: &Arc<Connection>, texts: &[&str]) {
    let frames: Vec<Bytes> = texts.iter().map(|text| text_frame(&[text])).collect();
    let parts: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    poll_fn(|cx| connection.poll_take(cx, &parts)).await.unwrap();
}

#[tokio::test]
async fn a_slow_client_gets_direct_and_library_events_whole_and_in_order() {
    let (mut client, server) = connected(100_000, Duration::from_secs(60)).await;
    let reading = tokio::spawn(async move {
        let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
        while numbers.last() != Some(&1999) {
            // Reads little at a time, so that the server has to wait for the client repeatedly.
            let mut some = [0; 30_000];
            let count = client.read(&mut some).await.unwrap();
            bytes.extend_from_slice(&some[..count]);
            while let Some((_, payload, rest)) = first_frame(&bytes) {
                let number =
                    std::str::from_utf8(payload).unwrap().split(' ').nth(1).and_then(|n| n.parse::<u32>().ok());
                numbers.extend(number);
                bytes = rest.to_vec();
            }
        }
        numbers
    });
    let mut behind = 0;
    for n in 0..2000 {
        let text = format!("x {n} {}", "y".repeat(n * 37 % 9000));
        match n % 7 {
            0 => library_writes(&server, &[&text]).await,
            _ => assert_eq!(server.send(&text, false), Queued),
        }
        behind += usize::from(server.is_behind());
    }
    assert_eq!(reading.await.unwrap(), (0..2000).collect::<Vec<_>>());
    assert!(behind > 0 && !server.is_slow());
    assert_eq!(server.send("more", true), Queued);
}

#[tokio::test]
async fn a_client_that_reads_nothing_has_a_bounded_queue_and_is_disconnected() {
    let (client, server) = connected(3, Duration::from_millis(200)).await;
    let large = "x".repeat(10 << 20);
    assert_eq!(server.send(&large, false), Queued);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !server.is_behind() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(server.send("volatile", true), Full);
    assert_eq!([0; 3].map(|_| server.send("x", false)), [Queued, Queued, Full]);
    // The library's pending writes end.
    library_writes(&server, &["2"]).await;
    poll_fn(|cx| server.poll_written(cx)).await.unwrap();
    assert!(server.is_slow() && server.check().is_err());
    assert_eq!(server.queue.lock().end().len(), 0, "deliveries that are not recorded");
    drop(client);
}

#[tokio::test]
async fn direct_writes_do_not_block_the_library() {
    let (mut client, server) = connected(1000, Duration::from_secs(60)).await;
    let reading = tokio::spawn(async move {
        let mut some = vec![0; 100_000];
        while client.read(&mut some).await.is_ok_and(|count| count > 0) {}
    });
    let piece = "x".repeat(1 << 20);
    let fill = || {
        while server.queue.lock().len() < 20 {
            assert_eq!(server.send(&piece, false), Queued);
        }
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !server.is_behind() {
        assert!(tokio::time::Instant::now() < deadline);
        fill();
        tokio::task::yield_now().await;
    }
    let mut library = std::pin::pin!(async {
        for _ in 0..100 {
            library_writes(&server, &["2"]).await;
            poll_fn(|cx| server.poll_written(cx)).await.unwrap();
        }
    });
    // The queue is never empty.
    let keep_behind = async {
        loop {
            fill();
            assert!(server.is_behind());
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = &mut library => {}
        () = keep_behind => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the library is blocked"),
    }
    reading.abort();
}

#[tokio::test]
async fn a_burst_is_not_dropped_if_the_client_reads() {
    let (mut client, server) = connected(10, Duration::from_secs(60)).await;
    // The writers do not run during this loop.
    for _ in 0..1000 {
        assert_eq!(server.send("x", false), Queued);
    }
    let mut bytes = vec![0; 1000 * 3];
    tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut bytes)).await.unwrap().unwrap();
}
