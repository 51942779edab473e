//! Clients that take more than they should: those that stall, that flood, and that send slowly.

use crate::client::{Clients, Connection};
use crate::server::Server;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Time for them to be connected, and for the first of the flood.
const SETTLING: Duration = Duration::from_secs(3);

/// Adds `each` of every kind.
pub async fn join(server: &Server, clients: &Clients, each: usize) {
    let port = server.port;
    for n in 0..each {
        clients.local.spawn_local(stall(port, Server::token(1_000_000 + n)));
        clients.local.spawn_local(async move { while flood(port, Server::token(2_000_000 + n)).await.is_err() {} });
        clients.local.spawn_local(async move { while send_slowly(port).await.is_err() {} });
    }
    clients.local.run_until(tokio::time::sleep(SETTLING)).await;
}

/// Gets every message to everybody, and reads none.
async fn stall(port: u16, token: String) -> io::Result<()> {
    let _connection = Connection::authenticated(port, &token).await?;
    std::future::pending().await
}

/// Pushes without a pause, until it is disconnected.
async fn flood(port: u16, token: String) -> io::Result<()> {
    let mut connection = Connection::authenticated(port, &token).await?;
    loop {
        connection.send(br#"42["flood","of events"]"#).await?;
    }
}

/// Sends a byte of a request each second.
async fn send_slowly(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    for byte in b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n".iter().cycle() {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
