//! `greyhound validate --connect`, on stores that are well and on stores that are not.

use crate::store::local::LocalStore;
use crate::store::{Probe, Published, Room, Status, Store, StoreError, check};
use async_trait::async_trait;
use bytes::Bytes;
use greyhound_sdk::config::ByteSize;
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::{Check, Verdict};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn local(root: impl AsRef<Path>) -> LocalStore {
    LocalStore::new(Arc::new(OsFileSystem), root.as_ref())
}

fn verdicts(checks: &[Check]) -> Vec<(&'static str, &'static str)> {
    let word = |check: &Check| match check.verdict {
        Verdict::Works(_) => "works",
        Verdict::Fails(_) => "fails",
        Verdict::NotTried => "not tried",
    };
    checks.iter().map(|check| (check.name, word(check))).collect()
}

fn why(checks: &[Check], name: &str) -> String {
    match &checks.iter().find(|check| check.name == name).unwrap().verdict {
        Verdict::Works(why) | Verdict::Fails(why) => why.clone(),
        Verdict::NotTried => String::new(),
    }
}

#[tokio::test]
async fn a_directory_is_found_well_and_left_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("data/tables");
    std::fs::create_dir(home.path().join("data")).unwrap();
    let checks = check::all(&local(&root), ByteSize::mib(1)).await;
    let names = ["reachable", "identity", "writable", "renamable", "room", "clock"];
    assert_eq!(verdicts(&checks), names.map(|name| (name, "works")), "{checks:?}");
    assert!(!root.exists(), "it was not there before");
    std::fs::create_dir_all(root.join("_staging")).unwrap();
    std::fs::write(root.join("_staging/of-somebody"), "x").unwrap();
    check::all(&local(&root), ByteSize::mib(1)).await;
    let left: Vec<_> =
        std::fs::read_dir(root.join("_staging")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["of-somebody"]);
}

#[tokio::test]
async fn what_comes_after_a_fault_is_not_tried() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("data"), "a file").unwrap();
    let checks = check::all(&local(home.path().join("data")), ByteSize::mib(1)).await;
    let reachable = why(&checks, "reachable");
    assert!(reachable.contains("data/_staging/check-"), "{reachable}");
    assert!(reachable.ends_with("move away what is in the place of Greyhound's files"), "{reachable}");
    assert!(verdicts(&checks)[1..].iter().all(|(_, word)| *word == "not tried"), "{checks:?}");
}

#[tokio::test]
async fn too_little_room_is_told_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let checks = check::all(&local(home.path()), ByteSize::pib(1)).await;
    let room = why(&checks, "room");
    assert!(
        room.starts_with("the disk leaves ") && room.contains("or set a smaller plugins.activity.file_size"),
        "{room}"
    );
    assert_eq!(verdicts(&checks).iter().filter(|(_, word)| *word == "fails").count(), 1);
}

#[tokio::test]
async fn a_rename_that_replaces_and_a_clock_that_is_late_are_found() {
    let home = tempfile::tempdir().unwrap();
    let checks = check::all(&Careless(local(home.path())), ByteSize::mib(1)).await;
    assert!(why(&checks, "renamable").contains("was replaced by a rename"), "{checks:?}");
    assert!(why(&checks, "clock").contains("behind this machine's"), "{checks:?}");
    assert!(why(&checks, "as configured").contains("the group is users"), "{checks:?}");
    assert_eq!(verdicts(&checks).iter().filter(|(_, word)| *word == "fails").count(), 3);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

/// A store whose renames replace, whose clock is late, and which gives files to a group of its own.
struct Careless(LocalStore);

#[async_trait]
impl Store for Careless {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.0.write(path, bytes).await
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError> {
        self.0.remove(to).await?;
        self.0.publish(from, to).await
    }

    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError> {
        self.0.read_tail(path, max).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.0.read(path, range).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.0.exists(path).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.0.list(path).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.0.remove(path).await
    }

    async fn remove_tree(&self, path: &str) -> Result<(), StoreError> {
        self.0.remove_tree(path).await
    }
}

#[async_trait]
impl Probe for Careless {
    fn shown(&self) -> String {
        self.0.shown()
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, StoreError> {
        let status = self.0.status(path).await?;
        Ok(status.map(|it| Status { modified: it.modified - Duration::from_secs(120), ..it }))
    }

    async fn remove_directory(&self, path: &str) -> Result<(), StoreError> {
        self.0.remove_directory(path).await
    }

    async fn room(&self, size: u64, sample: &str) -> Result<Room, StoreError> {
        self.0.room(size, sample).await
    }

    fn differences(&self, _: &Status, _: &Status) -> Option<Vec<String>> {
        Some(vec!["the group is users instead of analysts".into()])
    }
}
