//! What the library writes to a client, as far as those must know who write beside it.
//!
//! Most events are written to a client's connection without the library, which has a queue, a task and a copy of each
//! message for each client. Some go through it: those with attachments, those that clients acknowledge, and all as long
//! as a client polls. None may overtake another: an event that goes through the library is marked, and none is written
//! beside it before the mark has come out. (Acknowledgements of what clients push have no place among the events.)

use super::frame::first_frame;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// What an event ends with that goes through the library. White space after it: no client sees it, and no event of ours
/// ends so by itself.
pub(crate) const MARK: char = ' ';

/// What is known of the library's side of a connection.
#[derive(Default)]
pub(super) struct Library {
    /// From here on frames are written.
    switched: bool,
    /// What is sent through the library from now on comes out here: no poll takes it.
    websocket: bool,
    /// Marks that went in.
    sent: u64,
    /// Marks that came out.
    seen: u64,
    /// Attachments that are to follow at once.
    attachments: usize,
    /// Nothing may follow.
    closing: bool,
}

impl Library {
    /// The connection becomes a WebSocket.
    pub(super) fn switch(&mut self) {
        self.switched = true;
    }

    /// Whether marks are of use.
    pub(super) fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// A mark went in; returns its number.
    pub(super) fn mark(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// Whether an event may be written beside the library, to a socket whose last mark is `mark`; 0 is none.
    pub(super) fn is_past(&self, mark: u64) -> bool {
        mark != 0 && mark <= self.seen && self.attachments == 0 && !self.closing
    }

    /// The library writes `bytes`: whole frames, where it is frames.
    pub(super) fn writes(&mut self, mut bytes: &[u8]) {
        while let Some((opcode, payload, rest)) = first_frame(bytes).filter(|_| self.switched) {
            self.frame(opcode, payload);
            bytes = rest;
        }
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        match (opcode, payload) {
            // The session's begin, or the answer to the probe before an upgrade, while which nothing is taken by polls.
            (TEXT, [b'0', ..] | b"3probe") => self.websocket = true,
            (CLOSE, _) | (TEXT, b"1") => self.closing = true,
            (TEXT, [b'4', b'5' | b'6', count @ ..]) => self.attachments = self.attachments.saturating_add(number(count)),
            (TEXT, [b'4', .., last]) if *last == MARK as u8 => self.seen += 1,
            (BINARY, _) => self.attachments = self.attachments.saturating_sub(1),
            _ => {}
        }
    }
}

/// The number that a text begins with.
fn number(text: &[u8]) -> usize {
    text.iter().map_while(|c| char::from(*c).to_digit(10)).fold(0_usize, |n, digit| n.saturating_mul(10).saturating_add(digit as usize))
}

#[cfg(test)]
mod tests {
    use super::super::frame::text_frame;
    use super::*;

    fn writes(library: &mut Library, texts: &[&str]) {
        let frames: Vec<u8> = texts.iter().flat_map(|text| text_frame(&[text]).to_vec()).collect();
        library.writes(&frames);
    }

    fn on_a_websocket() -> Library {
        let mut library = Library::default();
        library.switch();
        library.writes(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert!(!library.is_websocket());
        writes(&mut library, &["0{\"sid\":\"x\"}"]);
        library
    }

    #[test]
    fn an_event_is_past_when_its_mark_has_come_out() {
        let mut library = on_a_websocket();
        assert!(library.is_websocket() && !library.is_past(0));
        let (first, second) = (library.mark(), library.mark());
        writes(&mut library, &["40{\"sid\":\"y\"}", "2", "42[\"a\"] "]);
        assert!(library.is_past(first) && !library.is_past(second) && !library.is_past(0));
        writes(&mut library, &["43[\"b \"]", "42/n,[\"c\"] "]);
        assert!(library.is_past(second));
    }

    #[test]
    fn nothing_comes_between_an_event_and_its_attachments() {
        let mut library = on_a_websocket();
        let mark = library.mark();
        writes(&mut library, &["42[\"a\"] ", "452-[\"b\",{\"_placeholder\":true,\"num\":0}]"]);
        assert!(!library.is_past(mark));
        library.writes(&[0x82, 1, b'x']);
        assert!(!library.is_past(mark));
        library.writes(&[0x82, 1, b'x']);
        assert!(library.is_past(mark));
    }

    #[test]
    fn nothing_follows_the_end() {
        for end in [&[0x88, 2, 3, 232][..], &[0x81, 1, b'1']] {
            let mut library = on_a_websocket();
            let mark = library.mark();
            writes(&mut library, &["42[\"a\"] "]);
            assert!(library.is_past(mark));
            library.writes(end);
            assert!(!library.is_past(mark));
        }
    }

    #[test]
    fn a_polls_answer_is_no_frame() {
        let mut library = Library::default();
        writes(&mut library, &["0{\"sid\":\"x\"}"]);
        assert!(!library.is_websocket());
    }
}
