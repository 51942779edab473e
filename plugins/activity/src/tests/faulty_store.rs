//! A store in memory whose calls fail in every way that a distributed file system's do, by a seed.

use crate::store::{Failure, Published, Refusal, Store, StoreError, Transient};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is carried out, and says so.
    Done,
    /// It is not carried out, and says so: refused, unreachable, safe mode, quota.
    Failed,
    /// It is carried out; the answer is lost (a NameNode that is killed, a connection that breaks).
    Unheard,
    /// No answer within the limit, and it is carried out when others have been: what was asked of a NameNode that hung.
    Late,
    /// It is carried out in part: a file that was left open, shorter than it should be. Only of writes.
    Torn,
}

/// A change that the caller has given up on and that still comes.
#[derive(Debug, Clone)]
enum Change {
    Write(String, Bytes),
    Publish(String, String),
    Remove(String),
    RemoveTree(String),
}

/// Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub(super) struct FaultyStore(Arc<Mutex<State>>);

struct State {
    files: BTreeMap<String, Bytes>,
    /// Directories in which a file was written: they stay when it goes.
    directories: BTreeSet<String>,
    dice: Dice,
    /// Of a hundred calls, how many do not go well.
    mishaps: u64,
    calls: u64,
    /// At which call the caller is killed.
    kill_at: Option<u64>,
    killed: bool,
    /// Whether the calls of one who was killed fail, and change nothing, where they would never return.
    returns: bool,
    /// With the call before which they come.
    late: Vec<(u64, Change)>,
}

impl FaultyStore {
    pub(super) fn new(dice: Dice) -> Self {
        let state = State {
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            dice,
            mishaps: 0,
            calls: 0,
            kill_at: None,
            killed: false,
            returns: false,
            late: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on `mishaps` of a hundred calls do not go well, and the caller dies at its `kill_in`th call.
    pub(super) fn trouble(&self, mishaps: u64, kill_in: Option<u64>) {
        let mut state = self.0.lock();
        (state.mishaps, state.killed) = (mishaps, false);
        state.kill_at = kill_in.map(|n| state.calls + n);
    }

    /// For callers that block: calls of one who was killed fail.
    pub(super) fn returning(self) -> Self {
        self.0.lock().returns = true;
        self
    }

    /// Whether the caller was killed: the call does not return.
    pub(super) fn killed(&self) -> bool {
        self.0.lock().killed
    }

    /// Everything that may still come comes now.
    pub(super) fn settle(&self) {
        let mut state = self.0.lock();
        state.calls += 1 << 32;
        state.arrive();
    }

    pub(super) fn files(&self) -> BTreeMap<String, Bytes> {
        self.0.lock().files.clone()
    }

    /// Makes a change, or fails in the way that the dice say.
    async fn change(&self, change: Change) -> Result<Option<Published>, StoreError> {
        // Others may call in between.
        tokio::task::yield_now().await;
        let (fate, killed, done) = {
            let mut state = self.0.lock();
            let (fate, killed) = state.fate(&change);
            let done = match fate {
                Fate::Done | Fate::Unheard => state.apply(&change),
                Fate::Torn => state.tear(&change),
                Fate::Late => {
                    let due = state.calls + 1 + state.dice.below(12);
                    state.late.push((due, change.clone()));
                    Ok(None)
                }
                Fate::Failed => Ok(None),
            };
            (fate, killed, done)
        };
        self.answer(fate, killed).await?;
        done.map_err(|failure| failure.at("change", format!("{change:?}")))
    }

    async fn look<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        let (fate, killed, found) = {
            let mut state = self.0.lock();
            let (fate, killed) = state.fate(&Change::Remove(String::new()));
            (fate, killed, read(&state))
        };
        self.answer(fate, killed).await?;
        Ok(found)
    }

    /// What the caller hears.
    async fn answer(&self, fate: Fate, killed: bool) -> Result<(), StoreError> {
        if killed && !self.0.lock().returns {
            std::future::pending::<()>().await;
        }
        let failure = match fate {
            Fate::Done => return Ok(()),
            Fate::Failed => Failure::refused(Refusal::Quota, "the quota is used up"),
            Fate::Late => Failure::transient(Transient::Timeout, "no answer"),
            Fate::Unheard | Fate::Torn => Failure::transient(Transient::Unreachable, "the connection broke"),
        };
        Err(failure.at("call", "somewhere"))
    }
}

impl State {
    /// What becomes of the next call, and whether the caller dies in it.
    fn fate(&mut self, change: &Change) -> (Fate, bool) {
        self.calls += 1;
        self.arrive();
        if self.killed && self.returns {
            return (Fate::Failed, true);
        }
        self.killed |= self.kill_at == Some(self.calls);
        if !self.killed && self.dice.below(100) >= self.mishaps {
            return (Fate::Done, false);
        }
        let fates = [Fate::Failed, Fate::Unheard, Fate::Late, Fate::Torn];
        let kinds = if matches!(change, Change::Write(..)) { 4 } else { 3 };
        (fates[self.dice.below(kinds) as usize], self.killed)
    }

    /// What is due comes.
    fn arrive(&mut self) {
        let calls = self.calls;
        let due: Vec<_> = self.late.extract_if(.., |(at, _)| *at <= calls).collect();
        for (_, change) in due {
            let _ = self.apply(&change);
        }
    }

    fn apply(&mut self, change: &Change) -> Result<Option<Published>, Failure> {
        match change {
            Change::Write(path, bytes) => self.put(path, bytes.clone()),
            Change::Remove(path) => drop(self.files.remove(path)),
            Change::RemoveTree(path) => {
                self.files.retain(|file, _| !is_in(file, path));
                self.directories.retain(|directory| directory != path && !is_in(directory, path));
            }
            Change::Publish(_, to) if self.has(to) => return Ok(Some(Published::Exists)),
            Change::Publish(from, _) if !self.has(from) => {
                return Err(Failure::transient(Transient::Other, "no such file"));
            }
            Change::Publish(from, to) => {
                let moved: Vec<_> = self.files.extract_if(.., |file, _| file == from || is_in(file, from)).collect();
                self.files
                    .extend(moved.into_iter().map(|(file, bytes)| (format!("{to}{}", &file[from.len()..]), bytes)));
                return Ok(Some(Published::Done));
            }
        }
        Ok(None)
    }

    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.files.keys().any(|file| is_in(file, path))
    }

    fn put(&mut self, path: &str, bytes: Bytes) {
        self.directories.extend(path.rsplit_once('/').map(|(directory, _)| directory.to_owned()));
        self.files.insert(path.to_owned(), bytes);
    }

    fn tear(&mut self, change: &Change) -> Result<Option<Published>, Failure> {
        if let Change::Write(path, bytes) = change {
            let part = self.dice.below(bytes.len() as u64) as usize;
            self.put(path, bytes.slice(..part));
        }
        Ok(None)
    }
}

fn is_in(file: &str, directory: &str) -> bool {
    file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[async_trait]
impl Store for FaultyStore {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.change(Change::Write(path.into(), bytes)).await.map(|_| ())
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, StoreError> {
        Ok(self.change(Change::Publish(from.into(), to.into())).await?.expect("a rename that was carried out"))
    }

    async fn read_tail(&self, path: &str, max: usize) -> Result<Option<(Bytes, u64)>, StoreError> {
        let tail = |bytes: &Bytes| (bytes.slice(bytes.len().saturating_sub(max)..), bytes.len() as u64);
        self.look(|state| state.files.get(path).map(tail)).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let bytes = self.look(|state| state.files.get(path).filter(|it| it.len() as u64 >= range.end).cloned()).await?;
        let bytes = bytes
            .ok_or_else(|| Failure::transient(Transient::Other, "no such file, or a shorter one").at("read", path))?;
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.look(|state| state.directories.contains(path) || state.has(path)).await
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let name = |file: &String| Some(file.strip_prefix(&below)?.split('/').next()?.to_owned());
        let mut names = self.look(|state| state.files.keys().filter_map(name).collect::<Vec<_>>()).await?;
        names.dedup();
        Ok(names)
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.change(Change::Remove(path.into())).await.map(|_| ())
    }

    async fn remove_tree(&self, path: &str) -> Result<(), StoreError> {
        self.change(Change::RemoveTree(path.into())).await.map(|_| ())
    }
}
