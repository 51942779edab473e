//! `greyhound tables repair`: finishes what nobody is alive to finish.

use crate::compact::swap::{Settled, Swaps, is_older};
use crate::store::staging::{CHECK, STAGING, is_temporary};
use crate::store::{Store, StoreError};
use greyhound_sdk::Shard;
use std::sync::Arc;
use std::time::Duration;

/// Puts in order what attempts of any shard left behind, and tells each thing that it did: what the tables lack at once,
/// the rest of attempts that began `age` ago, which those who are alive do not need any more.
///
/// # Errors
/// Where the store cannot. What was told is done.
pub async fn repair(store: Arc<dyn Store>, age: Duration, tell: impl FnMut(Settled)) -> Result<(), StoreError> {
    let mut repair = Repair { store, age, tell };
    for name in repair.list(STAGING).await? {
        let path = format!("{STAGING}/{name}");
        if let Ok(shard) = name.parse::<Shard>() {
            for topic in repair.list(&path).await? {
                repair.table(&topic, &shard).await?;
            }
        } else if name.strip_prefix(CHECK).is_some_and(|begun| is_older(begun, age)) {
            repair.remove(path, true).await?;
        }
    }
    Ok(())
}

struct Repair<T> {
    store: Arc<dyn Store>,
    age: Duration,
    tell: T,
}

impl<T: FnMut(Settled)> Repair<T> {
    /// What a shard left of a table.
    async fn table(&mut self, topic: &str, shard: &Shard) -> Result<(), StoreError> {
        let directory = format!("{STAGING}/{shard}/{topic}");
        let names = self.list(&directory).await?;
        if names.is_empty() {
            return Ok(());
        }
        let mut swaps = Swaps::new(self.store.clone(), topic, shard.clone());
        match swaps.settle(self.age).await {
            Err(e) if e.is_obstacle() => (self.tell)(Settled::Obstacle(e.path)),
            settled => settled?.into_iter().for_each(&mut self.tell),
        }
        let age = self.age;
        for name in names.into_iter().filter(|name| is_temporary(name) && is_older(name, age)) {
            self.remove(format!("{directory}/{name}"), false).await?;
        }
        Ok(())
    }

    /// Nothing, and told, where it is no directory.
    async fn list(&mut self, path: &str) -> Result<Vec<String>, StoreError> {
        match self.store.list(path).await {
            Err(e) if e.is_obstacle() => {
                (self.tell)(Settled::Obstacle(path.to_owned()));
                Ok(Vec::new())
            }
            listed => listed,
        }
    }

    async fn remove(&mut self, path: String, with_content: bool) -> Result<(), StoreError> {
        let removed = match with_content {
            true => self.store.remove_tree(&path).await,
            false => self.store.remove(&path).await,
        };
        match removed {
            Err(e) if e.is_obstacle() => (self.tell)(Settled::Obstacle(path)),
            removed => {
                removed?;
                (self.tell)(Settled::Removed(path));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::local::LocalStore;
    use greyhound_sdk::fs::OsFileSystem;
    use std::fs;

    #[tokio::test]
    async fn what_is_in_the_way_is_told_and_the_rest_is_done() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), home.path()));
        let young = crate::store::staging::now();
        let file = |path: String| {
            let path = home.path().join(STAGING).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        file("a-00000001".into());
        file("b-00000001/t".into());
        file("b-00000001/u/100-0-1.tmp/in the way".into());
        file("b-00000001/u/100-0-2.tmp".into());
        file(format!("b-00000001/u/{young}-0-3.tmp"));
        file("check-100-0/part/file".into());
        file(format!("check-{young}-0/file"));
        let mut told = Vec::new();
        repair(store.clone(), Duration::from_secs(3600), |settled| told.push(settled)).await.unwrap();
        let [obstacle, removed] = [Settled::Obstacle, Settled::Removed].map(|of| move |path: &str| of(format!("{STAGING}/{path}")));
        assert_eq!(
            told,
            [
                obstacle("a-00000001"),
                obstacle("b-00000001/t"),
                obstacle("b-00000001/u/100-0-1.tmp"),
                removed("b-00000001/u/100-0-2.tmp"),
                removed("check-100-0"),
            ]
        );
        assert_eq!(store.list(&format!("{STAGING}/b-00000001/u")).await.unwrap(), ["100-0-1.tmp".to_owned(), format!("{young}-0-3.tmp")]);
    }
}
