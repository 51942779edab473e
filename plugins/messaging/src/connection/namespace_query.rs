//! Namespaces with a query.
//!
//! Clients 1.x and 2.x connect to a namespace with `40/chat?a=b,`. Node removes the query; the library does not, and
//! finds no such namespace.

use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Longer packets are passed on unchanged. A packet that connects to a namespace is shorter.
const CONNECT_LEN_MAX: usize = 2048;

/// Removes queries from a client's frames, read by read.
pub(super) struct Queries {
    /// Bytes until the next frame begins. `None` if this is no longer known because a read ended within a header.
    next_frame: Option<u64>,
}

impl Default for Queries {
    fn default() -> Self {
        Self { next_frame: Some(0) }
    }
}

impl Queries {
    /// Removes queries from `bytes` in place. A frame that is split over several reads is not changed.
    pub(super) fn drop_from(&mut self, mut bytes: &mut [u8]) {
        while let Some(skip) = self.next_frame.filter(|_| !bytes.is_empty()) {
            let Some(at) = usize::try_from(skip).ok().filter(|at| *at < bytes.len()) else {
                self.next_frame = Some(skip - bytes.len() as u64);
                return;
            };
            bytes = &mut bytes[at..];
            let mut cursor = Cursor::new(&*bytes);
            let Ok(Some((header, len))) = FrameHeader::parse(&mut cursor) else {
                self.next_frame = None;
                return;
            };
            let begin = cursor.position();
            if let (OpCode::Data(Data::Text), Some(mask)) = (header.opcode, header.mask) {
                frame_payload(bytes, begin, len).into_iter().for_each(|payload| drop_query(payload, mask));
            }
            self.next_frame = Some(begin.saturating_add(len));
        }
    }
}

fn frame_payload(bytes: &mut [u8], begin: u64, len: u64) -> Option<&mut [u8]> {
    let (begin, len) = (usize::try_from(begin).ok()?, usize::try_from(len).ok().filter(|len| *len <= CONNECT_LEN_MAX)?);
    bytes.get_mut(begin..begin.checked_add(len)?)
}

/// Replaces a query with a comma and spaces, so that the packet keeps its length.
fn drop_query(payload: &mut [u8], mask: [u8; 4]) {
    let plain = |at: usize, byte: u8| byte ^ mask[at % 4];
    let begins =
        b"40/".iter().enumerate().all(|(at, byte)| payload.get(at).is_some_and(|other| plain(at, *other) == *byte));
    let query =
        payload.iter().enumerate().position(|(at, byte)| matches!(plain(at, *byte), b'?' | b',')).filter(|_| begins);
    let Some(query) = query.filter(|at| plain(*at, payload[*at]) == b'?') else { return };
    for (at, byte) in payload.iter_mut().enumerate().skip(query) {
        *byte = plain(at, if at == query { b',' } else { b' ' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(text: &str, mask: [u8; 4]) -> Vec<u8> {
        let header = FrameHeader {
            is_final: true,
            opcode: OpCode::Data(Data::Text),
            mask: Some(mask),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        header.format(text.len() as u64, &mut bytes).unwrap();
        bytes.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        bytes
    }

    const MASK: [u8; 4] = [1, 0x90, 0xff, 7];

    #[test]
    fn only_queries_of_connect_packets_are_removed() {
        let texts = ["40/chat?a=b&c=d,", "42[\"a?b\"]", "40/chat?x", "40/chat,{\"a\":\"?\"}", "42/chat,[\"?\"]", "2"];
        let expected =
            ["40/chat,        ", "42[\"a?b\"]", "40/chat, ", "40/chat,{\"a\":\"?\"}", "42/chat,[\"?\"]", "2"];
        let all = |texts: [&str; 6]| texts.map(|text| frame(text, MASK)).concat();
        let mut bytes = all(texts);
        Queries::default().drop_from(&mut bytes);
        assert_eq!(bytes, all(expected));
    }

    proptest! {
        /// However the frames are split, packets without a query do not change.
        #[test]
        fn other_packets_do_not_change(texts in prop::collection::vec("42\\[\"[a-z?/,]{0,300}\"\\]", 1..5), piece in 1..400_usize) {
            let mut bytes: Vec<u8> = texts.iter().flat_map(|text| frame(text, MASK)).collect();
            let before = bytes.clone();
            let mut queries = Queries::default();
            bytes.chunks_mut(piece).for_each(|read| queries.drop_from(read));
            prop_assert_eq!(bytes, before);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..500), piece in 1..100_usize) {
            let mut queries = Queries::default();
            bytes.chunks_mut(piece).for_each(|read| queries.drop_from(read));
        }
    }
}
