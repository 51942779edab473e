//! What the library writes to a client, as far as those must know who write beside it.
//!
//! Most events are written to a client's connection without the library, which has a queue, a task and a copy of each
//! message for each client. Some go through it: those with attachments, those that clients acknowledge, and all as long
//! as a client polls. None may overtake another: an event that goes through the library is marked, and none is written
//! beside it before the mark has come out. (Acknowledgements of what clients push have no place among the events.)

use super::frame::first_frame;
use super::outbox::Delivery;
use std::collections::VecDeque;
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
    /// Marks that went in.
    sent: u64,
    /// Marks that came out.
    seen: u64,
    /// What is marked and has not come out yet.
    outstanding: VecDeque<Delivery>,
    /// Attachments that are to follow at once.
    attachments: usize,
    /// Nothing may follow.
    closing: bool,
}

impl Library {
    /// An event went in that ends with a mark; returns the mark's number.
    pub(super) fn mark(&mut self, delivery: Delivery) -> u64 {
        self.sent += 1;
        self.outstanding.push_back(delivery);
        self.sent
    }

    /// Whether an event may be written beside the library, to a socket whose last mark is `mark`; 0 is none.
    pub(super) fn is_past(&self, mark: u64) -> bool {
        mark != 0 && mark <= self.seen && self.attachments == 0 && !self.closing
    }

    /// The library writes `frames`. Returns the first marked event and where its frame ends; none where there is none
    /// in them.
    pub(super) fn next_delivery(&mut self, frames: &[u8]) -> Option<(usize, Delivery)> {
        let mut all = frames;
        while let Some((opcode, payload, rest)) = first_frame(all) {
            if self.frame(opcode, payload) {
                let delivery = self.outstanding.pop_front().unwrap_or(Delivery::NONE);
                return Some((frames.len() - rest.len(), delivery));
            }
            all = rest;
        }
        None
    }

    /// What went in with a mark that did not come out.
    pub(super) fn take_outstanding(&mut self) -> VecDeque<Delivery> {
        std::mem::take(&mut self.outstanding)
    }

    /// Returns whether the frame ends with a mark.
    fn frame(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        match (opcode, payload) {
            (CLOSE, _) | (TEXT, b"1") => self.closing = true,
            (TEXT, [b'4', b'5' | b'6', count @ ..]) => {
                self.attachments = self.attachments.saturating_add(number(count))
            }
            (TEXT, [b'4', .., last]) if *last == MARK as u8 => {
                self.seen += 1;
                return true;
            }
            (BINARY, _) => self.attachments = self.attachments.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// The number that a text begins with.
fn number(text: &[u8]) -> usize {
    text.iter()
        .map_while(|c| char::from(*c).to_digit(10))
        .fold(0_usize, |n, digit| n.saturating_mul(10).saturating_add(digit as usize))
}

#[cfg(test)]
mod tests {
    use super::super::frame::text_frame;
    use super::*;

    /// Returns the messages of the deliveries that came out.
    fn writes(library: &mut Library, texts: &[&str]) -> Vec<i64> {
        let frames: Vec<u8> = texts.iter().flat_map(|text| text_frame(&[text]).to_vec()).collect();
        let (mut rest, mut came_out) = (frames.as_slice(), Vec::new());
        while let Some((end, delivery)) = library.next_delivery(rest) {
            rest = &rest[end..];
            came_out.push(delivery.message);
        }
        came_out
    }

    fn delivery(message: i64) -> Delivery {
        Delivery { message, ..Delivery::NONE }
    }

    #[test]
    fn an_event_is_past_when_its_mark_has_come_out() {
        let mut library = Library::default();
        assert!(!library.is_past(0));
        let (first, second) = (library.mark(delivery(1)), library.mark(delivery(2)));
        assert_eq!(writes(&mut library, &["0{}", "40{\"sid\":\"y\"}", "2", "42[\"a\"] "]), [1]);
        assert!(library.is_past(first) && !library.is_past(second) && !library.is_past(0));
        assert_eq!(writes(&mut library, &["43[\"b \"]", "42/n,[\"c\"] "]), [2]);
        assert!(library.is_past(second));
    }

    #[test]
    fn what_did_not_come_out_is_outstanding() {
        let mut library = Library::default();
        let marks = [1, 2, 3].map(|message| library.mark(delivery(message)));
        assert_eq!(marks, [1, 2, 3]);
        assert_eq!(writes(&mut library, &["42[\"a\"] "]), [1]);
        assert_eq!(library.take_outstanding(), [delivery(2), delivery(3)]);
    }

    #[test]
    fn nothing_comes_between_an_event_and_its_attachments() {
        let mut library = Library::default();
        let mark = library.mark(delivery(1));
        writes(&mut library, &["42[\"a\"] ", "452-[\"b\",{\"_placeholder\":true,\"num\":0}]"]);
        assert!(!library.is_past(mark));
        assert_eq!(library.next_delivery(&[0x82, 1, b'x']), None);
        assert!(!library.is_past(mark));
        assert_eq!(library.next_delivery(&[0x82, 1, b'x']), None);
        assert!(library.is_past(mark));
    }

    #[test]
    fn nothing_follows_the_end() {
        for end in [&[0x88, 2, 3, 232][..], &[0x81, 1, b'1']] {
            let mut library = Library::default();
            let mark = library.mark(delivery(1));
            writes(&mut library, &["42[\"a\"] "]);
            assert!(library.is_past(mark));
            assert_eq!(library.next_delivery(end), None);
            assert!(!library.is_past(mark));
        }
    }
}
