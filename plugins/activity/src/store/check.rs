//! Whether a store can be used: `greyhound validate --connect`.

use super::staging::{CHECK, STAGING, now};
use super::{Passing, Probe, Published, Refusal, Status, StoreError, Trouble};
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
/// The order in which they are told, which is that in which a fault is to be mended.
const ALL: [&str; 7] = [REACHABLE, IDENTITY, WRITABLE, RENAMABLE, ROOM, CLOCK, CONFIGURED];

/// Rows are filed under the hour of this machine's clock, and people compare them with what other machines recorded;
/// with Kerberos, five minutes apart nobody is let in. Less than this may be the network and the store's own delay.
const MOST_SKEW: Duration = Duration::from_secs(30);
/// What a day of a busy node makes, some tables' hours and their files.
const FEWEST_NAMES: u64 = 1000;

/// Tries all that the sink asks of a store, and looks at how it is set up for files of `file_size`. Leaves nothing
/// behind.
pub async fn all(store: &dyn Probe, file_size: ByteSize) -> Vec<Check> {
    let mut attempt = Attempt::new(store);
    // What it could not come to is not tried.
    let _ = attempt.run(file_size).await;
    attempt.tidy().await;
    attempt.checks
}

/// The checks of a store that cannot even be opened.
#[must_use]
pub fn not_opened(why: &dyn std::error::Error) -> Vec<Check> {
    let verdict = |name| if name == REACHABLE { Verdict::Fails(why.to_string()) } else { Verdict::NotTried };
    ALL.map(|name| Check { name, verdict: verdict(name) }).into()
}

/// It makes no sense to go on.
struct Pointless;

struct Attempt<'a> {
    store: &'a dyn Probe,
    /// A directory of this attempt alone.
    directory: String,
    /// Directories that were not there before, the innermost first.
    made: Vec<String>,
    checks: Vec<Check>,
}

impl<'a> Attempt<'a> {
    fn new(store: &'a dyn Probe) -> Self {
        let number = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let checks = ALL.map(|name| Check { name, verdict: Verdict::NotTried }).into();
        Self { store, directory: format!("{STAGING}/{CHECK}{}-{number:016x}", now()), made: Vec::new(), checks }
    }

    async fn run(&mut self, file_size: ByteSize) -> Result<(), Pointless> {
        self.reach().await?;
        let before = SystemTime::now();
        let file = self.write().await?;
        let after = SystemTime::now();
        self.say(IDENTITY, Ok(format!("writes as {}", file.owner)));
        let room = self.room(file_size).await;
        self.say(ROOM, room);
        let renamed = self.rename().await;
        self.say(RENAMABLE, renamed);
        self.say(CLOCK, compare_clocks(before, after, file.modified));
        self.compare_settings(&file).await;
        Ok(())
    }

    fn say(&mut self, name: &'static str, found: Result<String, String>) {
        let verdict = match found {
            Ok(seen) => Verdict::Works(seen),
            Err(wrong) => Verdict::Fails(wrong),
        };
        match self.checks.iter_mut().find(|it| it.name == name) {
            Some(check) => check.verdict = verdict,
            None => self.checks.push(Check { name, verdict }),
        }
    }

    /// Asks for the first time, what of the directories is there.
    async fn reach(&mut self) -> Result<(), Pointless> {
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
        let answered = format!("{} answers, after {} ms", self.store.shown(), started.elapsed().as_millis());
        match asked {
            Ok(()) => self.say(REACHABLE, Ok(answered)),
            Err(e) if refuses_us(&e) => {
                self.say(REACHABLE, Ok(answered));
                self.say(IDENTITY, Err(told(&e)));
                return Err(Pointless);
            }
            Err(e) => {
                self.say(REACHABLE, Err(told(&e)));
                return Err(Pointless);
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<Status, Pointless> {
        match self.write_and_read_back().await {
            Ok(file) => {
                self.say(WRITABLE, Ok(format!("a file in {} was written and read back", self.directory)));
                Ok(file)
            }
            Err(why) => {
                self.say(IDENTITY, Ok("was accepted".into()));
                self.say(WRITABLE, Err(why));
                Err(Pointless)
            }
        }
    }

    async fn write_and_read_back(&self) -> Result<Status, String> {
        let path = self.path("one");
        self.put("one").await?;
        self.expect("one", "one").await?;
        let status = self.store.status(&path).await.map_err(|e| told(&e))?;
        status.ok_or_else(|| format!("{path} was written, and is not there: does somebody else clear the directory?"))
    }

    /// A rename must refuse to replace a file, whichever was there first, and be whole where nothing is in its way.
    async fn rename(&self) -> Result<String, String> {
        self.put("two").await?;
        for (from, to) in [("one", "two"), ("two", "one")] {
            if self.publish(from, to).await? == Published::Done {
                return Err(format!(
                    "{} was replaced by a rename, which must be refused: two writers could overwrite each other's rows. \
                     Keep the tables in a file system that can rename without replacing",
                    self.path(to)
                ));
            }
        }
        self.expect("one", "one").await?;
        self.expect("two", "two").await?;
        if self.publish("one", "three").await? == Published::Exists {
            return Err(format!(
                "{} is not there, and yet nothing can be renamed to it: look at the store's log",
                self.path("three")
            ));
        }
        self.expect("three", "one").await?;
        match self.store.status(&self.path("one")).await {
            Ok(None) => Ok("a rename is whole, and does not replace a file that is there".into()),
            Ok(Some(_)) => {
                Err(format!("{} was renamed, and is still there: look at the store's log", self.path("one")))
            }
            Err(e) => Err(told(&e)),
        }
    }

    async fn room(&self, file_size: ByteSize) -> Result<String, String> {
        let room = self.store.room(file_size.as_u64(), &self.path("one")).await.map_err(|e| told(&e))?;
        let needed = format!("a file of {file_size} takes {}", ByteSize::b(room.needed));
        let limit = &room.limit;
        match (room.free, room.names) {
            (Some(free), _) if free < room.needed => Err(format!(
                "{limit} leaves {}, and {needed}: raise it or make room below it, or set a smaller plugins.activity.file_size",
                ByteSize::b(free)
            )),
            (_, Some(names)) if names < FEWEST_NAMES => Err(format!(
                "only {names} more files and directories may be made: raise the limit of names, or remove some"
            )),
            (Some(free), _) => Ok(format!("{limit} leaves {}; {needed}", ByteSize::b(free))),
            (None, _) => Ok(format!("no quota; {needed}")),
        }
    }

    async fn compare_settings(&mut self, file: &Status) {
        let found = match self.store.status(&self.directory).await {
            Ok(Some(directory)) => self.store.differences(file, &directory),
            Ok(None) => Some(vec![format!("{} is gone", self.directory)]),
            Err(e) => Some(vec![told(&e)]),
        };
        match found {
            None => self.checks.retain(|it| it.name != CONFIGURED),
            Some(none) if none.is_empty() => {
                let seen = format!("files {:03o}, group {}, {} copies", file.permission, file.group, file.replication);
                self.say(CONFIGURED, Ok(seen));
            }
            Some(differences) => {
                let remedy =
                    "see what HDFS forces upon its files (ACLs, limits of replication), or configure what it does";
                self.say(CONFIGURED, Err(format!("in {}, {}: {remedy}", self.directory, differences.join(", "))));
            }
        }
    }

    /// Removes what was made, whatever came of it.
    async fn tidy(&mut self) {
        if self.checks.iter().any(|it| it.name == WRITABLE && it.verdict == Verdict::NotTried) {
            return;
        }
        let Err(e) = self.remove_all().await else { return };
        if !matches!(self.store.status(&self.directory).await, Ok(None)) {
            self.say(TIDY, Err(format!("{} may be left behind, and can be removed: {}", self.directory, told(&e))));
        }
    }

    async fn remove_all(&self) -> Result<(), StoreError> {
        for name in ["one", "two", "three"] {
            self.store.remove(&self.path(name)).await?;
        }
        for directory in &self.made {
            // The sink may have come to use it meanwhile.
            if self.store.list(directory).await?.is_empty() {
                self.store.remove_directory(directory).await?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    /// Writes a file that has its own name in it.
    async fn put(&self, name: &str) -> Result<(), String> {
        self.store.write(&self.path(name), Bytes::from(name.to_owned())).await.map_err(|e| told(&e))
    }

    async fn publish(&self, from: &str, to: &str) -> Result<Published, String> {
        self.store.publish(&self.path(from), &self.path(to)).await.map_err(|e| told(&e))
    }

    async fn expect(&self, name: &str, content: &str) -> Result<(), String> {
        let path = self.path(name);
        match self.store.read_tail(&path, content.len()).await.map_err(|e| told(&e))? {
            Some((bytes, length)) if bytes == content && length == content.len() as u64 => Ok(()),
            _ => Err(format!("{path} has not in it what was written: do not use this store before it is mended")),
        }
    }
}

/// Whether the first answer of all says that it is there, and does not let us in.
fn refuses_us(error: &StoreError) -> bool {
    matches!(
        error.trouble,
        Trouble::Refused { cause: Refusal::Identity, .. } | Trouble::Passing { cause: Passing::HungUp, .. }
    )
}

/// A fault with what to do; refusals say so themselves.
fn told(error: &StoreError) -> String {
    let remedy = match &error.trouble {
        Trouble::Refused { .. } => return error.to_string(),
        Trouble::Passing { cause: Passing::Timeout, .. } => {
            "something there hangs: see that the store and the network are well"
        }
        Trouble::Passing { cause: Passing::Unreachable, .. } => {
            "see that it runs, and that plugins.activity.store and the files in HADOOP_CONF_DIR name its hosts and ports"
        }
        Trouble::Passing { cause: Passing::HungUp, .. } => {
            "its log says why. Does it want Kerberos (hadoop.security.authentication)? May Greyhound's principal impersonate \
             plugins.activity.hdfs.user (hadoop.proxyuser)?"
        }
        Trouble::Passing { cause: Passing::SafeMode, .. } => "wait until it has left safe mode, or make it leave",
        Trouble::Passing { cause: Passing::Other, .. } => "try again, then look at the store's log",
    };
    format!("{error}: {remedy}")
}

/// `modified` by the store's clock was between `before` and `after` by ours.
fn compare_clocks(before: SystemTime, after: SystemTime, modified: SystemTime) -> Result<String, String> {
    let ahead = modified.duration_since(after).unwrap_or_default();
    let behind = before.duration_since(modified).unwrap_or_default();
    let (skew, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    match skew <= MOST_SKEW {
        true => Ok(format!("within {} ms of the store's (up to {} s is well)", skew.as_millis(), MOST_SKEW.as_secs())),
        false => Err(format!(
            "the store's clock is {} s {way} this machine's (up to {} s is well): rows are filed under this machine's hours, and \
             Kerberos refuses clocks that are minutes apart; synchronise both, with NTP",
            skew.as_secs(),
            MOST_SKEW.as_secs()
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
