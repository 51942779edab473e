//! `greyhound validate --connect`: checks whether a store can be used.

use super::staging::{CHECK, STAGING, now};
use super::{Failure, Probe, Published, Refusal, Status, StoreError, Transient};
use bytes::Bytes;
use greyhound_sdk::config::ByteSize;
use greyhound_sdk::{Check, Verdict};
use std::time::{Duration, Instant, SystemTime};

const REACHABLE: &str = "reachable";
const IDENTITY: &str = "identity";
const WRITABLE: &str = "writable";
const RENAMABLE: &str = "renamable";
const ROOM: &str = "room";
const CLOCK: &str = "clock";
const CONFIGURED: &str = "as configured";
const TIDY: &str = "tidy";
/// All checks, in the order in which faults must be fixed.
const ALL: [&str; 7] = [REACHABLE, IDENTITY, WRITABLE, RENAMABLE, ROOM, CLOCK, CONFIGURED];

/// Rows are filed under the hour of this machine's clock, and people compare them with records of other machines.
/// Kerberos refuses clocks that are five minutes apart. Smaller differences may come from the network and the store.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);
/// About the number of files and directories that a busy node creates in a day.
const NAMES_LEFT_MIN: u64 = 1000;

/// Tries everything that the sink needs of a store, and checks its set-up for files of `file_size`. Leaves nothing
/// behind.
pub async fn all(store: &dyn Probe, file_size: ByteSize) -> Vec<Check> {
    let mut attempt = Attempt::new(store);
    // Checks after a fatal fault stay "not tried".
    let _ = attempt.run(file_size).await;
    attempt.tidy().await;
    attempt.checks
}

/// The checks of a store that cannot be opened.
#[must_use]
pub fn not_opened(why: &dyn std::error::Error) -> Vec<Check> {
    let verdict = |name| if name == REACHABLE { Verdict::Fails(why.to_string()) } else { Verdict::NotTried };
    ALL.map(|name| Check { name, verdict: verdict(name) }).into()
}

/// A fault that makes the remaining checks pointless.
struct Fatal;

struct Attempt<'a> {
    store: &'a dyn Probe,
    /// The directory of this attempt.
    directory: String,
    /// The directories that did not exist before, the innermost first.
    made: Vec<String>,
    checks: Vec<Check>,
}

impl<'a> Attempt<'a> {
    fn new(store: &'a dyn Probe) -> Self {
        let number = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let checks = ALL.map(|name| Check { name, verdict: Verdict::NotTried }).into();
        Self { store, directory: format!("{STAGING}/{CHECK}{}-{number:016x}", now()), made: Vec::new(), checks }
    }

    async fn run(&mut self, file_size: ByteSize) -> Result<(), Fatal> {
        self.reach().await?;
        let before = SystemTime::now();
        let file = self.write().await?;
        let after = SystemTime::now();
        self.report(IDENTITY, Ok(format!("writes as {}", file.owner)));
        let room = self.room(file_size).await;
        self.report(ROOM, room);
        let renamed = self.rename().await;
        self.report(RENAMABLE, renamed);
        self.report(CLOCK, compare_clocks(before, after, file.modified));
        self.compare_settings(&file).await;
        Ok(())
    }

    fn report(&mut self, name: &'static str, found: Result<String, String>) {
        let verdict = match found {
            Ok(seen) => Verdict::Works(seen),
            Err(wrong) => Verdict::Fails(wrong),
        };
        match self.checks.iter_mut().find(|it| it.name == name) {
            Some(check) => check.verdict = verdict,
            None => self.checks.push(Check { name, verdict }),
        }
    }

    /// Asks the store for the first time: which of the directories exist.
    async fn reach(&mut self) -> Result<(), Fatal> {
        let started = Instant::now();
        let mut asked = Ok(());
        for directory in [&self.directory, STAGING, ""] {
            match self.store.status(directory).await {
                Ok(None) => self.made.push(directory.to_owned()),
                Ok(Some(_)) => break,
                Err(e) => {
                    asked = Err(e);
                    break;
                }
            }
        }
        let answered = format!("{} answers after {} ms", self.store.shown(), started.elapsed().as_millis());
        match asked {
            Ok(()) => self.report(REACHABLE, Ok(answered)),
            Err(e) if refuses_us(&e) => {
                self.report(REACHABLE, Ok(answered));
                self.report(IDENTITY, Err(with_remedy(&e)));
                return Err(Fatal);
            }
            Err(e) => {
                self.report(REACHABLE, Err(with_remedy(&e)));
                return Err(Fatal);
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<Status, Fatal> {
        match self.write_and_read_back().await {
            Ok(file) => {
                self.report(WRITABLE, Ok(format!("a file in {} was written and read back", self.directory)));
                Ok(file)
            }
            Err(why) => {
                self.report(IDENTITY, Ok("was accepted".into()));
                self.report(WRITABLE, Err(why));
                Err(Fatal)
            }
        }
    }

    async fn write_and_read_back(&self) -> Result<Status, String> {
        let path = self.path("one");
        self.put("one").await?;
        self.expect("one", "one").await?;
        let status = self.store.status(&path).await.map_err(|e| with_remedy(&e))?;
        status.ok_or_else(|| format!("{path} was written but is not there: does somebody else clear the directory?"))
    }

    /// A rename must refuse to replace a file, whichever is older, and move the file if the new name is free.
    async fn rename(&self) -> Result<String, String> {
        self.put("two").await?;
        for (from, to) in [("one", "two"), ("two", "one")] {
            if self.publish(from, to).await? == Published::Done {
                return Err(format!(
                    "{} was replaced by a rename, which the store must refuse: two writers could overwrite each other's rows. \
                     Keep the tables in a file system that can rename without replacing",
                    self.path(to)
                ));
            }
        }
        self.expect("one", "one").await?;
        self.expect("two", "two").await?;
        if self.publish("one", "three").await? == Published::Exists {
            return Err(format!(
                "{} does not exist, but nothing can be renamed to it: look at the store's log",
                self.path("three")
            ));
        }
        self.expect("three", "one").await?;
        match self.store.status(&self.path("one")).await {
            Ok(None) => Ok("a rename moves a file, and does not replace an existing one".into()),
            Ok(Some(_)) => Err(format!("{} was renamed but is still there: look at the store's log", self.path("one"))),
            Err(e) => Err(with_remedy(&e)),
        }
    }

    async fn room(&self, file_size: ByteSize) -> Result<String, String> {
        let room = self.store.room(file_size.as_u64(), &self.path("one")).await.map_err(|e| with_remedy(&e))?;
        let needed = format!("a file of {file_size} takes {}", ByteSize::b(room.needed));
        let limit = &room.limit;
        match (room.free, room.names) {
            (Some(free), _) if free < room.needed => Err(format!(
                "{limit} leaves {}, and {needed}: raise it or make room below it, or set a smaller plugins.activity.file_size",
                ByteSize::b(free)
            )),
            (_, Some(names)) if names < NAMES_LEFT_MIN => Err(format!(
                "only {names} more files and directories may be created: raise the limit of names, or remove some"
            )),
            (Some(free), _) => Ok(format!("{limit} leaves {}; {needed}", ByteSize::b(free))),
            (None, _) => Ok(format!("no quota; {needed}")),
        }
    }

    async fn compare_settings(&mut self, file: &Status) {
        let found = match self.store.status(&self.directory).await {
            Ok(Some(directory)) => self.store.differences(file, &directory),
            Ok(None) => Some(vec![format!("{} is gone", self.directory)]),
            Err(e) => Some(vec![with_remedy(&e)]),
        };
        match found {
            None => self.checks.retain(|it| it.name != CONFIGURED),
            Some(none) if none.is_empty() => {
                let seen = format!("files {:03o}, group {}, {} copies", file.permission, file.group, file.replication);
                self.report(CONFIGURED, Ok(seen));
            }
            Some(differences) => {
                let remedy = "see what HDFS enforces (ACLs, limits of replication), or adapt the configuration";
                self.report(CONFIGURED, Err(format!("in {}, {}: {remedy}", self.directory, differences.join(", "))));
            }
        }
    }

    /// Removes the files and directories of this attempt, even after a failure.
    async fn tidy(&mut self) {
        if self.checks.iter().any(|it| it.name == WRITABLE && it.verdict == Verdict::NotTried) {
            return;
        }
        let Err(e) = self.remove_all().await else { return };
        if !matches!(self.store.status(&self.directory).await, Ok(None)) {
            self.report(
                TIDY,
                Err(format!("{} may be left behind; you can remove it: {}", self.directory, with_remedy(&e))),
            );
        }
    }

    async fn remove_all(&self) -> Result<(), StoreError> {
        for name in ["one", "two", "three"] {
            self.store.remove(&self.path(name)).await?;
        }
        for directory in &self.made {
            // In the meantime, the sink may use it.
            if self.store.list(directory).await?.is_empty() {
                self.store.remove_directory(directory).await?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    /// Writes a file that contains its name.
    async fn put(&self, name: &str) -> Result<(), String> {
        self.store.write(&self.path(name), Bytes::from(name.to_owned())).await.map_err(|e| with_remedy(&e))
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, String> {
        self.store.publish(&self.path(from), &self.path(to)).await.map_err(|e| with_remedy(&e))
    }

    async fn expect(&self, name: &str, content: &str) -> Result<(), String> {
        let path = self.path(name);
        match self.store.read_tail(&path, content.len()).await.map_err(|e| with_remedy(&e))? {
            Some((bytes, length)) if bytes == content && length == content.len() as u64 => Ok(()),
            _ => Err(format!("{path} does not contain what was written: do not use this store before it is repaired")),
        }
    }
}

/// Whether the store's first answer is that it refuses Greyhound.
fn refuses_us(error: &StoreError) -> bool {
    matches!(
        error.failure,
        Failure::Refused { cause: Refusal::Identity, .. } | Failure::Transient { cause: Transient::HungUp, .. }
    )
}

/// An error with its remedy, which refusals name themselves.
fn with_remedy(error: &StoreError) -> String {
    let remedy = match &error.failure {
        Failure::Refused { .. } => return error.to_string(),
        Failure::Transient { cause: Transient::Timeout, .. } => {
            "something there hangs: check the store and the network"
        }
        Failure::Transient { cause: Transient::Unreachable, .. } => {
            "check that it runs, and that plugins.activity.store and the files in HADOOP_CONF_DIR name its hosts and ports"
        }
        Failure::Transient { cause: Transient::HungUp, .. } => {
            "its log says why. Does it require Kerberos (hadoop.security.authentication)? May Greyhound's principal impersonate \
             plugins.activity.hdfs.user (hadoop.proxyuser)?"
        }
        Failure::Transient { cause: Transient::SafeMode, .. } => "wait until it leaves safe mode, or make it leave",
        Failure::Transient { cause: Transient::Other, .. } => "try again, then look at the store's log",
    };
    format!("{error}: {remedy}")
}

/// Compares the clocks: `modified` by the store's clock was between `before` and `after` by this machine's.
fn compare_clocks(before: SystemTime, after: SystemTime, modified: SystemTime) -> Result<String, String> {
    let ahead = modified.duration_since(after).unwrap_or_default();
    let behind = before.duration_since(modified).unwrap_or_default();
    let (skew, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    match skew <= CLOCK_SKEW_MAX {
        true => {
            Ok(format!("within {} ms of the store's (up to {} s is fine)", skew.as_millis(), CLOCK_SKEW_MAX.as_secs()))
        }
        false => Err(format!(
            "the store's clock is {} s {way} this machine's (up to {} s is fine): rows are filed under this machine's hours, and \
             Kerberos refuses clocks that are minutes apart; synchronise both with NTP",
            skew.as_secs(),
            CLOCK_SKEW_MAX.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        let now = SystemTime::now();
        let skewed = |by: i64| {
            let modified = if by < 0 {
                now - Duration::from_secs(by.unsigned_abs())
            } else {
                now + Duration::from_secs(by.unsigned_abs())
            };
            compare_clocks(now, now, modified)
        };
        assert!(skewed(0).is_ok() && skewed(30).is_ok() && skewed(-30).is_ok());
        assert!(skewed(31).unwrap_err().contains("31 s ahead of this machine's"));
        assert!(skewed(-3600).unwrap_err().contains("3600 s behind this machine's"));
    }
}
