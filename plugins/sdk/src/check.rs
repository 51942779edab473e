//! Results of a plugin's checks of its dependencies.

/// One check of a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of the check, in a word or two, such as `writable`.
    pub name: &'static str,
    /// The result.
    pub verdict: Verdict,
}

/// The result of a [`Check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It works. The text says what was observed.
    Works(String),
    /// It fails. The text names the fault, the place and the remedy.
    Fails(String),
    /// It was not tried, because an earlier check fails.
    NotTried,
}
