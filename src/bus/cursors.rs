//! The positions of consumers: one small file per consumer, which is replaced as a whole.
//!
//! ```text
//! greyhound cursors of web-1-0badcafe
//! messaging.push 4711
//! shop.order 12
//! crc32c 1a2b3c4d
//! ```

use greyhound_sdk::Shard;
use greyhound_sdk::fs::{self, FileSystem, SharedFs};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cursors of all consumers that retention waits for.
pub(super) struct Cursors {
    fs: SharedFs,
    dir: PathBuf,
    shard: Shard,
    files: Mutex<BTreeMap<String, Arc<CursorFile>>>,
}

/// The cursors of one consumer.
pub(super) struct CursorFile {
    fs: SharedFs,
    path: PathBuf,
    shard: Shard,
    /// The durable positions by topic, or the start positions if nothing was committed yet.
    durable: Mutex<BTreeMap<String, u64>>,
    /// The positions that were requested.
    requested: Mutex<Requested>,
    /// The version of `requested` that is durable. Locked while the file is written, so that concurrent commits share
    /// one write.
    saved: Mutex<u64>,
    /// The number of active readers by topic.
    readers: Mutex<BTreeMap<String, usize>>,
}

/// A consumer's cursor in one topic. The consumer is active there until this is dropped.
pub(super) struct OpenCursor {
    file: Arc<CursorFile>,
    topic: Arc<str>,
}

/// Why a cursor was not changed.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The cursor does not exist.
    #[error("the consumer `{consumer}` has no cursor{scope}; `greyhound consumers` lists all cursors")]
    Unknown {
        /// The consumer.
        consumer: String,
        /// ` in TOPIC` if a topic was named, otherwise empty.
        scope: String,
    },
    /// The consumer is active, and would overwrite the change with its next commit.
    #[error(
        "the consumer `{consumer}` is reading {}: its next commit would overwrite the change. Nothing was changed. Disable the plugin that it \
         belongs to (`enabled = false`), restart Greyhound, and try again",
        topics.join(", ")
    )]
    Active {
        /// The consumer.
        consumer: String,
        /// The topics that it reads.
        topics: Vec<String>,
    },
    /// The topic does not have this row.
    #[error(
        "topic {topic} has rows from {earliest} up to, but not including, {end}: expected `earliest`, `latest` or a number from {earliest} to {end}"
    )]
    NoSuchRow {
        /// The topic.
        topic: String,
        /// The number of its oldest row.
        earliest: u64,
        /// The number after its newest row.
        end: u64,
    },
    /// The file could not be written or removed.
    #[error("cannot write the cursors in {path}: {why}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
}

#[derive(Default)]
struct Requested {
    by_topic: BTreeMap<String, u64>,
    version: u64,
}

/// A consumer's cursors cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the cursors in {}: {why}; if you remove the file, its consumer starts at the oldest row", path.display())]
pub struct BadCursors {
    path: PathBuf,
    why: String,
}

// === impl Cursors ===

impl Cursors {
    /// Reads the cursors of every consumer of `shard`. Cursors of another shard, whose rows are gone, are ignored.
    pub(super) fn open(fs: SharedFs, dir: &Path, shard: &Shard) -> Result<Self, BadCursors> {
        fs.create_dir_all(dir).map_err(|e| bad(dir, &e))?;
        let mut files = BTreeMap::new();
        for (name, path) in cursor_files(&*fs, dir)? {
            let (of, by_topic) = read(&*fs, &path)?;
            if of != shard.as_str() {
                tracing::warn!(path = %path.display(), shard = of, "cursors of another shard are ignored");
                continue;
            }
            files.insert(name, Arc::new(CursorFile::new(fs.clone(), path, shard.clone(), by_topic)));
        }
        Ok(Self { fs, dir: dir.to_owned(), shard: shard.clone(), files: Mutex::new(files) })
    }

    /// Opens the cursor of the consumer `name` in `topic`, and returns it with its position: `start` if it is new.
    pub(super) fn open_cursor(&self, name: &str, topic: &Arc<str>, start: u64) -> (OpenCursor, u64) {
        let mut files = self.files.lock();
        let path = || self.dir.join(file_name(name));
        let file = files
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(CursorFile::new(self.fs.clone(), path(), self.shard.clone(), BTreeMap::new())))
            .clone();
        let position = *file.durable.lock().entry(topic.to_string()).or_insert(start);
        *file.readers.lock().entry(topic.to_string()).or_default() += 1;
        (OpenCursor { file, topic: topic.clone() }, position)
    }

    /// Whether the consumer `name` is reading `topic`.
    pub(super) fn is_active(&self, name: &str, topic: &str) -> bool {
        self.files.lock().get(name).is_some_and(|file| file.readers.lock().contains_key(topic))
    }

    /// Sets the cursor of an inactive consumer. Blocks.
    pub(super) fn reset(&self, name: &str, topic: &str, next: u64) -> Result<(), CursorError> {
        // Stays locked, so that the consumer cannot become active meanwhile.
        let files = self.files.lock();
        let file = idle(&files, name, Some(topic))?;
        file.commit(topic, next).map_err(|why| CursorError::Io { path: file.path.clone(), why })
    }

    /// Deletes an inactive consumer's cursor in `topic`, or all its cursors. Blocks.
    pub(super) fn delete(&self, name: &str, topic: Option<&str>) -> Result<(), CursorError> {
        let mut files = self.files.lock();
        let file = idle(&files, name, topic)?;
        let empty = file.forget(topic).map_err(|why| CursorError::Io { path: file.path.clone(), why })?;
        if empty {
            files.remove(name);
        }
        Ok(())
    }

    /// Returns every cursor: consumer, topic, and number of the first row that it has not committed.
    pub(super) fn all(&self) -> Vec<(String, String, u64)> {
        let files = self.files.lock();
        let of = |(name, file): (&String, &Arc<CursorFile>)| {
            let durable = file.durable.lock();
            durable.iter().map(|(topic, at)| (name.clone(), topic.clone(), *at)).collect::<Vec<_>>()
        };
        files.iter().flat_map(of).collect()
    }

    /// Returns, by topic, the number of the first row that some consumer still needs.
    pub(super) fn required(&self) -> HashMap<Arc<str>, u64> {
        let mut required = HashMap::new();
        for (_, topic, at) in self.all() {
            required.entry(topic.into()).and_modify(|least: &mut u64| *least = at.min(*least)).or_insert(at);
        }
        required
    }
}

/// Returns the cursors of the consumer `name`, if it has one in `topic` and is inactive there.
fn idle<'a>(
    files: &'a BTreeMap<String, Arc<CursorFile>>,
    name: &str,
    topic: Option<&str>,
) -> Result<&'a CursorFile, CursorError> {
    let scope = || topic.map(|topic| format!(" in {topic}")).unwrap_or_default();
    let file = files.get(name).filter(|file| topic.is_none_or(|topic| file.durable.lock().contains_key(topic)));
    let file = file.ok_or_else(|| CursorError::Unknown { consumer: name.to_owned(), scope: scope() })?;
    let topics: Vec<_> =
        file.readers.lock().keys().filter(|read| topic.is_none_or(|topic| topic == *read)).cloned().collect();
    match topics.is_empty() {
        true => Ok(file),
        false => Err(CursorError::Active { consumer: name.to_owned(), topics }),
    }
}

/// Checks that the cursors in `dir` can be read.
///
/// # Errors
/// [`BadCursors`] for the first file that cannot be read.
pub fn check(fs: &dyn FileSystem, dir: &Path) -> Result<(), BadCursors> {
    match fs.exists(dir) {
        Ok(true) => cursor_files(fs, dir)?.iter().try_for_each(|(_, path)| read(fs, path).map(drop)),
        _ => Ok(()),
    }
}

/// Returns the name of each consumer with a file in `dir`, and the path of the file.
fn cursor_files(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<(String, PathBuf)>, BadCursors> {
    let names = fs.list(dir).map_err(|e| bad(dir, &e))?;
    Ok(names.iter().filter_map(|file| Some((consumer_name(file.strip_suffix(SUFFIX)?)?, dir.join(file)))).collect())
}

fn read(fs: &dyn FileSystem, path: &Path) -> Result<(String, BTreeMap<String, u64>), BadCursors> {
    let bytes = fs::read(fs, path).map_err(|e| bad(path, &e))?;
    parse(&bytes).map_err(|why| bad(path, &why))
}

fn bad(path: &Path, why: &dyn ToString) -> BadCursors {
    BadCursors { path: path.to_owned(), why: why.to_string() }
}

// === impl OpenCursor ===

impl OpenCursor {
    /// The file with all cursors of the consumer.
    pub(super) fn file(&self) -> &Arc<CursorFile> {
        &self.file
    }
}

impl Drop for OpenCursor {
    fn drop(&mut self) {
        let mut readers = self.file.readers.lock();
        if let Some(count) = readers.get_mut(&*self.topic) {
            *count -= 1;
        }
        readers.retain(|_, count| *count > 0);
    }
}

// === impl CursorFile ===

impl CursorFile {
    fn new(fs: SharedFs, path: PathBuf, shard: Shard, by_topic: BTreeMap<String, u64>) -> Self {
        Self {
            fs,
            path,
            shard,
            durable: Mutex::new(by_topic),
            requested: Mutex::default(),
            saved: Mutex::new(0),
            readers: Mutex::default(),
        }
    }

    /// Makes `next` the durable cursor in `topic`. Blocks.
    ///
    /// Retention uses the new cursor only once it is durable: until then, a power cut would restore the old one.
    pub(super) fn commit(&self, topic: &str, next: u64) -> io::Result<()> {
        let mine = self.request(topic, next);
        let mut saved = self.saved.lock();
        if *saved >= mine {
            return Ok(());
        }
        let mut by_topic = self.durable.lock().clone();
        let version = {
            let requested = self.requested.lock();
            by_topic.extend(requested.by_topic.clone());
            requested.version
        };
        fs::replace(&*self.fs, &self.path, &render(&self.shard, &by_topic))?;
        self.durable.lock().extend(by_topic);
        *saved = version;
        Ok(())
    }

    /// Forgets the cursor in `topic`, or all cursors. Returns whether none is left. Blocks.
    fn forget(&self, topic: Option<&str>) -> io::Result<bool> {
        let _saved = self.saved.lock();
        let mut left = self.durable.lock().clone();
        left.retain(|of, _| topic.is_some_and(|topic| topic != of));
        match left.is_empty() {
            true => self.remove()?,
            false => fs::replace(&*self.fs, &self.path, &render(&self.shard, &left))?,
        }
        self.requested.lock().by_topic.retain(|of, _| left.contains_key(of));
        *self.durable.lock() = left.clone();
        Ok(left.is_empty())
    }

    /// Removes the file, which may not exist yet.
    fn remove(&self) -> io::Result<()> {
        match self.fs.remove(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| self.fs.sync_dir(self.path.parent().unwrap_or(Path::new(".")))),
        }
    }

    fn request(&self, topic: &str, next: u64) -> u64 {
        let mut requested = self.requested.lock();
        requested.by_topic.insert(topic.to_owned(), next);
        requested.version += 1;
        requested.version
    }
}

fn render(shard: &Shard, by_topic: &BTreeMap<String, u64>) -> Vec<u8> {
    let mut text = format!("{HEAD}{shard}\n");
    for (topic, next) in by_topic {
        let _ = writeln!(text, "{topic} {next}");
    }
    let crc = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {crc:08x}");
    text.into_bytes()
}

fn parse(bytes: &[u8]) -> Result<(String, BTreeMap<String, u64>), String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let (body, crc) = text.trim_end().rsplit_once("crc32c ").ok_or("it is truncated")?;
    if u32::from_str_radix(crc, 16) != Ok(crc32c::crc32c(body.as_bytes())) {
        return Err("its checksum is wrong".to_owned());
    }
    let mut lines = body.lines();
    let shard = lines.next().and_then(|l| l.strip_prefix(HEAD)).ok_or("its first line is not that of a cursor file")?;
    let cursor = |line: &str| {
        let (topic, next) = line.split_once(' ')?;
        Some((topic.to_owned(), next.parse().ok()?))
    };
    let by_topic =
        lines.map(|l| cursor(l).ok_or_else(|| format!("`{l}` is not a cursor"))).collect::<Result<_, _>>()?;
    Ok((shard.to_owned(), by_topic))
}

const HEAD: &str = "greyhound cursors of ";
const SUFFIX: &str = ".cursors";

/// Returns the file name of a consumer: its name, with every byte other than letters, digits, `_` and `-` escaped as
/// `%xx`.
fn file_name(consumer: &str) -> String {
    let mut name = String::new();
    for byte in consumer.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            other => write!(name, "%{other:02x}").expect("writing to a string does not fail"),
        }
    }
    name + SUFFIX
}

fn consumer_name(stem: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = stem.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(tail.get(..2)?).ok()?, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use greyhound_sdk::fs::OsFileSystem;

    fn open(dir: &Path) -> Result<Cursors, BadCursors> {
        Cursors::open(Arc::new(OsFileSystem), dir, &Shard::new("web", 7))
    }

    #[test]
    fn cursors_are_kept_by_consumer_and_topic() {
        let dir = tempfile::tempdir().unwrap();
        let cursors = open(dir.path()).unwrap();
        let (file, at) = cursors.open_cursor("shop/mail.er", &"shop.order".into(), 3);
        assert_eq!(at, 3);
        file.file().commit("shop.order", 9).unwrap();
        cursors.open_cursor("shop/mail.er", &"shop.visit".into(), 5).0.file().commit("shop.visit", 6).unwrap();
        let again = open(dir.path()).unwrap();
        let all = [("shop/mail.er", "shop.order", 9), ("shop/mail.er", "shop.visit", 6)];
        assert_eq!(again.all(), all.map(|(c, t, at)| (c.to_owned(), t.to_owned(), at)));
        assert_eq!(again.required()["shop.order"], 9);
    }

    #[test]
    fn retention_waits_for_the_consumer_furthest_behind() {
        let dir = tempfile::tempdir().unwrap();
        let cursors = open(dir.path()).unwrap();
        cursors.open_cursor("a", &"shop.order".into(), 0).0.file().commit("shop.order", 9).unwrap();
        cursors.open_cursor("b", &"shop.order".into(), 4);
        assert_eq!(cursors.required(), HashMap::from([("shop.order".into(), 4)]));
    }

    #[test]
    fn an_inactive_consumer_is_reset_and_deleted_durably() {
        let dir = tempfile::tempdir().unwrap();
        let cursors = open(dir.path()).unwrap();
        let (order, visit): (Arc<str>, Arc<str>) = ("shop.order".into(), "shop.visit".into());
        let (reads, _) = cursors.open_cursor("mailer", &order, 0);
        reads.file().commit("shop.order", 9).unwrap();
        drop(cursors.open_cursor("mailer", &visit, 5));
        let refused = cursors.reset("mailer", "shop.order", 2).unwrap_err();
        assert!(matches!(&refused, CursorError::Active { topics, .. } if topics == &["shop.order"]), "{refused}");
        assert!(matches!(cursors.delete("mailer", None), Err(CursorError::Active { .. })));
        assert!(matches!(cursors.reset("mailer", "shop.gone", 2), Err(CursorError::Unknown { .. })));
        drop(reads);
        cursors.reset("mailer", "shop.order", 2).unwrap();
        cursors.delete("mailer", Some("shop.visit")).unwrap();
        let cursor = ("mailer".to_owned(), "shop.order".to_owned(), 2);
        assert_eq!((cursors.all(), open(dir.path()).unwrap().all()), (vec![cursor.clone()], vec![cursor]));
        cursors.delete("mailer", None).unwrap();
        assert_eq!((cursors.required().len(), open(dir.path()).unwrap().all().len()), (0, 0));
        assert_eq!(cursors.open_cursor("mailer", &order, 7).1, 7);
    }

    #[test]
    fn damaged_cursors_are_refused_and_those_of_another_shard_ignored() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path())
            .unwrap()
            .open_cursor("mailer", &"shop.order".into(), 0)
            .0
            .file()
            .commit("shop.order", 9)
            .unwrap();
        let other = Cursors::open(Arc::new(OsFileSystem), dir.path(), &Shard::new("web", 8)).unwrap();
        assert!(other.all().is_empty());
        let path = dir.path().join("mailer.cursors");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("order 9", "order 8")).unwrap();
        let refused = open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("mailer.cursors") && refused.contains("checksum"), "{refused}");
    }
}
