//! Counts the frames that a client sends.

/// Counts a client's WebSocket frames, read by read.
#[derive(Default)]
pub(super) struct ClientFrames {
    next: Next,
}

/// What the next byte is.
#[derive(Clone, Copy, Default)]
enum Next {
    /// The first of a frame.
    #[default]
    Begin,
    /// The mask bit and the length, or how many bytes the length has.
    Len,
    /// One of the length's bytes, of which so many are left.
    LenBytes { left: u8, masked: bool, len: u64 },
    /// One of so many bytes of mask and payload.
    Payload(u64),
}

impl ClientFrames {
    /// The number of frames that begin in `bytes`.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut count = 0;
        while let Some((first, rest)) = bytes.split_first() {
            (self.next, bytes) = match self.next {
                Next::Begin => {
                    count += 1;
                    (Next::Len, rest)
                }
                Next::Len => (after_len(*first), rest),
                Next::LenBytes { left: 1, masked, len } => (payload(masked, len << 8 | u64::from(*first)), rest),
                Next::LenBytes { left, masked, len } => {
                    (Next::LenBytes { left: left - 1, masked, len: len << 8 | u64::from(*first) }, rest)
                }
                Next::Payload(len) => {
                    let here = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
                    (remaining(len - here as u64), &bytes[here..])
                }
            };
        }
        count
    }
}

fn after_len(byte: u8) -> Next {
    let masked = byte & 0x80 != 0;
    match byte & 0x7f {
        126 => Next::LenBytes { left: 2, masked, len: 0 },
        127 => Next::LenBytes { left: 8, masked, len: 0 },
        len => payload(masked, len.into()),
    }
}

fn payload(masked: bool, len: u64) -> Next {
    remaining(len.saturating_add(if masked { 4 } else { 0 }))
}

fn remaining(len: u64) -> Next {
    if len == 0 { Next::Begin } else { Next::Payload(len) }
}

#[cfg(test)]
mod tests {
    use super::super::frame::client_frame;
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use tungstenite::protocol::frame::coding::Data;

    proptest! {
        #[test]
        fn each_frame_is_counted_once_however_it_is_read(
            lens in prop::collection::vec(prop_oneof![0_usize..300, 65_530_usize..65_540], 1..8),
            read in 1_usize..400,
        ) {
            let mut bytes = BytesMut::new();
            lens.iter().for_each(|len| client_frame(Data::Text, &[&vec![b'x'; *len]], &mut bytes));
            let mut frames = ClientFrames::default();
            let count: u32 = bytes.chunks(read).map(|bytes| frames.count(bytes)).sum();
            prop_assert_eq!(count as usize, lens.len());
        }

        #[test]
        fn arbitrary_bytes_are_counted(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(ClientFrames::default().count(&bytes) as usize <= bytes.len());
        }
    }
}
