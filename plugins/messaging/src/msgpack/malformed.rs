//! Errors in bodies.

/// Limits the nesting, because the stack is finite.
pub(super) const DEPTH_MAX: usize = 512;

/// Limits the binary values, because each is a frame of its own to every client. socket.io's parsers limit clients'
/// binary values too.
pub(super) const ATTACHMENTS_MAX: usize = 10_000;

/// What is wrong with a body, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{needed} bytes are needed at byte {at}, but only {left} are left")]
    Truncated { at: usize, needed: usize, left: usize },
    #[error("byte {at} is {marker:#04x}, which begins no value")]
    Marker { at: usize, marker: u8 },
    #[error("the map key at byte {at} is not a text, binary value, number, boolean or nil")]
    Key { at: usize },
    #[error("the value at byte {at} is nested deeper than {DEPTH_MAX} levels")]
    Deep { at: usize },
    #[error("the binary value at byte {at} is one too many: at most {ATTACHMENTS_MAX} are allowed")]
    Attachments { at: usize },
    #[error("{left} bytes follow the value, from byte {at}")]
    Trailing { at: usize, left: usize },
}
