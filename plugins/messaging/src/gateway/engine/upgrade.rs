//! The upgrade from polling to a WebSocket.
//!
//! The client opens a WebSocket while it polls, and sends a probe. Once the probe and the last poll are answered, it stops
//! polling and sends an upgrade packet. If any step fails, the session continues with polling.

use crate::connection::text_frame;
use crate::connection::{ByteStream, Connection, DescriptorPermit};
use bytes::{Buf, Bytes, BytesMut};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Time for a client to complete the upgrade, as in Node.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer frames are not part of a probe.
const PROBE_FRAME_MAX: u64 = 125;

/// Upgrades to the WebSocket if its client completes the probe in time. `read` was already read from it.
pub(super) async fn upgrade(connection: Arc<Connection>, stream: ByteStream, read: Bytes, permit: DescriptorPermit) {
    let mut probe = Probe { stream, read: BytesMut::from(read) };
    let ready = timeout(UPGRADE_TIMEOUT, probe.run(&connection)).await.unwrap_or(None).is_some();
    if ready {
        connection.upgrade(probe.stream, probe.read.freeze(), permit).await;
    }
    connection.end_upgrade();
}

/// A WebSocket that is being probed.
struct Probe {
    stream: ByteStream,
    read: BytesMut,
}

impl Probe {
    /// `None` if the upgrade fails.
    async fn run(&mut self, connection: &Connection) -> Option<()> {
        self.expect(b"2probe").await?;
        self.stream.write_all(&text_frame(&["3probe"])).await.ok()?;
        self.stream.flush().await.ok()?;
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

    /// The next frame, unmasked.
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

    /// `Some(None)` if more must be read, `None` if the frame is invalid or too long.
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
