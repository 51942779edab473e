//! Shares of the queue: what clients cause takes a part of it at most, so that neither one of them nor all together
//! starve the rest.

use greyhound_sdk::Share;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// One client, and all strangers together, may take this part of the queue ...
const ONE: usize = 8;
const STRANGERS: usize = 4;
/// ... and all clients together this.
const CLIENTS: usize = 2;

/// A client that rows are charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    id: u64,
    is_stranger: bool,
}

/// Whom rows are charged to.
#[derive(Default)]
pub(super) struct Clients(RandomState);

impl Clients {
    /// The client of a share; none of the program's own.
    pub(super) fn of(&self, share: Share<'_>) -> Option<Client> {
        match share {
            Share::Own => None,
            Share::Stranger(address) => Some(Client { id: self.0.hash_one((true, address)), is_stranger: true }),
            Share::User(user) => Some(Client { id: self.0.hash_one((false, user)), is_stranger: false }),
        }
    }
}

/// What clients have in the queue.
#[derive(Default)]
pub(super) struct Shares {
    queued: Tally,
    /// In the hands of the writer.
    taken: Tally,
}

#[derive(Default)]
struct Tally {
    clients: usize,
    strangers: usize,
    /// By client: those that have something in the queue.
    each: HashMap<u64, usize>,
}

impl Shares {
    /// Whether the client has something left of its shares of a queue of `limit` bytes. As for the whole queue, a row
    /// goes in whatever its size.
    pub(super) fn admit(&self, client: Option<Client>, limit: usize) -> bool {
        let Some(client) = client else { return true };
        let used = |of: fn(&Tally) -> usize| of(&self.queued) + of(&self.taken);
        let one = [&self.queued, &self.taken].into_iter().filter_map(|tally| tally.each.get(&client.id)).sum::<usize>();
        one < limit / ONE
            && used(|tally| tally.clients) < limit / CLIENTS
            && (!client.is_stranger || used(|tally| tally.strangers) < limit / STRANGERS)
    }

    /// Adds a row of a client.
    pub(super) fn charge(&mut self, client: Option<Client>, bytes: usize) {
        let Some(client) = client else { return };
        self.queued.clients += bytes;
        self.queued.strangers += if client.is_stranger { bytes } else { 0 };
        *self.queued.each.entry(client.id).or_default() += bytes;
    }

    /// The writer takes all that is queued.
    pub(super) fn take(&mut self) {
        let Tally { clients, strangers, each } = std::mem::take(&mut self.queued);
        self.taken.clients += clients;
        self.taken.strangers += strangers;
        match self.taken.each.is_empty() {
            true => self.taken.each = each,
            false => each.into_iter().for_each(|(client, bytes)| *self.taken.each.entry(client).or_default() += bytes),
        }
    }

    /// What the writer took is no longer in memory.
    pub(super) fn release(&mut self) {
        self.taken = Tally::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 800;

    /// How many rows of 10 bytes of `share` go in.
    fn fill(shares: &mut Shares, clients: &Clients, share: Share<'_>) -> usize {
        let client = clients.of(share);
        let add = |shares: &mut Shares| shares.admit(client, LIMIT).then(|| shares.charge(client, 10));
        std::iter::from_fn(|| add(shares)).take(1000).count()
    }

    #[test]
    fn a_client_takes_its_part_strangers_theirs_and_the_program_all() {
        let (mut shares, clients) = (Shares::default(), Clients::default());
        assert_eq!(
            ["1.1.1.1", "1.1.1.1", "2.2.2.2", "3.3.3.3"].map(|it| fill(&mut shares, &clients, Share::Stranger(it))),
            [10, 0, 10, 0]
        );
        assert_eq!(["1", "1", "2", "3"].map(|it| fill(&mut shares, &clients, Share::User(it))), [10, 0, 10, 0]);
        assert_eq!(fill(&mut shares, &clients, Share::Own), 1000);
        shares.take();
        assert_eq!(fill(&mut shares, &clients, Share::User("1")), 0, "the writer still has them");
        shares.release();
        assert_eq!(fill(&mut shares, &clients, Share::User("1")), 10);
        assert_eq!(fill(&mut shares, &clients, Share::Stranger("1")), 10, "a user's name is no address");
    }

    #[test]
    fn a_row_that_is_larger_than_its_share_goes_in_alone() {
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
