//! What a client is told whose handshake is refused.
//!
//! The library takes a text and sends `{"message": text}` to clients of every generation. Node sends what the error
//! says of itself besides: to clients 3.x and 4.x as `data`, to those before in place of the message. So the library is
//! given the whole payload as its text, which takes the place of the library's payload on its way out.

use super::frame::{first_frame, text_frame};
use crate::auth::Rejection;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// A refused handshake; as a text, the payload that its client is to get.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) rejection: Rejection,
    /// Whether the client is a 1.x or 2.x.
    pub(crate) old: bool,
}

/// The payload that the library made.
#[derive(Deserialize)]
struct Told {
    message: String,
}

#[derive(Serialize)]
struct Payload<'a, T> {
    message: &'a str,
    data: T,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data = self.rejection.payload().data;
        let payload = match self.old {
            true => serde_json::to_string(&data),
            false => serde_json::to_string(&Payload { message: self.rejection.message, data }),
        };
        f.write_str(&payload.expect("texts are JSON"))
    }
}

/// The frames of the library with the payloads that are meant.
pub(crate) fn mended(frames: Bytes) -> Bytes {
    let (mut rest, mut mended) = (&frames[..], None::<BytesMut>);
    while let Some((opcode, payload, after)) = first_frame(rest) {
        let whole = (opcode == OpCode::Data(Data::Text)).then(|| meant(payload)).flatten();
        if let Some(whole) = whole {
            let before = frames.len() - rest.len();
            let out = mended.get_or_insert_with(|| BytesMut::from(&frames[..before]));
            out.extend_from_slice(&text_frame(&[&whole]));
        } else if let Some(out) = &mut mended {
            out.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    match mended {
        None => frames,
        Some(mut out) => {
            out.extend_from_slice(rest);
            out.freeze()
        }
    }
}

/// The packet in the place of the library's, if that is a connect error with a payload of ours.
fn meant(packet: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(packet.strip_prefix(b"44")?).ok()?;
    let json_at = if rest.starts_with('/') { rest.find(',')? + 1 } else { 0 };
    let (namespace, json) = rest.split_at(json_at);
    let Told { message } = serde_json::from_str(json).ok()?;
    message.starts_with('{').then(|| format!("44{namespace}{message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(packets: &[&str]) -> Vec<String> {
        let frames: Vec<u8> = packets.iter().flat_map(|packet| text_frame(&[packet]).to_vec()).collect();
        let mended = mended(frames.into());
        let (mut rest, mut packets) = (&mended[..], Vec::new());
        while let Some((_, payload, after)) = first_frame(rest) {
            packets.push(String::from_utf8(payload.to_vec()).unwrap());
            rest = after;
        }
        assert!(rest.is_empty());
        packets
    }

    /// As the library writes it.
    fn packet(namespace: &str, old: bool) -> String {
        let text = Refused { rejection: Rejection::NOT_A_TEXT, old }.to_string();
        format!("44{namespace}{}", serde_json::json!({ "message": text }))
    }

    #[test]
    fn a_refusal_has_the_payload_of_its_generation() {
        let data = r#"{"message":"invalid token datatype","code":"invalid_token","type":"UnauthorizedError"}"#;
        for namespace in ["", "/chat,"] {
            assert_eq!(mend(&[&packet(namespace, true)]), [format!("44{namespace}{data}")]);
            let now = format!(r#"44{namespace}{{"message":"invalid token datatype","data":{data}}}"#);
            assert_eq!(
                mend(&["2", &packet(namespace, false), "42[\"44{\"]"]),
                ["2".to_owned(), now, "42[\"44{\"]".to_owned()]
            );
        }
    }

    #[test]
    fn what_is_no_refusal_stays_as_it_is() {
        for bytes in [&b""[..], b"\x81\x7f", &[0x82, 3, b'4', b'4', b'{'], &[0x88, 0]] {
            assert_eq!(mended(Bytes::copy_from_slice(bytes)), bytes);
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
        assert_eq!(mend(&packets), packets);
    }
}
