//! Reads a segment's bytes by journal offset, through a buffer.

use greyhound_sdk::fs::File;
use std::io;

/// A buffer for reading a file forwards.
pub(super) struct Window<'a> {
    file: &'a dyn File,
    base: u64,
    end: u64,
    read_bytes: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Creates a buffer of the segment `file`, which begins at journal offset `base`. Bytes from `end` on are not read.
    pub fn new(file: &'a dyn File, base: u64, end: u64, read_bytes: usize) -> Self {
        Self { file, base, end, read_bytes, start: base, bytes: Vec::new() }
    }

    /// Returns `len` bytes at journal offset `at`, or fewer at the end.
    pub fn get(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let len = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX).min(len);
        if !self.holds(at, len) {
            self.load(at, len.max(self.read_bytes))?;
        }
        let from = usize::try_from(at - self.start).map_err(io::Error::other)?;
        let to = (from + len).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    fn holds(&self, at: u64, len: usize) -> bool {
        at >= self.start && at + len as u64 <= self.start + self.bytes.len() as u64
    }

    fn load(&mut self, at: u64, len: usize) -> io::Result<()> {
        let len = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX).min(len);
        self.bytes.resize(len, 0);
        let read = read_full(self.file, &mut self.bytes, at - self.base)?;
        self.bytes.truncate(read);
        self.start = at;
        Ok(())
    }
}

/// Reads until `buffer` is full or the file ends. Returns the number of bytes.
pub(super) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
