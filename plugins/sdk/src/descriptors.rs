//! The file descriptors that the process may have open: connections, files and directories share them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the journal, the tables, Redis and the admin listener, whatever clients do: a quarter of the limit, and at
/// most this.
const RESERVE: u64 = 4096;

/// Raises the soft limit to the hard one, and returns what it is then. The host calls it at start.
pub fn raise() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A system that refuses leaves the limit as it was.
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    limit()
}

/// How many descriptors the process may have open.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many of them connections of clients may take, so that what the program needs itself is left.
#[must_use]
pub fn for_clients() -> u64 {
    limit() - reserve()
}

/// How many of them connections to the admin listener may take: half of what is kept from clients.
#[must_use]
pub fn for_admin() -> u64 {
    reserve() / 2
}

fn reserve() -> u64 {
    RESERVE.min(limit() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one_and_a_part_is_kept_from_clients() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum }).unwrap();
        assert_eq!((limit(), for_clients(), for_admin()), (200, 150, 25));
        assert_eq!(raise(), maximum.unwrap_or(u64::MAX));
        assert_eq!(for_clients(), limit() - 4096.min(limit() / 4));
    }
}
