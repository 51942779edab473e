//! Replaces the directory of a closed hour with another one that has the same rows.
//!
//! HDFS cannot swap two directories in one step: the old directory is renamed into staging, then the new one out of it.
//! Neither rename overwrites. Between the two, the table has neither directory, and a fresh listing may miss the hour;
//! it never has both.
//!
//! Any of these calls may fail, take effect much later, or come from a process that was suspended for an hour while
//! `greyhound tables repair` finished its work. These invariants hold nevertheless:
//! - A directory in staging is *complete* if it has a `_SUCCESS`, which is written last, and all files that it lists.
//!   The rows of a closed hour never change, so all complete directories of an hour are equivalent.
//! - If the table has no complete directory of an hour and staging has one, that one is renamed into place. A process
//!   that finds the directory gone that it was about to rename does the same, and so moves back what it took.
//! - A process deletes a directory in staging only after it has seen it there, and then a complete one in the table.
//!   Names in staging are never reused, so a rename that takes effect late cannot move anything to a path that is being
//!   deleted.
//!
//! No file is committed into an hour with `_SUCCESS`. A committer writes its file into staging, checks ([`is_closed`]),
//! and renames the file. Before and after the two renames, all temporary files in staging are removed. A committer that
//! was suspended after its check then finds its file gone, so an old file cannot come back beside compacted ones. (HDFS
//! cannot exclude that a process on a copy of the data directory creates the missing directory, empty, between the two
//! renames. It is then moved aside like any incomplete directory.)

use super::attempts::attempted_hour;
use crate::layout::{Hour, directory};
use crate::store::staging::{begun, now};
use crate::store::{Failure, Published, Staging, Store, StoreError, Transient};
use crate::success::{SUCCESS, complete};
use greyhound_sdk::Shard;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The hours from 1970 to the year 10000; names with other hours are not Greyhound's.
const HOUR_MAX: i64 = 8030 * 365 * 24;
/// The suffix of a directory that is to be moved into the table.
const NEW: &str = ".new";
/// The suffix of a directory that was moved out of the table.
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
    /// Sorts those that were in the table last.
    was_in_table: bool,
    name: String,
}

/// A step of the clean-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The hour's directory was missing or incomplete, and was restored.
    Restored(String),
    /// This leftover was removed.
    Removed(String),
    /// The hour's directory is missing or incomplete, and staging has no complete one either.
    Incomplete(String),
    /// The store refuses this step: why, and what to do.
    Obstructed(String),
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(path) => write!(f, "restored {path}"),
            Self::Removed(path) => write!(f, "removed {path}"),
            Self::Incomplete(path) => {
                write!(f, "{path} is incomplete, and there is no other copy: see `greyhound tables verify`")
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

    /// The path for a new directory that is to become the hour's.
    pub fn replacement(&mut self, hour: Hour) -> String {
        self.name(hour, NEW)
    }

    /// Puts a complete `replacement` in the place of the hour's directory. After an error, call [`Swaps::settle`].
    ///
    /// # Errors
    /// If the store fails.
    pub async fn swap(&mut self, hour: Hour, replacement: &str) -> Result<(), StoreError> {
        if complete(self.store.as_ref(), replacement).await?.is_none() {
            return Err(lost().at("rename", replacement));
        }
        self.staging.tidy().await?;
        let aside = self.name(hour, OLD);
        self.store.publish(&self.place(hour), &aside).await?;
        self.settle(Duration::ZERO).await.map(|_| ())
    }

    /// Cleans up after attempts: restores missing directories at once, and removes leftovers of attempts that began
    /// more than `age` ago. An hour with an obstacle does not delay the others.
    ///
    /// # Errors
    /// If the store fails; then call it again.
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

    /// Removes everything in staging of hours before `hour`, whose directories were removed from the table.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn forget_before(&mut self, hour: Hour) -> Result<(), StoreError> {
        let names = self.staging.names().await?;
        for Spare { name, .. } in spares(&names).into_iter().filter(|(at, _)| *at < hour).flat_map(|(_, all)| all) {
            self.store.remove_tree(&format!("{}/{name}", self.staging.directory())).await?;
        }
        for name in names.iter().filter(|name| attempted_hour(name).is_some_and(|at| at < hour)) {
            self.store.remove(&format!("{}/{name}", self.staging.directory())).await?;
        }
        Ok(())
    }

    /// Moves a complete directory into the hour's place; whether there was one.
    async fn restore(&mut self, hour: Hour, spares: &[Spare]) -> Result<bool, StoreError> {
        let place = self.place(hour);
        for Spare { name, .. } in spares {
            let spare = format!("{}/{name}", self.staging.directory());
            if complete(self.store.as_ref(), &spare).await?.is_none() {
                continue;
            }
            if self.store.publish(&spare, &place).await? == Published::Exists {
                // A directory that somebody made in the meantime, or an incomplete one.
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

    /// A path in staging that is never used again.
    fn name(&mut self, hour: Hour, end: &str) -> String {
        self.staging.name(&format!(".{}{end}", hour.0))
    }
}

/// Whether the hour with the directory `place` is closed. This is never `false` during a swap.
///
/// # Errors
/// If the store cannot be read, or if the directory is missing because of a swap.
pub(crate) async fn is_closed(store: &dyn Store, staging: &str, place: &str, hour: Hour) -> Result<bool, StoreError> {
    if store.exists(&format!("{place}/{SUCCESS}")).await? {
        return Ok(true);
    }
    match spares(&store.list(staging).await?).contains_key(&hour) {
        true => Err(Failure::transient(Transient::Other, "the hour is closed, and its directory is being replaced")
            .at("write to", place)),
        false => Ok(false),
    }
}

/// The hours that have directories in staging.
pub(crate) fn hours_in(names: &[String]) -> impl Iterator<Item = (Hour, Vec<String>)> {
    spares(names).into_iter().map(|(hour, spares)| (hour, spares.into_iter().map(|spare| spare.name).collect()))
}

/// The directories among the names in staging, by hour; those that were in the table come last.
fn spares(names: &[String]) -> BTreeMap<Hour, Vec<Spare>> {
    let mut spares: BTreeMap<Hour, Vec<Spare>> = BTreeMap::new();
    for name in names {
        let was_in_table = name.ends_with(OLD);
        let hour = name
            .strip_suffix(OLD)
            .or_else(|| name.strip_suffix(NEW))
            .and_then(|rest| rest.rsplit_once('.')?.1.parse().ok());
        if let Some(hour) = hour.filter(|hour| (0..HOUR_MAX).contains(hour)) {
            spares.entry(Hour(hour)).or_default().push(Spare { was_in_table, name: name.clone() });
        }
    }
    spares.values_mut().for_each(|all| all.sort());
    spares
}

/// Whether an attempt began at least `age` ago.
pub(crate) fn is_older(name: &str, age: Duration) -> bool {
    begun(name).is_none_or(|begun| begun + age.as_secs() <= now())
}

fn lost() -> Failure {
    Failure::transient(Transient::Other, "it is missing or incomplete: another process is changing it")
}
