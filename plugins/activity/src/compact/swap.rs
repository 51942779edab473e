//! Putting a directory with the same rows in the place of a closed hour's.
//!
//! HDFS cannot swap two directories in one step: the old one is renamed into staging, then the new one out of it.
//! Neither rename overwrites. Between the two the table has no such directory, which a fresh listing may miss; it never
//! has both.
//!
//! Any of these calls may fail, be carried out long after, or be made by a process that was stopped for an hour, while
//! `greyhound tables repair` did its work for it. What holds nevertheless:
//! - A directory in staging is *complete* where it has a `_SUCCESS`, which is written last, and all files that it
//!   names. The rows of a closed hour never change, so all complete directories of one hour are worth the same.
//! - Where the table has no complete directory of an hour and staging has one, that one is renamed into place. Who
//!   finds that what it was to rename is gone does the same: it moves back what it took.
//! - A directory in staging is deleted only by who has seen it there, and after that a complete one in the table. No
//!   name in staging is ever used again: what a rename that comes late takes out of the table is not what is being
//!   deleted.
//!
//! Into an hour with `_SUCCESS` no file is committed. A committer writes its file into staging, looks ([`is_closed`]),
//! and renames the file. Before and after the two renames everything that is on its way out of staging is removed, so
//! that a committer that was stopped after its look finds that its file is gone: an old file does not come back beside
//! compacted ones. (What nothing in HDFS excludes: a process on a copy of the data directory that creates the missing
//! directory between the two renames, with nothing in it. It is then set apart, like any directory that is not
//! complete.)

use super::marks::marked;
use crate::commit::directory;
use crate::hours::{SUCCESS, Success};
use crate::roll::Hour;
use crate::store::staging::{begun, now};
use crate::store::{Passing, Published, Staging, Store, StoreError, Trouble};
use greyhound_sdk::Shard;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The hours from 1970 to the year 10000: a name with another one is not ours.
const HOURS_OF_TIME: i64 = 8030 * 365 * 24;
/// What the name of a directory ends in that is to be in the table.
const NEW: &str = ".new";
/// ... and that was in it.
const OLD: &str = ".old";

/// Swaps the directories of one shard in one table.
pub struct Swaps {
    store: Arc<dyn Store>,
    staging: Staging,
    topic: String,
    shard: Shard,
}

/// A directory in staging.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spare {
    /// First those that are to be in the table.
    was_in_table: bool,
    name: String,
}

/// Something that was put in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The hour's directory was missing, or not complete, and now is there.
    Restored(String),
    /// This was left behind, and is removed.
    Removed(String),
    /// The hour's directory is missing or not complete, and staging has no complete one either.
    Incomplete(String),
    /// The store refuses to have this put in order: why, and what to do.
    Obstructed(String),
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(path) => write!(f, "put back {path}"),
            Self::Removed(path) => write!(f, "removed {path}"),
            Self::Incomplete(path) => {
                write!(f, "{path} is not complete, and there is no other copy of it: see `greyhound tables verify`")
            }
            Self::Obstructed(why) => f.write_str(why),
        }
    }
}

impl Swaps {
    /// The swaps of `shard`'s directories in `topic`'s table.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topic: &str, shard: Shard) -> Self {
        let staging = Staging::new(store.clone(), topic, &shard);
        Self { store, staging, topic: topic.to_owned(), shard }
    }

    /// The path of a new directory, to be filled, that is to be the hour's.
    pub fn replacement(&mut self, hour: Hour) -> String {
        self.name(hour, NEW)
    }

    /// Puts a complete `replacement` in the place of the hour's directory. After an error: [`Swaps::settle`].
    ///
    /// # Errors
    /// Where the store cannot.
    pub async fn swap(&mut self, hour: Hour, replacement: &str) -> Result<(), StoreError> {
        if complete(self.store.as_ref(), replacement).await?.is_none() {
            return Err(lost().at("rename", replacement));
        }
        self.staging.tidy().await?;
        let aside = self.name(hour, OLD);
        self.store.publish(&self.place(hour), &aside).await?;
        self.settle(Duration::ZERO).await.map(|_| ())
    }

    /// Puts in order what attempts left behind: what the table lacks at once, the rest of attempts that began `age`
    /// ago. An hour that something is in the way of does not hold up the others.
    ///
    /// # Errors
    /// Where the store cannot: then it must be done again.
    pub async fn settle(&mut self, age: Duration) -> Result<Vec<Settled>, StoreError> {
        let mut done = Vec::new();
        for (hour, spares) in spares(&self.staging.names().await?) {
            match self.settle_hour(hour, spares, age, &mut done).await {
                Err(e) if e.is_obstacle() => done.push(Settled::Obstructed(e.to_string())),
                other => other?,
            }
        }
        Ok(done)
    }

    async fn settle_hour(
        &mut self,
        hour: Hour,
        spares: Vec<Spare>,
        age: Duration,
        done: &mut Vec<Settled>,
    ) -> Result<(), StoreError> {
        let place = self.place(hour);
        if complete(self.store.as_ref(), &place).await?.is_none() {
            match self.restore(hour, &spares).await? {
                true => done.push(Settled::Restored(place)),
                false => {
                    done.push(Settled::Incomplete(place));
                    return Ok(());
                }
            }
        }
        let due: Vec<_> = spares.into_iter().filter(|spare| is_older(&spare.name, age)).collect();
        if !due.is_empty() {
            self.staging.tidy().await?;
        }
        for Spare { name, .. } in due {
            let spare = format!("{}/{name}", self.staging.directory());
            self.store.remove_tree(&spare).await?;
            done.push(Settled::Removed(spare));
        }
        Ok(())
    }

    /// Removes what there is of hours before `hour`, whose directories are removed as well.
    ///
    /// # Errors
    /// Where the store cannot.
    pub async fn forget_before(&mut self, hour: Hour) -> Result<(), StoreError> {
        let names = self.staging.names().await?;
        for Spare { name, .. } in spares(&names).into_iter().filter(|(at, _)| *at < hour).flat_map(|(_, all)| all) {
            self.store.remove_tree(&format!("{}/{name}", self.staging.directory())).await?;
        }
        for name in names.iter().filter(|name| marked(name).is_some_and(|at| at < hour)) {
            self.store.remove(&format!("{}/{name}", self.staging.directory())).await?;
        }
        Ok(())
    }

    /// Puts a complete one in the place of the hour's directory; whether there was one.
    async fn restore(&mut self, hour: Hour, spares: &[Spare]) -> Result<bool, StoreError> {
        let place = self.place(hour);
        for Spare { name, .. } in spares {
            let spare = format!("{}/{name}", self.staging.directory());
            if complete(self.store.as_ref(), &spare).await?.is_none() {
                continue;
            }
            if self.store.publish(&spare, &place).await? == Published::Exists {
                // A directory that somebody has made meanwhile, or one that is not complete.
                if complete(self.store.as_ref(), &place).await?.is_none() {
                    let aside = self.name(hour, OLD);
                    self.store.publish(&place, &aside).await?;
                    self.store.publish(&spare, &place).await?;
                }
            }
            return match complete(self.store.as_ref(), &place).await? {
                Some(_) => Ok(true),
                None => Err(lost().at("rename to", place)),
            };
        }
        Ok(false)
    }

    fn place(&self, hour: Hour) -> String {
        directory(&self.topic, hour, &self.shard)
    }

    /// A path in staging that nobody else ever has.
    fn name(&mut self, hour: Hour, end: &str) -> String {
        self.staging.name(&format!(".{}{end}", hour.0))
    }
}

/// The content of `_SUCCESS` in a directory that has all the files that it names. A file in its place is none.
///
/// # Errors
/// Where the store cannot tell.
pub(crate) async fn complete(store: &dyn Store, directory: &str) -> Result<Option<Success>, StoreError> {
    let success = match Success::read(store, directory).await {
        Err(e) if e.is_obstacle() => None,
        read => read?,
    };
    let Some(success) = success else { return Ok(None) };
    let names = store.list(directory).await?;
    let has_all = success.names().all(|name| names.binary_search(&name).is_ok());
    Ok(has_all.then_some(success))
}

/// Whether an hour, whose directory is `place`, is closed. Also in the midst of a swap this is never `false`.
///
/// # Errors
/// Where the store cannot tell, or the directory is missing in the midst of a swap.
pub(crate) async fn is_closed(store: &dyn Store, staging: &str, place: &str, hour: Hour) -> Result<bool, StoreError> {
    if store.exists(&format!("{place}/{SUCCESS}")).await? {
        return Ok(true);
    }
    match spares(&store.list(staging).await?).contains_key(&hour) {
        true => Err(Trouble::passing(Passing::Other, "the hour is closed, and its directory is being swapped")
            .at("write to", place)),
        false => Ok(false),
    }
}

/// The hours that have directories in staging.
pub(crate) fn hours_in(names: &[String]) -> impl Iterator<Item = (Hour, Vec<String>)> {
    spares(names).into_iter().map(|(hour, spares)| (hour, spares.into_iter().map(|spare| spare.name).collect()))
}

/// The directories among the names in staging, by hour, first those that are to be in the table.
fn spares(names: &[String]) -> BTreeMap<Hour, Vec<Spare>> {
    let mut spares: BTreeMap<Hour, Vec<Spare>> = BTreeMap::new();
    for name in names {
        let was_in_table = name.ends_with(OLD);
        let hour = name
            .strip_suffix(OLD)
            .or_else(|| name.strip_suffix(NEW))
            .and_then(|rest| rest.rsplit_once('.')?.1.parse().ok());
        if let Some(hour) = hour.filter(|hour| (0..HOURS_OF_TIME).contains(hour)) {
            spares.entry(Hour(hour)).or_default().push(Spare { was_in_table, name: name.clone() });
        }
    }
    spares.values_mut().for_each(|all| all.sort());
    spares
}

/// Whether an attempt began `age` ago.
pub(crate) fn is_older(name: &str, age: Duration) -> bool {
    begun(name).is_none_or(|begun| begun + age.as_secs() <= now())
}

fn lost() -> Trouble {
    Trouble::passing(Passing::Other, "it is not there, or not complete: somebody else is at it")
}
