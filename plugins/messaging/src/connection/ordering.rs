//! The order of events if some of them go through the library.
//!
//! Most events are written to a client's connection directly, because the library has a queue, a task and a copy of each
//! message for each client. Events that clients acknowledge, and the first event to a socket, go through the library. No
//! event may overtake another: an event that goes through the library ends with a mark, and no later event is written
//! directly before the library has written that mark. (Acknowledgements of pushes are not ordered with the events.)

use super::frame::first_frame;
use super::queued::QueuedDelivery;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// The end of an event that goes through the library: a space, which clients ignore and no other event ends with.
pub(crate) const MARK: char = ' ';

/// The number of a socket's last mark: 0 if it has none, or if a later event has no mark.
#[derive(Default)]
pub(crate) struct LastMark(AtomicU64);

/// The result of handing an event to the library.
pub(crate) enum Handover {
    /// Queued, with a mark at its end.
    Marked,
    /// Queued without a mark: later events to the same socket go through the library until it has written a later
    /// mark.
    Unmarked,
    /// The library's queue is full.
    Refused,
}

/// The result of offering a frame to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The frame is queued.
    Queued,
    /// The frame is not queued: the queue is full, or the connection is closing.
    Full,
    /// The event must go through the library so that it does not overtake an earlier one.
    ViaLibrary,
}

/// Which events of a connection the library has taken and written.
#[derive(Default)]
pub(super) struct LibraryOrder {
    /// Marks handed to the library.
    marks_sent: u64,
    /// Marks written by the library.
    marks_written: u64,
    /// Deliveries whose marks are not yet written.
    outstanding: VecDeque<QueuedDelivery>,
    /// Attachments that must follow immediately.
    attachments: usize,
    /// Nothing may be written any more.
    closing: bool,
}

impl LibraryOrder {
    /// An event to the socket whose last mark is `last` was handed to the library.
    pub(super) fn handed_over(&mut self, last: &LastMark, handover: Handover, delivery: QueuedDelivery) {
        match handover {
            Handover::Marked => last.0.store(self.mark(delivery), Relaxed),
            Handover::Unmarked => last.0.store(0, Relaxed),
            Handover::Refused => {}
        }
    }

    /// Whether an event to the socket whose last mark is `last` may be written directly: no earlier event to it is
    /// still in the library's queue.
    pub(super) fn allows_direct(&self, last: &LastMark) -> bool {
        self.is_written(last.0.load(Relaxed))
    }

    fn mark(&mut self, delivery: QueuedDelivery) -> u64 {
        self.marks_sent += 1;
        self.outstanding.push_back(delivery);
        self.marks_sent
    }

    fn is_written(&self, mark: u64) -> bool {
        mark != 0 && mark <= self.marks_written && self.attachments == 0 && !self.closing
    }

    /// The library writes `frames`. Returns the end of the first marked frame and its delivery, or `None` if no frame
    /// is marked.
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

    /// Takes the deliveries whose marks were not written.
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
                self.marks_written += 1;
                return true;
            }
            (BINARY, _) => self.attachments = self.attachments.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// The number at the beginning of a text.
fn number(text: &[u8]) -> usize {
    text.iter()
        .map_while(|c| char::from(*c).to_digit(10))
        .fold(0_usize, |n, digit| n.saturating_mul(10).saturating_add(digit as usize))
}

#[cfg(test)]
mod tests {
    use super::super::frame::text_frame;
    use super::*;

    /// Returns the messages of the written deliveries.
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
    fn an_event_is_written_when_its_mark_is_written() {
        let mut library = LibraryOrder::default();
        assert!(!library.is_written(0));
        let (first, second) = (library.mark(delivery(1)), library.mark(delivery(2)));
        assert_eq!(writes(&mut library, &["0{}", "40{\"sid\":\"y\"}", "2", "42[\"a\"] "]), [1]);
        assert!(library.is_written(first) && !library.is_written(second) && !library.is_written(0));
        assert_eq!(writes(&mut library, &["43[\"b \"]", "42/n,[\"c\"] "]), [2]);
        assert!(library.is_written(second));
    }

    #[test]
    fn unwritten_deliveries_are_outstanding() {
        let mut library = LibraryOrder::default();
        let marks = [1, 2, 3].map(|message| library.mark(delivery(message)));
        assert_eq!(marks, [1, 2, 3]);
        assert_eq!(writes(&mut library, &["42[\"a\"] "]), [1]);
        assert_eq!(library.take_outstanding(), [delivery(2), delivery(3)]);
    }

    #[test]
    fn nothing_is_written_between_an_event_and_its_attachments() {
        let mut library = LibraryOrder::default();
        let mark = library.mark(delivery(1));
        writes(&mut library, &["42[\"a\"] ", "452-[\"b\",{\"_placeholder\":true,\"num\":0}]"]);
        assert!(!library.is_written(mark));
        assert_eq!(library.next_delivery(&[0x82, 1, b'x']), None);
        assert!(!library.is_written(mark));
        assert_eq!(library.next_delivery(&[0x82, 1, b'x']), None);
        assert!(library.is_written(mark));
    }

    #[test]
    fn nothing_is_written_after_the_close() {
        for end in [&[0x88, 2, 3, 232][..], &[0x81, 1, b'1']] {
            let mut library = LibraryOrder::default();
            let mark = library.mark(delivery(1));
            writes(&mut library, &["42[\"a\"] "]);
            assert!(library.is_written(mark));
            assert_eq!(library.next_delivery(end), None);
            assert!(!library.is_written(mark));
        }
    }
}
