//! The format of the journal's files.
//!
//! A file is a sequence of frames. A frame is a header of 64 bytes and a body, padded with zeros to a multiple of 8
//! bytes, so that the body is aligned for Arrow in memory. All numbers are little-endian.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic, `GHJ1` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | [`Kind`] |
//! | 6 | 2 | topic: the number that a [`Kind::Topic`] frame assigned to it; 0 for the journal's own frames |
//! | 8 | 4 | length of the body, without the padding |
//! | 12 | 4 | rows |
//! | 16 | 8 | number of the first row |
//! | 24 | 8 | time, microseconds since 1970 UTC |
//! | 32 | 8 | fingerprint of the rows' schema |
//! | 40 | 8 | acknowledged offset: everything below it was acknowledged when the frame was written |
//! | 48 | 8 | the journal offset of the frame itself |
//! | 56 | 4 | CRC-32C of the body |
//! | 60 | 4 | CRC-32C of the 60 bytes before |
//!
//! Because a frame contains its own offset, a copy of it elsewhere, such as in a payload or in a misplaced block, is
//! invalid. The acknowledged offset distinguishes damage from a torn tail: nothing below it can be torn.

/// The size of a header.
pub(super) const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"GHJ1";
const VERSION: u8 = 1;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The body is an Arrow batch.
    Rows = 1,
    /// Numbers without rows.
    Hole = 2,
    /// The body is a topic's name, `first` the number of its next row. Each segment begins with one for every topic, so
    /// that deleting older segments loses neither numbers nor names.
    Topic = 3,
    /// No later frame has an earlier time. The body is [`NextNumbers`].
    Floor = 4,
    /// Like `Floor`; the journal was closed after it.
    Close = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Rows, Self::Hole, Self::Topic, Self::Floor, Self::Close].into_iter().find(|k| *k as u8 == byte)
    }
}

/// A frame without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub topic: u16,
    pub length: u32,
    pub rows: u32,
    pub first: u64,
    pub time: i64,
    pub schema: u64,
    pub acknowledged: u64,
    pub offset: u64,
    pub crc: u32,
}

impl Header {
    /// Returns the size of the frame, including padding.
    pub fn size(&self) -> u64 {
        size(self.length as usize) as u64
    }

    /// Returns the offset of the next frame.
    pub fn end(&self) -> u64 {
        self.offset + self.size()
    }

    /// Returns the number after its last row.
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.rows)
    }

    /// Whether the frame uses numbers of its topic.
    pub fn is_numbered(&self) -> bool {
        matches!(self.kind, Kind::Rows | Kind::Hole)
    }

    /// Appends the frame to `buffer`.
    pub fn write(&self, body: &[u8], buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&[VERSION, self.kind as u8]);
        buffer.extend_from_slice(&self.topic.to_le_bytes());
        buffer.extend_from_slice(&self.length.to_le_bytes());
        buffer.extend_from_slice(&self.rows.to_le_bytes());
        buffer.extend_from_slice(&self.first.to_le_bytes());
        buffer.extend_from_slice(&self.time.to_le_bytes());
        buffer.extend_from_slice(&self.schema.to_le_bytes());
        buffer.extend_from_slice(&self.acknowledged.to_le_bytes());
        buffer.extend_from_slice(&self.offset.to_le_bytes());
        buffer.extend_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&buffer[start..]);
        buffer.extend_from_slice(&crc.to_le_bytes());
        buffer.extend_from_slice(body);
        buffer.resize(start + size(body.len()), 0);
    }

    /// Parses the header at the start of `bytes`, which are at journal offset `offset`. Returns `None` if it is not
    /// valid there.
    pub fn read(bytes: &[u8], offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        if bytes[..4] != MAGIC || bytes[4] != VERSION || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return None;
        }
        let header = Self {
            kind: Kind::of(bytes[5])?,
            topic: u16::from_le_bytes([bytes[6], bytes[7]]),
            length: u32_at(bytes, 8),
            rows: u32_at(bytes, 12),
            first: u64_at(bytes, 16),
            time: u64_at(bytes, 24).cast_signed(),
            schema: u64_at(bytes, 32),
            acknowledged: u64_at(bytes, 40),
            offset: u64_at(bytes, 48),
            crc: u32_at(bytes, 56),
        };
        (header.offset == offset).then_some(header)
    }
}

/// Returns the size of a frame with a body of `length` bytes.
pub(super) fn size(length: usize) -> usize {
    HEADER_BYTES + length.next_multiple_of(8)
}

/// The number of the next row of each topic: the body of a floor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NextNumbers(pub Vec<(u16, u64)>);

impl NextNumbers {
    const ENTRY_BYTES: usize = 10;

    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(topic, next)| topic.to_le_bytes().into_iter().chain(next.to_le_bytes())).collect()
    }

    pub fn decode(body: &[u8]) -> Self {
        let entry = |e: &[u8]| (u16::from_le_bytes([e[0], e[1]]), u64_at(e, 2));
        Self(body.chunks_exact(Self::ENTRY_BYTES).map(entry).collect())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the position is inside the header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the position is inside the header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::Rows,
            topic: 3,
            length: 5,
            rows: 2,
            first: 7,
            time: -1,
            schema: u64::MAX,
            acknowledged: 64,
            offset: 128,
            crc: crc32c::crc32c(b"hello"),
        }
    }

    #[test]
    fn a_frame_is_valid_only_at_its_own_offset() {
        let mut bytes = Vec::new();
        header().write(b"hello", &mut bytes);
        assert_eq!(bytes.len(), 72);
        assert_eq!(Header::read(&bytes, 128), Some(header()));
        assert_eq!(Header::read(&bytes, 136), None);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_detected() {
        let mut bytes = Vec::new();
        header().write(b"hello", &mut bytes);
        for bit in 0..HEADER_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::read(&bytes, 128), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
