//! `greyhound tables repair`: finishes what nobody is alive to finish.

use crate::compact::swap::{Settled, Swaps, is_older};
use crate::store::staging::{STAGING, is_temporary};
use crate::store::{Store, StoreError};
use greyhound_sdk::Shard;
use std::sync::Arc;
use std::time::Duration;

/// Puts in order what attempts of any shard left behind, and tells each thing that it did: what the tables lack at once,
/// the rest of attempts that began `age` ago, which those who are alive do not need any more.
///
/// # Errors
/// Where the store cannot. What was told is done.
pub async fn repair(store: Arc<dyn Store>, age: Duration, mut tell: impl FnMut(Settled)) -> Result<(), StoreError> {
    for name in store.list(STAGING).await? {
        let Ok(shard) = name.parse::<Shard>() else { continue };
        for topic in store.list(&format!("{STAGING}/{shard}")).await? {
            let mut swaps = Swaps::new(store.clone(), &topic, shard.clone());
            swaps.settle(age).await?.into_iter().for_each(&mut tell);
            let directory = format!("{STAGING}/{shard}/{topic}");
            for name in store.list(&directory).await?.into_iter().filter(|name| is_temporary(name) && is_older(name, age)) {
                store.remove(&format!("{directory}/{name}")).await?;
                tell(Settled::Removed(format!("{directory}/{name}")));
            }
        }
    }
    Ok(())
}
