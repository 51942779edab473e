//! `greyhound tables repair`: finishes what nobody is alive to finish.

use crate::compact::marks::marked;
use crate::compact::swap::{Settled, Swaps, is_older};
use crate::store::staging::{CHECK, STAGING, is_temporary};
use crate::store::{Store, StoreError, names_in};
use greyhound_sdk::Shard;
use std::sync::Arc;
use std::time::Duration;

/// Puts in order what attempts of any shard left behind, and tells each thing that it did: what the tables lack at
/// once, the rest of attempts that began `age` ago, which those who are alive do not need any more. What only an
/// operator can move out of the way is told, and the rest is done.
///
/// # Errors
/// Where the store cannot. What was told is done.
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
        .filter(|name| (is_temporary(name) || marked(name).is_some()) && is_older(name, age))
    {
        let path = format!("{directory}/{name}");
        let removed = store.remove(&path).await;
        or_told(removed.map(|()| Some(Settled::Removed(path))), tell)?.map(&mut *tell);
    }
    Ok(())
}

/// Nothing where the store refuses, which is told.
fn or_told<T: Default>(done: Result<T, StoreError>, tell: &mut impl FnMut(Settled)) -> Result<T, StoreError> {
    match done {
        Err(e) if e.is_refused() => {
            tell(Settled::Obstructed(e.to_string()));
            Ok(T::default())
        }
        other => other,
    }
}
