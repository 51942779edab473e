//! The payload of a connect error.
//!
//! The library takes a text and sends `{"message": text}` to clients of every generation. Node also sends the error's
//! data: to clients 3.x and 4.x as `data`, to clients 1.x and 2.x instead of the message. Therefore the gateway gives
//! the library the whole payload as the text, and replaces the library's payload with that text before it is written.

use super::frame::{first_frame, text_frame};
use super::protocol::Protocol;
use crate::auth::Rejection;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// A refused handshake. Its text is the client's payload.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) rejection: Rejection,
    pub(crate) protocol: Protocol,
}

/// The payload as the library writes it.
#[derive(Deserialize)]
struct LibraryPayload {
    message: String,
}

#[derive(Serialize)]
struct Payload<'a, T> {
    message: &'a str,
    data: T,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data = self.rejection.payload().data;
        let payload = match self.protocol {
            Protocol::V3 => serde_json::to_string(&data),
            Protocol::V4 => serde_json::to_string(&Payload { message: &self.rejection.message, data }),
        };
        f.write_str(&payload.expect("texts are JSON"))
    }
}

/// Replaces the payloads of connect errors in the library's frames.
pub(super) fn replace_payloads(frames: Bytes) -> Bytes {
    let (mut rest, mut replaced) = (&frames[..], None::<BytesMut>);
    while let Some((opcode, payload, after)) = first_frame(rest) {
        let whole = (opcode == OpCode::Data(Data::Text)).then(|| replacement(payload)).flatten();
        if let Some(whole) = whole {
            let before = frames.len() - rest.len();
            let out = replaced.get_or_insert_with(|| BytesMut::from(&frames[..before]));
            out.extend_from_slice(&text_frame(&[&whole]));
        } else if let Some(out) = &mut replaced {
            out.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    match replaced {
        None => frames,
        Some(mut out) => {
            out.extend_from_slice(rest);
            out.freeze()
        }
    }
}

/// The packet that replaces `packet`, if that is a connect error with a payload of the gateway.
fn replacement(packet: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(packet.strip_prefix(b"44")?).ok()?;
    let json_at = if rest.starts_with('/') { rest.find(',')? + 1 } else { 0 };
    let (namespace, json) = rest.split_at(json_at);
    let LibraryPayload { message } = serde_json::from_str(json).ok()?;
    message.starts_with('{').then(|| format!("44{namespace}{message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(packets: &[&str]) -> Vec<String> {
        let frames: Vec<u8> = packets.iter().flat_map(|packet| text_frame(&[packet]).to_vec()).collect();
        let replaced = replace_payloads(frames.into());
        let (mut rest, mut packets) = (&replaced[..], Vec::new());
        while let Some((_, payload, after)) = first_frame(rest) {
            packets.push(String::from_utf8(payload.to_vec()).unwrap());
            rest = after;
        }
        assert!(rest.is_empty());
        packets
    }

    /// A connect error as the library writes it.
    fn packet(namespace: &str, protocol: Protocol) -> String {
        let text = ConnectError { rejection: Rejection::NOT_A_TEXT, protocol }.to_string();
        format!("44{namespace}{}", serde_json::json!({ "message": text }))
    }

    #[test]
    fn a_connect_error_has_the_payload_of_its_protocol() {
        let data = r#"{"message":"invalid token datatype","code":"invalid_token","type":"UnauthorizedError"}"#;
        for namespace in ["", "/chat,"] {
            assert_eq!(replaced(&[&packet(namespace, Protocol::V3)]), [format!("44{namespace}{data}")]);
            let now = format!(r#"44{namespace}{{"message":"invalid token datatype","data":{data}}}"#);
            assert_eq!(
                replaced(&["2", &packet(namespace, Protocol::V4), "42[\"44{\"]"]),
                ["2".to_owned(), now, "42[\"44{\"]".to_owned()]
            );
        }
    }

    #[test]
    fn other_frames_do_not_change() {
        for bytes in [&b""[..], b"\x81\x7f", &[0x82, 3, b'4', b'4', b'{'], &[0x88, 0]] {
            assert_eq!(replace_payloads(Bytes::copy_from_slice(bytes)), bytes);
        }
        let packets = [
            r#"44/nowhere,{"message":"Invalid namespace"}"#,
            "40{\"sid\":\"x\"}",
            "44",
            "44/",
            "44not JSON",
            "44{\"no\":1}",
            "42[\"message\",\"44\"]",
        ];
        assert_eq!(replaced(&packets), packets);
    }
}
