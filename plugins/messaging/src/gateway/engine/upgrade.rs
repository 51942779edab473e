//! From polling to a WebSocket.
//!
//! The client opens a WebSocket beside its polls, sends a probe, leaves off polling when the probe is answered and its
//! last poll as well, and goes over. Until then the WebSocket is nothing but a try: if it fails at any step, the
//! session goes on polling.

use crate::connection::text_frame;
use crate::connection::{Connection, Slot};
use bytes::{Buf, Bytes, BytesMut};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// How long a client may take to go over; as Node.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// The packets of a probe are shorter.
const PROBE_FRAME_MAX: u64 = 125;

/// Goes over to the WebSocket, of which `read` was read already, if its client does so in time.
pub(super) async fn upgrade(connection: Arc<Connection>, stream: TcpStream, read: Bytes, slot: Slot) {
    let mut probe = Probe { stream, read: BytesMut::from(read) };
    let ready = timeout(UPGRADE_TIMEOUT, probe.run(&connection)).await.unwrap_or(None).is_some();
    if ready {
        let (reads, writes) = probe.stream.into_split();
        connection.upgrade(reads, writes, probe.read.freeze(), slot).await;
    }
    connection.abandon_upgrade();
}

/// A WebSocket that is tried.
struct Probe {
    stream: TcpStream,
    read: BytesMut,
}

impl Probe {
    /// None if it comes to nothing.
    async fn run(&mut self, connection: &Connection) -> Option<()> {
        self.expect(b"2probe").await?;
        self.stream.write_all(&text_frame(&["3probe"])).await.ok()?;
        connection.begin_upgrade();
        self.expect(b"5").await
    }

    async fn expect(&mut self, packet: &[u8]) -> Option<()> {
        loop {
            match self.frame().await? {
                (OpCode::Data(Data::Text), text) => return (text == packet).then_some(()),
                (OpCode::Control(Control::Ping | Control::Pong), _) => {}
                _ => return None,
            }
        }
    }

    /// The next frame, without its mask.
    async fn frame(&mut self) -> Option<(OpCode, Vec<u8>)> {
        loop {
            if let Some(frame) = self.whole_frame()? {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// None inside where more must be read, outside where no more should be.
    fn whole_frame(&mut self) -> Option<Option<(OpCode, Vec<u8>)>> {
        let mut cursor = Cursor::new(&self.read[..]);
        let Some((header, len)) = FrameHeader::parse(&mut cursor).ok()? else { return Some(None) };
        let mask = header.mask.filter(|_| header.is_final && len <= PROBE_FRAME_MAX)?;
        let (begin, len) = (usize::try_from(cursor.position()).ok()?, usize::try_from(len).ok()?);
        let Some(payload) = self.read.get(begin..begin + len) else { return Some(None) };
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.read.advance(begin + len);
        Some(Some((header.opcode, payload)))
    }
}
