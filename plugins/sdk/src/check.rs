//! What a plugin finds when it tries what it depends on.

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What, in a word or two: `writable`.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a [`Check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It works: what was seen.
    Works(String),
    /// It does not: what is wrong, where, and what to do.
    Fails(String),
    /// It was pointless to try, because something before it fails.
    NotTried,
}
