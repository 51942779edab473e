//! `greyhound tables repair`: finishes compactions that decommissioned nodes left half-done.

use crate::compact::attempts::attempted_hour;
pub use crate::compact::swap::Settled;

use crate::compact::swap::{Swaps, is_older};
use crate::store::staging::{CHECK, STAGING, is_temporary};
use crate::store::{Store, StoreError, names_in};
use greyhound_sdk::Shard;
use std::sync::Arc;
use std::time::Duration;

/// Cleans up after the attempts of all shards and reports each step to `tell`: restores missing directories at once,
/// and removes leftovers of attempts that began more than `age` ago, which running nodes no longer need. Reports what
/// only an operator can move out of the way, and does the rest.
///
/// # Errors
/// If the store fails. All reported steps are done.
pub async fn repair(store: Arc<dyn Store>, age: Duration, mut tell: impl FnMut(Settled)) -> Result<(), StoreError> {
    for name in store.list(STAGING).await? {
        let path = format!("{STAGING}/{name}");
        if name.strip_prefix(CHECK).is_some_and(|rest| is_older(rest, age)) {
            let removed = store.remove_tree(&path).await;
            or_told(removed.map(|()| Some(Settled::Removed(path))), &mut tell)?.map(&mut tell);
        } else if let Ok(shard) = name.parse::<Shard>() {
            for topic in or_told(store.list(&path).await, &mut tell)? {
                table(&store, &shard, &topic, age, &mut tell).await?;
            }
        }
    }
    Ok(())
}

async fn table(
    store: &Arc<dyn Store>,
    shard: &Shard,
    topic: &str,
    age: Duration,
    tell: &mut impl FnMut(Settled),
) -> Result<(), StoreError> {
    let mut swaps = Swaps::new(store.clone(), topic, shard.clone());
    or_told(swaps.settle(age).await, tell)?.into_iter().for_each(&mut *tell);
    let directory = format!("{STAGING}/{shard}/{topic}");
    for name in names_in(store.as_ref(), &directory)
        .await?
        .into_iter()
        .filter(|name| (is_temporary(name) || attempted_hour(name).is_some()) && is_older(name, age))
    {
        let path = format!("{directory}/{name}");
        let removed = store.remove(&path).await;
        or_told(removed.map(|()| Some(Settled::Removed(path))), tell)?.map(&mut *tell);
    }
    Ok(())
}

/// The default if the store refuses, which is reported.
fn or_told<T: Default>(done: Result<T, StoreError>, tell: &mut impl FnMut(Settled)) -> Result<T, StoreError> {
    match done {
        Err(e) if e.is_refused() => {
            tell(Settled::Obstructed(e.to_string()));
            Ok(T::default())
        }
        other => other,
    }
}
