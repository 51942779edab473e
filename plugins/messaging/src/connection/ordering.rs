//! The order of events, some of which go through the library.
//!
//! Most events are written to a client's connection without the library, which has a queue, a task and a copy of each
//! message for each client. Events that clients acknowledge, and the first event to a socket, go through it. No event may
//! overtake another: an event that goes through the library ends with a mark, and nothing is written beside the library
//! before that mark has come out. (Acknowledgements of what clients push have no place among the events.)

use super::frame::first_frame;
use super::queued::QueuedDelivery;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// What an event ends with that goes through the library. White space after it: no client sees it, and no event of ours
/// ends so by itself.
pub(crate) const MARK: char = ' ';

/// The number of the last mark of a socket: 0 if it has none, or if an event without a mark came later.
#[derive(Default)]
pub(crate) struct LastMark(AtomicU64);

/// How an event went into the library's queue.
pub(crate) enum Passage {
    /// With a mark at its end.
    Marked,
    /// Without: later events to the same socket go through the library until a mark after this one has come out.
    Unmarked,
    /// There was no room.
    Refused,
}

/// What became of a frame that was offered to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits to be written.
    Queued,
    /// It does not: there is no room, or the connection is closing.
    Full,
    /// It must go through the library, so that it does not overtake an earlier event.
    ViaLibrary,
}

/// What is known of the library's side of a connection.
#[derive(Default)]
pub(super) struct LibraryOrder {
    /// Marks that went in.
    sent: u64,
    /// Marks that came out.
    seen: u64,
    /// What is marked and has not come out yet.
    outstanding: VecDeque<QueuedDelivery>,
    /// Attachments that are to follow at once.
    attachments: usize,
    /// Nothing may follow.
    closing: bool,
}

impl LibraryOrder {
    /// An event went into the library's queue for the socket whose last mark is `last`.
    pub(super) fn entered(&mut self, last: &LastMark, passage: Passage, delivery: QueuedDelivery) {
        match passage {
            Passage::Marked => last.0.store(self.mark(delivery), Relaxed),
            Passage::Unmarked => last.0.store(0, Relaxed),
            Passage::Refused => {}
        }
    }

    /// Whether an event to the socket whose last mark is `last` may be written beside the library: nothing that was
    /// sent to it before is still in the library's queue.
    pub(super) fn allows_direct(&self, last: &LastMark) -> bool {
        self.is_past(last.0.load(Relaxed))
    }

    fn mark(&mut self, delivery: QueuedDelivery) -> u64 {
        self.sent += 1;
        self.outstanding.push_back(delivery);
        self.sent
    }

    fn is_past(&self, mark: u64) -> bool {
        mark != 0 && mark <= self.seen && self.attachments == 0 && !self.closing
    }

    /// The library writes `frames`. Returns the first marked event and where its frame ends; none where there is none
    /// in them.
    pub(super) fn next_delivery(&mut self, frames: &[u8]) -> Option<(usize, QueuedDelivery)> {
        let mut all = frames;
        while let Some((opcode, payload, rest)) = first_frame(all) {
            if self.frame(opcode, payload) {
                let delivery = self.outstanding.pop_front().unwrap_or(QueuedDelivery::NONE);
                return Some((frames.len() - rest.len(), delivery));
            }
            all = rest;
        }
        None
    }

    /// What went in with a mark that did not come out.
    pub(super) fn take_outstanding(&mut self) -> VecDeque<QueuedDelivery> {
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
    fn writes(library: &mut LibraryOrder, texts: &[&str]) -> Vec<i64> {
        let frames: Vec<u8> = texts.iter().flat_map(|text| text_frame(&[text]).to_vec()).collect();
        let (mut rest, mut came_out) = (frames.as_slice(), Vec::new());
        while let Some((end, delivery)) = library.next_delivery(rest) {
            rest = &rest[end..];
            came_out.push(delivery.message_seq);
        }
        came_out
    }

    fn delivery(message: i64) -> QueuedDelivery {
        QueuedDelivery { message_seq: message, ..QueuedDelivery::NONE }
    }

    #[test]
    fn an_event_is_past_when_its_mark_has_come_out() {
        let mut library = LibraryOrder::default();
        assert!(!library.is_past(0));
        let (first, second) = (library.mark(delivery(1)), library.mark(delivery(2)));
        assert_eq!(writes(&mut library, &["0{}", "40{\"sid\":\"y\"}", "2", "42[\"a\"] "]), [1]);
        assert!(library.is_past(first) && !library.is_past(second) && !library.is_past(0));
        assert_eq!(writes(&mut library, &["43[\"b \"]", "42/n,[\"c\"] "]), [2]);
        assert!(library.is_past(second));
    }

    #[test]
    fn what_did_not_come_out_is_outstanding() {
        let mut library = LibraryOrder::default();
        let marks = [1, 2, 3].map(|message| library.mark(delivery(message)));
        assert_eq!(marks, [1, 2, 3]);
        assert_eq!(writes(&mut library, &["42[\"a\"] "]), [1]);
        assert_eq!(library.take_outstanding(), [delivery(2), delivery(3)]);
    }

    #[test]
    fn nothing_comes_between_an_event_and_its_attachments() {
        let mut library = LibraryOrder::default();
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
            let mut library = LibraryOrder::default();
            let mark = library.mark(delivery(1));
            writes(&mut library, &["42[\"a\"] "]);
            assert!(library.is_past(mark));
            assert_eq!(library.next_delivery(end), None);
            assert!(!library.is_past(mark));
        }
    }
}
