//! The schemas of the rows in the journal: one file each, numbered in the order of registration.

use super::error::OpenError;
use greyhound_sdk::fs::{self, SharedFs};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All schemas of the journal.
pub(super) struct Schemas {
    fs: SharedFs,
    dir: PathBuf,
    all: Vec<Entry>,
}

struct Entry {
    topic: String,
    fingerprint: u64,
    avro: Arc<str>,
}

impl Schemas {
    pub fn open(fs: &SharedFs, journal: &Path) -> Result<Self, OpenError> {
        let dir = journal.join("schemas");
        let io = |source| OpenError::Io { dir: dir.clone(), source };
        fs.create_dir_all(&dir).map_err(io)?;
        let mut all = Vec::new();
        for name in fs.list(&dir).map_err(io)? {
            let Some((topic, fingerprint)) = parse(&name) else { continue };
            let path = dir.join(&name);
            let text = fs::read(&**fs, &path).map_err(io)?;
            let avro = String::from_utf8(text).map_err(|e| OpenError::Unreadable { path, why: e.to_string() })?;
            all.push(Entry { topic: topic.to_owned(), fingerprint, avro: avro.into() });
        }
        Ok(Self { fs: fs.clone(), dir, all })
    }

    pub fn get(&self, topic: &str, fingerprint: u64) -> Option<Arc<str>> {
        self.all.iter().find(|e| e.topic == topic && e.fingerprint == fingerprint).map(|e| e.avro.clone())
    }

    /// Returns the schemas of `topic`, oldest first.
    pub fn of(&self, topic: &str) -> Vec<Arc<str>> {
        self.all.iter().filter(|e| e.topic == topic).map(|e| e.avro.clone()).collect()
    }

    /// Returns the topics that have a schema.
    pub fn topics(&self) -> BTreeSet<Arc<str>> {
        self.all.iter().map(|e| e.topic.as_str().into()).collect()
    }

    /// Stores a schema durably, unless it is known.
    pub fn add(&mut self, topic: &str, fingerprint: u64, avro: &str) -> io::Result<()> {
        if self.get(topic, fingerprint).is_some() {
            return Ok(());
        }
        let name = format!("{:06}.{topic}.{fingerprint:016x}.avsc", self.all.len() + 1);
        fs::replace(&*self.fs, &self.dir.join(name), avro.as_bytes())?;
        self.all.push(Entry { topic: topic.to_owned(), fingerprint, avro: avro.into() });
        Ok(())
    }
}

/// Parses topic and fingerprint from a name such as `000001.shop.order.0123456789abcdef.avsc`.
fn parse(name: &str) -> Option<(&str, u64)> {
    let (_, rest) = name.strip_suffix(".avsc")?.split_once('.')?;
    let (topic, fingerprint) = rest.rsplit_once('.')?;
    Some((topic, u64::from_str_radix(fingerprint, 16).ok()?))
}
