//! Limits the part of the queue that clients may use, so that neither one client nor all clients together starve the
//! rest.

use greyhound_sdk::Share;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// One client may use an eighth of the queue.
const CLIENT_DIVISOR: usize = 8;
/// All anonymous clients together may use a quarter of the queue.
const ANONYMOUS_DIVISOR: usize = 4;
/// All clients together may use half of the queue.
const ALL_CLIENTS_DIVISOR: usize = 2;

/// A client that rows are charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    id: u64,
    is_anonymous: bool,
}

/// Hashes the identities of clients.
#[derive(Default)]
pub(super) struct Clients(RandomState);

impl Clients {
    /// Returns the client of a share, or `None` for the program itself.
    pub(super) fn of(&self, share: Share<'_>) -> Option<Client> {
        match share {
            Share::Program => None,
            Share::Anonymous(address) => Some(Client { id: self.0.hash_one((true, address)), is_anonymous: true }),
            Share::User(user) => Some(Client { id: self.0.hash_one((false, user)), is_anonymous: false }),
        }
    }
}

/// The bytes that clients use in the queue.
#[derive(Default)]
pub(super) struct Shares {
    queued: Tally,
    /// Being written by the writer thread.
    taken: Tally,
}

#[derive(Default)]
struct Tally {
    all: usize,
    anonymous: usize,
    /// By client, for clients with rows in the queue.
    by_client: HashMap<u64, usize>,
}

impl Shares {
    /// Whether the client may add a row to a queue of `limit` bytes. As with the whole queue, the size of that row does
    /// not matter.
    pub(super) fn admit(&self, client: Option<Client>, limit: usize) -> bool {
        let Some(client) = client else { return true };
        let used = |of: fn(&Tally) -> usize| of(&self.queued) + of(&self.taken);
        let tallies = [&self.queued, &self.taken].into_iter();
        let by_client = tallies.filter_map(|tally| tally.by_client.get(&client.id)).sum::<usize>();
        by_client < limit / CLIENT_DIVISOR
            && used(|tally| tally.all) < limit / ALL_CLIENTS_DIVISOR
            && (!client.is_anonymous || used(|tally| tally.anonymous) < limit / ANONYMOUS_DIVISOR)
    }

    /// Charges a row to a client.
    pub(super) fn charge(&mut self, client: Option<Client>, bytes: usize) {
        let Some(client) = client else { return };
        self.queued.all += bytes;
        self.queued.anonymous += if client.is_anonymous { bytes } else { 0 };
        *self.queued.by_client.entry(client.id).or_default() += bytes;
    }

    /// The writer thread takes everything that is queued.
    pub(super) fn take(&mut self) {
        let Tally { all, anonymous, by_client } = std::mem::take(&mut self.queued);
        self.taken.all += all;
        self.taken.anonymous += anonymous;
        if self.taken.by_client.is_empty() {
            self.taken.by_client = by_client;
        } else {
            for (client, bytes) in by_client {
                *self.taken.by_client.entry(client).or_default() += bytes;
            }
        }
    }

    /// The rows that the writer thread took are no longer in memory.
    pub(super) fn release(&mut self) {
        self.taken = Tally::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 800;

    /// Adds rows of 10 bytes until one is refused; returns how many were accepted.
    fn fill(shares: &mut Shares, clients: &Clients, share: Share<'_>) -> usize {
        let client = clients.of(share);
        let add = |shares: &mut Shares| shares.admit(client, LIMIT).then(|| shares.charge(client, 10));
        std::iter::from_fn(|| add(shares)).take(1000).count()
    }

    #[test]
    fn each_client_all_anonymous_clients_and_the_program_have_their_limits() {
        let (mut shares, clients) = (Shares::default(), Clients::default());
        assert_eq!(
            ["1.1.1.1", "1.1.1.1", "2.2.2.2", "3.3.3.3"].map(|it| fill(&mut shares, &clients, Share::Anonymous(it))),
            [10, 0, 10, 0]
        );
        assert_eq!(["1", "1", "2", "3"].map(|it| fill(&mut shares, &clients, Share::User(it))), [10, 0, 10, 0]);
        assert_eq!(fill(&mut shares, &clients, Share::Program), 1000);
        shares.take();
        assert_eq!(fill(&mut shares, &clients, Share::User("1")), 0, "the writer thread still has the rows");
        shares.release();
        assert_eq!(fill(&mut shares, &clients, Share::User("1")), 10);
        assert_eq!(fill(&mut shares, &clients, Share::Anonymous("1")), 10, "a user's name is not an address");
    }

    #[test]
    fn a_row_larger_than_its_share_is_accepted_alone() {
        let (mut shares, clients) = (Shares::default(), Clients::default());
        let user = clients.of(Share::User("1"));
        assert!(shares.admit(user, LIMIT));
        shares.charge(user, 5 * LIMIT);
        assert!(!shares.admit(user, LIMIT) && !shares.admit(clients.of(Share::User("2")), LIMIT));
        shares.take();
        shares.release();
        assert!(shares.admit(user, LIMIT));
    }
}
