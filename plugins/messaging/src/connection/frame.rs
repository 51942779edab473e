//! WebSocket frames as a server writes them: unfragmented and unmasked (RFC 6455, section 5.2).

use bytes::{BufMut, Bytes, BytesMut};
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Length of the longest header of an unmasked frame.
const HEADER_LEN_MAX: usize = 10;

/// A text frame with the concatenated parts.
pub(crate) fn text_frame(parts: &[&str]) -> Bytes {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = with_header(Data::Text, len);
    parts.iter().for_each(|part| frame.put_slice(part.as_bytes()));
    frame.freeze()
}

/// A binary frame with the concatenated parts.
pub(crate) fn binary_frame(parts: &[&[u8]]) -> Bytes {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = with_header(Data::Binary, len);
    parts.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

fn with_header(data: Data, len: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEADER_LEN_MAX + len).writer();
    let header = FrameHeader { is_final: true, opcode: OpCode::Data(data), ..FrameHeader::default() };
    header.format(len as u64, &mut frame).expect("writing to memory does not fail");
    frame.into_inner()
}

/// Appends a frame as a client writes it, with a mask of zeros.
pub(crate) fn client_frame(data: Data, parts: &[&[u8]], to: &mut BytesMut) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let header =
        FrameHeader { is_final: true, opcode: OpCode::Data(data), mask: Some([0; 4]), ..FrameHeader::default() };
    header.format(len as u64, &mut to.writer()).expect("writing to memory does not fail");
    parts.iter().for_each(|part| to.put_slice(part));
}

/// The opcode and the payload of the first frame, and the rest. `None` if `bytes` does not begin with a whole unmasked
/// frame.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(OpCode, &[u8], &[u8])> {
    let mut cursor = Cursor::new(bytes);
    let (header, len) = FrameHeader::parse(&mut cursor).ok().flatten()?;
    let rest = bytes.get(usize::try_from(cursor.position()).ok()?..)?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    (header.is_final && header.mask.is_none()).then_some((header.opcode, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_of_any_length_is_read_back() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let text = "x".repeat(len);
            let frame = [text_frame(&["4", &text]), text_frame(&[])].concat();
            let (opcode, payload, rest) = first_frame(&frame).unwrap();
            assert_eq!((opcode, payload.len()), (OpCode::Data(Data::Text), len + 1));
            assert_eq!(first_frame(rest), Some((OpCode::Data(Data::Text), &[][..], &[][..])));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some((_, payload, rest)) = first_frame(&bytes) {
                prop_assert!(payload.len() + rest.len() + 2 <= bytes.len());
            }
        }
    }
}
