//! `_SUCCESS`: marks a shard's directory of a closed hour as complete.

use crate::encode::Footer;
use crate::layout::{Hour, file_name};
use crate::store::{Store, StoreError};
use greyhound_sdk::Shard;
use serde::{Deserialize, Serialize};

/// The name of the file.
pub const SUCCESS: &str = "_SUCCESS";
/// No `_SUCCESS` is longer.
const SUCCESS_BYTES_MAX: usize = 16 << 20;

/// The content of `_SUCCESS`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// The table.
    pub topic: String,
    /// The shard.
    pub shard: String,
    /// The number of rows in the hour.
    pub rows: u64,
    /// The number of the first row; `None` if the hour has no rows.
    pub first: Option<u64>,
    /// The number of the last row; `None` if the hour has no rows.
    pub last: Option<u64>,
    /// The number after the last row that was recorded up to the end of the hour.
    pub next: u64,
    /// The first and the last row of each file.
    pub files: Vec<(u64, u64)>,
    /// Ranges of missing numbers; `greyhound.gap` says why they are missing.
    pub gaps: Vec<(u64, u64)>,
    /// Whether the files were rewritten by compaction.
    #[serde(default)]
    pub compacted: bool,
    /// The first hour that was not compacted when this hour was closed (hours since 1970 UTC).
    pub uncompacted: Option<Hour>,
}

impl Success {
    /// The content for an hour with these files, in the order of their names, that should begin with the row
    /// `expected`.
    pub fn of(topic: &str, shard: &Shard, expected: u64, footers: &[Footer]) -> Self {
        let mut ranges: Vec<(u64, u64)> = footers.iter().flat_map(Footer::ranges).collect();
        ranges.sort_unstable();
        let (mut next, mut gaps) = (expected, Vec::new());
        for (first, last) in &ranges {
            if *first > next {
                gaps.push((next, first - 1));
            }
            next = next.max(last + 1);
        }
        Self {
            topic: topic.to_owned(),
            shard: shard.to_string(),
            rows: footers.iter().map(|footer| footer.rows).sum(),
            first: ranges.first().map(|range| range.0),
            last: ranges.iter().map(|range| range.1).max(),
            next,
            files: footers.iter().map(|footer| (footer.first, footer.last)).collect(),
            gaps,
            compacted: false,
            uncompacted: None,
        }
    }

    /// Whether both are of the same shard of a table.
    pub fn is_same_shard(&self, other: &Self) -> bool {
        (&self.topic, &self.shard) == (&other.topic, &other.shard)
    }

    /// The `_SUCCESS` in `directory`; `None` if there is none, or if it is not valid.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn read(store: &dyn Store, directory: &str) -> Result<Option<Self>, StoreError> {
        let path = format!("{directory}/{SUCCESS}");
        let text = store.read_tail(&path, SUCCESS_BYTES_MAX).await.map_err(|e| e.reading(&path))?;
        Ok(text.and_then(|(text, _)| serde_json::from_slice(&text).ok()))
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|(first, _)| file_name(*first))
    }
}

/// The `_SUCCESS` of a directory that has all the files that it names; `None` if a file is missing, or if there is no
/// such directory.
///
/// # Errors
/// If the store cannot be read.
pub(crate) async fn complete(store: &dyn Store, directory: &str) -> Result<Option<Success>, StoreError> {
    let success = match Success::read(store, directory).await {
        Err(e) if e.is_obstacle() => None,
        read => read?,
    };
    let Some(success) = success else { return Ok(None) };
    let names = store.list(directory).await?;
    let has_all = success.names().all(|name| names.binary_search(&name).is_ok());
    Ok(has_all.then_some(success))
}
