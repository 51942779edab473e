//! The limit of open file descriptors, which connections, files and directories share.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Upper limit of the reserve for the journal, the tables, Redis and the admin listener. The reserve is a quarter of
/// the descriptor limit, but at most this.
const RESERVE_MAX: u64 = 4096;

/// Raises the soft limit to the hard limit and returns the new limit. The host calls it at start.
pub fn raise() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the system refuses, the limit stays as it was.
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    limit()
}

/// Returns how many descriptors the process may have open.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many descriptors client connections may use. The rest is reserved for the program itself.
#[must_use]
pub fn for_clients() -> u64 {
    limit() - reserve()
}

/// Returns how many descriptors connections to the admin listener may use: half of the reserve.
#[must_use]
pub fn for_admin() -> u64 {
    reserve() / 2
}

fn reserve() -> u64 {
    RESERVE_MAX.min(limit() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_and_a_part_is_reserved() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum }).unwrap();
        assert_eq!((limit(), for_clients(), for_admin()), (200, 150, 25));
        assert_eq!(raise(), maximum.unwrap_or(u64::MAX));
        assert_eq!(for_clients(), limit() - 4096.min(limit() / 4));
    }
}
