//! Frames of WebSocket as a server writes them: whole and not masked (RFC 6455, section 5.2).

use bytes::{BufMut, Bytes, BytesMut};

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
/// In the first byte: it is whole.
const FINAL: u8 = 0x80;

/// A text frame of these parts, one after the other.
pub(crate) fn text_frame(parts: &[&str]) -> Bytes {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(10 + len);
    frame.put_u8(FINAL | TEXT);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..126), _) => frame.put_u8(short),
        (_, Ok(medium)) => {
            frame.put_u8(126);
            frame.put_u16(medium);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(len as u64);
        }
    }
    parts.iter().for_each(|part| frame.put_slice(part.as_bytes()));
    frame.freeze()
}

/// The opcode and the payload of the first frame, and what comes after it. None where that is no whole frame.
pub(super) fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    if first & 0xf0 != FINAL {
        return None;
    }
    let (len, rest) = match second {
        126 => rest.split_first_chunk().map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest))?,
        127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
        ..126 => (u64::from(second), rest),
        // Masked: a client's.
        _ => return None,
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((first & 0x0f, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_every_length_is_read_as_it_was_made() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let text = "x".repeat(len);
            let frame = [text_frame(&["4", &text]), text_frame(&[])].concat();
            let (opcode, payload, rest) = first_frame(&frame).unwrap();
            assert_eq!((opcode, payload.len()), (TEXT, len + 1));
            assert_eq!(first_frame(rest), Some((TEXT, &[][..], &[][..])));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some((_, payload, rest)) = first_frame(&bytes) {
                prop_assert!(payload.len() + rest.len() + 2 <= bytes.len());
            }
        }
    }
}
