//! Revocations of tokens: which tokens are refused although they are genuine and have not expired.

mod keep;
mod subject;
mod table;

pub(crate) use keep::{Kept, look};
pub(crate) use subject::Mark;
pub use subject::{Revocation, Subject};
pub use table::Full;
pub(crate) use table::{Change, Marks, Revocations};
