//! Payloads of the polling transport: the packets of one POST, or of the response to a poll.
//!
//! Engine.io 4 (<https://github.com/socketio/engine.io-protocol>): packets separated by 0x1e, binary ones as
//! `b<base64>`. Engine.io 3: `<length in UTF-16 units>:<packet>`, binary ones as `b4<base64>`, or the whole as bytes:
//! `00` or `01`, the length in decimal digits (a byte each, 0 to 9), `ff`, then the packet.
//!
//! Packets are converted from and to WebSocket frames, which sessions use regardless of their transport. Decoding is
//! linear in the length of the body, and strict except for base64: Node decodes it leniently, and clients in several
//! languages rely on that.

use crate::connection::Protocol;
use crate::connection::{client_frame, first_frame};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The separator of packets in engine.io 4.
const SEPARATOR: char = '\x1e';
/// The end of a packet's length in a binary payload.
const LENGTH_END: u8 = 0xff;
/// Maximum number of digits of a packet's length. Longer bodies are not read.
const LENGTH_DIGITS_MAX: usize = 10;
/// The first byte of a binary packet of engine.io 3 in a WebSocket: the type `message`.
const BINARY_MESSAGE: u8 = 4;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The body is not a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PayloadError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotText,
    /// A packet has no type, or a type that clients do not send.
    #[error("the body has a packet of unknown type")]
    UnknownPacket,
    /// The length of a packet is not a number, or does not fit the body.
    #[error("the body has a packet with a wrong length")]
    WrongLength,
}

/// The packets of a POST as a client's WebSocket frames.
pub(super) fn decode(protocol: Protocol, body: &[u8], is_binary: bool) -> Result<Bytes, PayloadError> {
    let mut frames = BytesMut::with_capacity(body.len() + 16);
    if protocol == Protocol::V3 && is_binary {
        decode_bytes(body, &mut frames)?;
        return Ok(frames.freeze());
    }
    let text = std::str::from_utf8(body).map_err(|_| PayloadError::NotText)?;
    match protocol {
        Protocol::V4 => text.split(SEPARATOR).try_for_each(|packet| put_packet(protocol, packet, &mut frames))?,
        Protocol::V3 => decode_lengths(text, &mut frames)?,
    }
    Ok(frames.freeze())
}

fn decode_lengths(mut text: &str, frames: &mut BytesMut) -> Result<(), PayloadError> {
    while !text.is_empty() {
        let (len, rest) =
            text.split_once(':').filter(|(len, _)| len.len() <= LENGTH_DIGITS_MAX).ok_or(PayloadError::WrongLength)?;
        let end = len.parse().ok().and_then(|units| units_end(rest, units)).ok_or(PayloadError::WrongLength)?;
        put_packet(Protocol::V3, &rest[..end], frames)?;
        text = &rest[end..];
    }
    Ok(())
}

/// The byte offset after the first `units` UTF-16 units of a text. `None` if it is beyond the end or within a character.
fn units_end(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

fn decode_bytes(mut body: &[u8], frames: &mut BytesMut) -> Result<(), PayloadError> {
    while let Some((&kind, rest)) = body.split_first() {
        let digits = rest
            .iter()
            .take(LENGTH_DIGITS_MAX + 1)
            .position(|byte| *byte == LENGTH_END)
            .ok_or(PayloadError::WrongLength)?;
        let len =
            rest[..digits].iter().try_fold(0_usize, |len, digit| (*digit < 10).then(|| len * 10 + usize::from(*digit)));
        let (packet, rest) =
            len.and_then(|len| rest[digits + 1..].split_at_checked(len)).ok_or(PayloadError::WrongLength)?;
        match kind {
            0 => put_packet(Protocol::V3, std::str::from_utf8(packet).map_err(|_| PayloadError::NotText)?, frames)?,
            1 if packet.first() == Some(&BINARY_MESSAGE) => client_frame(Data::Binary, &[packet], frames),
            _ => return Err(PayloadError::UnknownPacket),
        }
        body = rest;
    }
    Ok(())
}

/// Appends one packet of a text payload.
fn put_packet(protocol: Protocol, packet: &str, frames: &mut BytesMut) -> Result<(), PayloadError> {
    let base64 = match protocol {
        Protocol::V4 => packet.strip_prefix('b'),
        Protocol::V3 => packet.strip_prefix("b4"),
    };
    match (base64, packet.as_bytes().first()) {
        (Some(base64), _) if protocol == Protocol::V4 => client_frame(Data::Binary, &[&from_base64(base64)], frames),
        (Some(base64), _) => client_frame(Data::Binary, &[&[BINARY_MESSAGE], &from_base64(base64)], frames),
        // Close, ping, pong, message: clients send no other types on this transport.
        (None, Some(b'1'..=b'4')) => client_frame(Data::Text, &[packet.as_bytes()], frames),
        _ => return Err(PayloadError::UnknownPacket),
    }
    Ok(())
}

/// Decodes like Node's `Buffer.from(text, "base64")`: accepts both alphabets, stops at a `=`, skips other characters.
fn from_base64(text: &str) -> Vec<u8> {
    let sextet = |byte: u8| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Some(byte),
        _ => None,
    };
    let mut sextets: Vec<u8> = text.bytes().take_while(|byte| *byte != b'=').filter_map(sextet).collect();
    // A single last sextet is not a whole byte.
    if sextets.len() % 4 == 1 {
        sextets.pop();
    }
    LENIENT.decode(sextets).expect("only letters of the alphabet, and no single one at the end")
}

/// The payload of a response to a poll.
#[derive(Default)]
pub(super) struct Payload {
    text: String,
}

impl Payload {
    /// Adds the packets of a server's frames. `open` may replace an open packet.
    pub(super) fn add(&mut self, protocol: Protocol, mut frames: &[u8], open: impl Fn(&str) -> Option<String>) {
        while let Some((opcode, payload, rest)) = first_frame(frames) {
            match opcode {
                OpCode::Data(Data::Text) => {
                    let packet = String::from_utf8_lossy(payload);
                    let opened = packet.strip_prefix('0').and_then(&open);
                    self.push(protocol, opened.as_deref().unwrap_or(&packet));
                }
                OpCode::Data(Data::Binary) => self.push(protocol, &to_base64(protocol, payload)),
                OpCode::Control(Control::Close) => self.push(protocol, "1"),
                _ => {}
            }
            frames = rest;
        }
    }

    /// Adds a packet.
    pub(super) fn push(&mut self, protocol: Protocol, packet: &str) {
        match protocol {
            Protocol::V4 if self.text.is_empty() => {}
            Protocol::V4 => self.text.push(SEPARATOR),
            Protocol::V3 => {
                let units = packet.encode_utf16().count();
                self.text.push_str(itoa::Buffer::new().format(units));
                self.text.push(':');
            }
        }
        self.text.push_str(packet);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

fn to_base64(protocol: Protocol, payload: &[u8]) -> String {
    match protocol {
        Protocol::V4 => format!("b{}", BASE64_STANDARD.encode(payload)),
        Protocol::V3 => {
            format!("b4{}", BASE64_STANDARD.encode(payload.strip_prefix(&[BINARY_MESSAGE]).unwrap_or(payload)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol::{V3, V4};
    use super::*;
    use crate::connection::text_frame;
    use proptest::prelude::*;
    use tungstenite::protocol::frame::FrameHeader;

    /// The packets of a client's frames.
    fn packets(frames: &[u8]) -> Vec<(bool, Vec<u8>)> {
        let (mut rest, mut packets) = (frames, Vec::new());
        while !rest.is_empty() {
            let mut cursor = std::io::Cursor::new(rest);
            let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!(header.mask, Some([0; 4]));
            let (payload, after) = rest[cursor.position() as usize..].split_at(len as usize);
            packets.push((header.opcode == OpCode::Data(Data::Binary), payload.to_vec()));
            rest = after;
        }
        packets
    }

    fn read(protocol: Protocol, body: &[u8], is_binary: bool) -> Result<Vec<(bool, Vec<u8>)>, PayloadError> {
        decode(protocol, body, is_binary).map(|frames| packets(&frames))
    }

    fn text(packet: &str) -> (bool, Vec<u8>) {
        (false, packet.into())
    }

    #[test]
    fn packets_of_both_protocols_are_read() {
        assert_eq!(read(V4, "4a\x1e3\x1ebAQI=".as_bytes(), false), Ok(vec![text("4a"), text("3"), (true, vec![1, 2])]));
        assert_eq!(
            read(V3, "4:4ü😀1:26:b4AQI=".as_bytes(), false),
            Ok(vec![text("4ü😀"), text("2"), (true, vec![4, 1, 2])])
        );
        assert_eq!(
            read(V3, b"\x00\x03\xff4ab\x01\x03\xff\x04\x01\x02", true),
            Ok(vec![text("4ab"), (true, vec![4, 1, 2])])
        );
        assert_eq!(read(V3, b"", false), Ok(vec![]));
    }

    #[test]
    fn invalid_bodies_are_refused() {
        for body in ["1:😀x", "9:4a", ":4a", "-1:4a", "4a", "1:", "99999999999:4", "1:x", "0:"] {
            assert!(read(V3, body.as_bytes(), false).is_err(), "{body}");
        }
        for body in ["", "x", "4a\x1e", "0{}", "5", "6", "\u{feff}4"] {
            assert!(read(V4, body.as_bytes(), false).is_err(), "{body}");
        }
        for body in [
            &b"\x00"[..],
            b"\x00\xff",
            b"\x02\x01\xff4",
            b"\x00\x0a\xff4",
            b"\x00\x02\xff4",
            b"\x01\x01\xff4",
            b"\x00\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\xff4",
        ] {
            assert!(read(V3, body, true).is_err(), "{body:?}");
        }
        assert_eq!(read(V4, b"4\xff", false), Err(PayloadError::NotText));
    }

    #[test]
    fn base64_is_decoded_as_in_node() {
        let bytes = |base64: &str| from_base64(base64);
        for same in ["AQIDBA==", "AQIDBA", "AQID\nBA==\n", "AQ ID\r\nBA", "AQIDBA==x", "A*QIDBA"] {
            assert_eq!(bytes(same), [1, 2, 3, 4], "{same}");
        }
        assert_eq!(bytes("-_-_"), bytes("+/+/"));
        assert_eq!((bytes(""), bytes("A"), bytes("AQI")), (vec![], vec![], vec![1, 2]));
    }

    #[test]
    fn a_response_has_the_format_of_its_protocol() {
        let frames =
            [text_frame(&["42[\"ü😀\"]"]), Bytes::from_static(&[0x82, 3, 4, 1, 2]), Bytes::from_static(&[0x88, 0])]
                .concat();
        let written = |protocol| {
            let mut payload = Payload::default();
            payload.add(protocol, &frames, |_| None);
            payload.into_text()
        };
        assert_eq!(written(V4), "42[\"ü😀\"]\x1ebBAEC\x1e1");
        assert_eq!(written(V3), "9:42[\"ü😀\"]6:b4AQI=1:1");
    }

    #[test]
    fn the_open_packet_is_replaced() {
        let mut payload = Payload::default();
        payload
            .add(V3, &[text_frame(&["0{}"]), text_frame(&["40"])].concat(), |open| (open == "{}").then(|| "0x".into()));
        assert_eq!(payload.into_text(), "2:0x2:40");
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), is_binary: bool, v3: bool) {
            let _ = read(if v3 { V3 } else { V4 }, &body, is_binary);
        }

        #[test]
        fn almost_valid_bodies_are_read_or_refused(body in "([0-9]{0,3}:?[0-6b😀ü\u{1e}=a-d]{0,6}){0,8}", is_binary: bool, v3: bool) {
            let _ = read(if v3 { V3 } else { V4 }, body.as_bytes(), is_binary);
        }

        /// The decoder reads what the encoder writes.
        #[test]
        fn an_encoded_payload_is_decoded(packets in prop::collection::vec("4[^\u{1e}]{0,12}", 1..6), v3: bool) {
            let protocol = if v3 { V3 } else { V4 };
            let mut payload = Payload::default();
            packets.iter().for_each(|packet| payload.add(protocol, &text_frame(&[packet]), |_| None));
            let expected: Vec<_> = packets.iter().map(|packet| text(packet)).collect();
            prop_assert_eq!(read(protocol, payload.into_text().as_bytes(), false), Ok(expected));
        }
    }
}
